/** The colours of a terminal, light and dark, near those of the report (plugin/report/style.ts). Pure. */
import type { Colour } from './frames.ts';

/** Light, dark: the sixteen colours that a terminal's theme chooses, in their order. */
const SIXTEEN: readonly (readonly [light: string, dark: string])[] = [
  ['#1d2733', '#303b4b'],
  ['#b3261e', '#ff8a80'],
  ['#24722c', '#7bd184'],
  ['#7a5200', '#f0c060'],
  ['#2f62b5', '#79a8f5'],
  ['#8b3fb0', '#d29bf0'],
  ['#0b6b7a', '#6fd0dc'],
  ['#53627a', '#c6d0de'],
  ['#66758c', '#8494ab'],
  ['#c02f3c', '#ff7b84'],
  ['#2a8433', '#93e09b'],
  ['#96690a', '#f7d488'],
  ['#4a5fc1', '#93a4f5'],
  ['#a04cc8', '#e0b6f7'],
  ['#0e8294', '#92e1ea'],
  ['#8391a6', '#ffffff'],
];

const BASE = {
  bg: ['#ffffff', '#12171f'],
  edge: ['#d5dce6', '#303b4b'],
  fg: ['#1d2733', '#e6ebf2'],
  cursor: ['#9aa8bb', '#6b7a90'],
} as const;

const variables = (which: 0 | 1): string =>
  [
    ...Object.entries(BASE).map(([name, pair]) => `--${name}:${pair[which]}`),
    ...SIXTEEN.map((pair, index) => `--a${index}:${pair[which]}`),
  ].join(';');

export const THEME = `:root{${variables(0)}}@media screen and (prefers-color-scheme:dark){:root{${variables(1)}}}`;

const FONTS = 'ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace';

export const STYLE =
  `.t{font-family:${FONTS};fill:var(--fg)}` +
  '.card{fill:var(--bg);stroke:var(--edge)}.c{fill:var(--cursor)}' +
  '.b{font-weight:600}.d{opacity:.7}.i{font-style:italic}.u{text-decoration:underline}.k{text-decoration:line-through}' +
  `.fg{fill:var(--fg)}.bg{fill:var(--bg)}${SIXTEEN.map((_, index) => `.a${index}{fill:var(--a${index})}`).join('')}`;

const CUBE = [0, 95, 135, 175, 215, 255];

/** Of the 240 that no theme chooses: a cube of 6×6×6, then greys (xterm's 256 colours). */
const fixed = (index: number): string => {
  const grey = 8 + (index - 232) * 10;
  const cube = index - 16;
  const parts =
    index >= 232 ? [grey, grey, grey] : [36, 6, 1].map((weight) => CUBE[Math.floor(cube / weight) % 6] ?? 0);
  return `#${parts.map((part) => part.toString(16).padStart(2, '0')).join('')}`;
};

/** The class that paints it, or the fill; neither: it is the terminal's own foreground. */
export const colourText = (colour: Colour | 'fg' | 'bg'): { name?: string; fill?: string } => {
  if (colour === undefined) return {};
  if (typeof colour === 'number') return colour < 16 ? { name: `a${colour}` } : { fill: fixed(colour) };
  return colour.startsWith('#') ? { fill: colour } : { name: colour };
};
