/** The little of SVG our plots share. Pure. */

export const escaped = (text: string): string =>
  text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');

/** A coordinate. */
export const at = (value: number): string => value.toFixed(1);

export interface Entry {
  readonly label: string;
  readonly colour: string;
}

/** About what a letter of class l takes. */
const LETTER = 7.6;

/** `pitch`: pixels from one entry to the next; without it each takes what its label needs. */
export const legend = (entries: readonly Entry[], left: number, top: number, pitch?: number): string[] => {
  let x = left;
  return entries.flatMap(({ label, colour }) => {
    const here = x;
    x += pitch ?? Math.round(label.length * LETTER) + 42;
    return [
      `<rect x="${here}" y="${top}" width="14" height="14" fill="${colour}"/>`,
      `<text class="l" x="${here + 20}" y="${top + 12}">${escaped(label)}</text>`,
    ];
  });
};

export interface Sheet {
  readonly width: number;
  readonly height: number;
  /** What it shows, for those who can't see it. */
  readonly label: string;
  /** Further rules of style. */
  readonly style?: readonly string[];
}

/** Classes: h headings, l labels, g below an axis, v values, axis. */
export const svgDocument = ({ width, height, label, style = [] }: Sheet, elements: readonly string[]): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="Helvetica, Arial, sans-serif" role="img" aria-label="${escaped(label)}">`,
    '  <style>',
    '    .h { fill: #1d2733; font-size: 15px; font-weight: bold } .l { fill: #1d2733; font-size: 13px }',
    '    .g { fill: #1d2733; font-size: 13px; text-anchor: middle } .v { fill: #4a5a70; font-size: 11px; text-anchor: middle }',
    '    .axis { stroke: #4a5a70; fill: none }',
    ...style.map((rule) => `    ${rule}`),
    '  </style>',
    `  <rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...elements.map((each) => `  ${each}`),
    '</svg>',
    '',
  ].join('\n');
