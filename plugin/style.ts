/** Lines for a terminal: spans of text, each with a tone, cut to a width and painted. Pure. */

export interface Look {
  /** False: no escape code is written. */
  color: boolean;
  /** False: ASCII alone. */
  unicode: boolean;
}

export type Tone = 'bold' | 'dim' | 'good' | 'busy' | 'bad';
export type Span = readonly [text: string, tone?: Tone | undefined];
export type Line = readonly Span[];

/** ECMA-48 SGR parameters. */
const SGR: Record<Tone, number> = { bold: 1, dim: 2, bad: 31, good: 32, busy: 33 };

const UNPRINTABLE = /[\p{Cc}\p{Cf}]/gu;
/** What a cluster says goes to a terminal: none of it may steer that. */
export const printable = (text: string): string => text.replace(UNPRINTABLE, ' ');

/** East Asian wide and full-width ranges, and emoji: two cells. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const NONE = /\p{M}/u;
const cellsOf = (character: string): number => (NONE.test(character) ? 0 : WIDE.test(character) ? 2 : 1);

/** Cells a text takes on a terminal. */
export const widthOf = (text: string): number => {
  if (/^[ -~]*$/.test(text)) return text.length;
  let cells = 0;
  for (const character of text) cells += cellsOf(character);
  return cells;
};

export const lineWidth = (line: Line): number => line.reduce((sum, [text]) => sum + widthOf(text), 0);

/** As much of a text as `width` cells hold. */
const headOf = (text: string, width: number): string => {
  let cells = 0;
  let head = '';
  for (const character of text) {
    cells += cellsOf(character);
    if (cells > width) break;
    head += character;
  }
  return head;
};

export const ellipsis = ({ unicode }: Pick<Look, 'unicode'>): string => (unicode ? '…' : '~');

/** The text in at most `width` cells; what is cut off leaves a mark. */
export const cutText = (text: string, width: number, look: Pick<Look, 'unicode'>): string =>
  widthOf(text) <= width ? text : width < 1 ? '' : headOf(text, width - 1) + ellipsis(look);

export const padded = (text: string, width: number): string => text + ' '.repeat(Math.max(0, width - widthOf(text)));

export const cutLine = (line: Line, width: number, look: Pick<Look, 'unicode'>): Line => {
  if (lineWidth(line) <= width) return line;
  const kept: Span[] = [];
  let left = width;
  for (const [text, tone] of line) {
    const cells = widthOf(text);
    // One cell is kept for the mark, whatever follows.
    if (cells < left) {
      kept.push([text, tone]);
      left -= cells;
      continue;
    }
    kept.push([headOf(text, left - 1) + ellipsis(look), tone]);
    break;
  }
  return kept;
};

const painted = (text: string, tone: Tone | undefined, { color }: Look): string =>
  color && tone !== undefined && text.trim() !== '' ? `\x1b[${SGR[tone]}m${text}\x1b[0m` : text;

/** The line as it is written, in at most `width` cells. */
export const lineText = (line: Line, width: number, look: Look): string =>
  cutLine(
    line.map(([text, tone]): Span => [printable(text), tone]),
    width,
    look,
  )
    .map(([text, tone]) => painted(text, tone, look))
    .join('')
    .trimEnd();
