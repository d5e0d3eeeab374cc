/**
 * The frames of a terminal session as one picture that moves by itself: an SVG without script, whose frames lie side by side and
 * are shown one after another by a CSS animation. Whoever wants no motion sees the last one. Pure.
 */
import { colourText, STYLE, THEME } from './colours.ts';
import type { Frame, Row, Run, Style } from './frames.ts';

export interface Look {
  /** Cells. */
  readonly columns: number;
  readonly rows: number;
  /** What the picture shows, for those who do not see it. */
  readonly title: string;
  /** How long the last frame stands, ms. */
  readonly pauseMs: number;
}

/** Pixels. The advance of most monospaced fonts is 0.6 of their size; texts are fitted to it. */
const FONT = 14;
const CELL = 8.4;
const LINE = 19;
const BASELINE = 14;
const EDGE = 14;

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => ESCAPES[character]!);
const number = (value: number): string => String(Math.round(value * 100) / 100);
const x = (column: number): string => number(column * CELL);

const widthOf = (cells: Run['cells']): number => cells.reduce((sum, [, width]) => sum + width, 0);

/** Foreground and background as they are seen. */
const seen = ({ fg, bg, inverse }: Style) => (inverse ? { fg: bg ?? 'bg', bg: fg ?? 'fg' } : { fg, bg });

const attributes = (style: Style): string => {
  const { fg } = seen(style);
  const flags = [style.bold && 'b', style.dim && 'd', style.italic && 'i', style.underline && 'u', style.struck && 'k'];
  const { name, fill } = colourText(fg);
  const names = [name, ...flags].filter((each) => each);
  return `${names.length > 0 ? ` class="${names.join(' ')}"` : ''}${fill ? ` fill="${fill}"` : ''}`;
};

const PLAIN = /^[\x20-\x7e]$/;

interface Piece {
  readonly kind: string;
  readonly text: string;
  /** Column of each character, and behind the last. */
  readonly columns: readonly number[];
}

/**
 * Plain characters are fitted as a whole; others, which may come from another font, are placed one by one. What consists of
 * several (an emoji, an accent) stands alone: viewers do not agree on which of them a place is for.
 */
const kindOf = (text: string, column: number): string =>
  PLAIN.test(text) ? 'plain' : text.length === 1 ? 'single' : `composed ${column}`;

const piecesOf = (run: Run): Piece[] => {
  const all: (Piece & { columns: number[]; text: string })[] = [];
  let column = run.column;
  for (const [text, width] of run.cells) {
    const kind = kindOf(text, column);
    if (all.at(-1)?.kind !== kind) all.push({ kind, text: '', columns: [column] });
    const piece = all.at(-1)!;
    column += width;
    piece.text += text;
    piece.columns.push(column);
  }
  return all;
};

const WORDS = /[^ ]+(?: [^ ]+)*/g;

const pieceOf = ({ kind, text, columns }: Piece, style: Style): string => {
  const drawn = (place: string, what: string) => `<text ${place}${attributes(style)}>${escaped(what)}</text>`;
  if (kind !== 'plain') return drawn(`x="${columns.slice(0, -1).map(x).join(' ')}"`, text);
  // Spaces are not drawn: at the ends and several together an SVG has none.
  return [...text.matchAll(WORDS)]
    .map(({ 0: words, index }) => {
      const length = `textLength="${x(words.length)}" lengthAdjust="spacingAndGlyphs"`;
      return drawn(`x="${x(columns[index]!)}" ${length}`, words);
    })
    .join('');
};

const textOf = (run: Run): string =>
  piecesOf(run)
    .map((piece) => pieceOf(piece, run.style))
    .join('');

const backgroundOf = (run: Run): string => {
  const { bg } = seen(run.style);
  if (bg === undefined) return '';
  const { name, fill } = colourText(bg);
  const paint = name ? ` class="${name}"` : ` fill="${fill}"`;
  return `<rect x="${x(run.column)}" y="${-BASELINE}" width="${x(widthOf(run.cells))}" height="${LINE}"${paint}/>`;
};

const rowOf = (row: Row): string => row.map((run) => backgroundOf(run) + textOf(run)).join('');

/** Percent of the whole. */
const share = (ms: number, total: number): string => `${Number(((ms / total) * 100).toFixed(3))}%`;

const animation = (frames: readonly Frame[], total: number, width: number): string => {
  const start = frames[0]!.at;
  const steps = frames.map(({ at }, index) => `${share(at - start, total)}{transform:translateX(${-index * width}px)}`);
  const last = -(frames.length - 1) * width;
  // Without an animation, the end of it.
  return (
    `.reel{transform:translateX(${last}px)}` +
    `@media screen and (prefers-reduced-motion:no-preference){.reel{animation:play ${total}ms step-end infinite}}` +
    `@keyframes play{${steps.join('')}}`
  );
};

/** `frames`: at least one; the first is shown from the beginning. */
export const svgOf = (frames: readonly Frame[], look: Look): string => {
  const [width, height] = [Math.ceil(look.columns * CELL), look.rows * LINE];
  const total = frames.at(-1)!.at - frames[0]!.at + look.pauseMs;
  const known = new Map<string, string>();
  const useOf = (row: Row, index: number): string => {
    const drawn = rowOf(row);
    if (drawn === '') return '';
    if (!known.has(drawn)) known.set(drawn, `r${known.size}`);
    return `<use href="#${known.get(drawn)}" y="${index * LINE + BASELINE}"/>`;
  };
  const reel = frames.map(({ rows, cursor }, index) => {
    const caret =
      cursor === undefined
        ? ''
        : `<rect class="c" x="${x(cursor.column)}" y="${cursor.row * LINE}" width="${CELL}" height="${LINE - 2}"/>`;
    return `<g transform="translate(${index * width})">${caret}${rows.map(useOf).join('')}</g>`;
  });
  const rows = [...known].map(([drawn, id]) => `<g id="${id}">${drawn}</g>`);
  const [w, h] = [width + 2 * EDGE, height + 2 * EDGE];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${w} ${h}" width="${w}" height="${h}" role="img" aria-label="${escaped(look.title)}">
<title>${escaped(look.title)}</title>
<style>${THEME}${STYLE}.t{font-size:${FONT}px}${animation(frames, total, width)}</style>
<defs>${rows.join('\n')}</defs>
<rect class="card" x=".5" y=".5" width="${w - 1}" height="${h - 1}" rx="9"/>
<svg class="t" aria-hidden="true" x="${EDGE}" y="${EDGE}" width="${width}" height="${height}"><g class="reel">
${reel.join('\n')}
</g></svg>
</svg>
`;
};
