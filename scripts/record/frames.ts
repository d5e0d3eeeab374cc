/** What a terminal shows while a session is written to it, picture by picture. xterm.js interprets; nothing is drawn here. */
import xterm, { type IBufferCell, type IBufferLine, type Terminal } from '@xterm/headless';
import type { Cast } from './cast.ts';

/** Index of the 256 colours, or `#rrggbb`; undefined: the terminal's own. */
export type Colour = number | string | undefined;

export interface Style {
  readonly fg: Colour;
  readonly bg: Colour;
  readonly bold: boolean;
  readonly dim: boolean;
  readonly italic: boolean;
  readonly underline: boolean;
  readonly inverse: boolean;
  readonly struck: boolean;
}

/** Neighbouring characters of one style. */
export interface Run {
  /** Cells from the left, from 0. */
  readonly column: number;
  readonly style: Style;
  /** Characters with the number of cells each takes: 1, or 2 for wide ones. */
  readonly cells: readonly (readonly [text: string, width: number])[];
}

export type Row = readonly Run[];

export interface Frame {
  /** Milliseconds since the beginning of the session. */
  readonly at: number;
  readonly rows: readonly Row[];
  /** Undefined while it is hidden. */
  readonly cursor: { readonly column: number; readonly row: number } | undefined;
}

/** Output within so many milliseconds is one picture: a screen is often written by several writes. */
const TOGETHER_MS = 25;

const hex = (colour: number): string => `#${colour.toString(16).padStart(6, '0')}`;

const styleOf = (cell: IBufferCell): Style => ({
  fg: cell.isFgDefault() ? undefined : cell.isFgRGB() ? hex(cell.getFgColor()) : cell.getFgColor(),
  bg: cell.isBgDefault() ? undefined : cell.isBgRGB() ? hex(cell.getBgColor()) : cell.getBgColor(),
  bold: cell.isBold() !== 0,
  dim: cell.isDim() !== 0,
  italic: cell.isItalic() !== 0,
  underline: cell.isUnderline() !== 0,
  inverse: cell.isInverse() !== 0,
  struck: cell.isStrikethrough() !== 0,
});

/** Whether a space of this style looks like nothing. A line under spaces is not drawn. */
const isBlank = ({ bg, inverse }: Style): boolean => bg === undefined && !inverse;

const trimmed = (run: Run): Run | undefined => {
  if (!isBlank(run.style)) return run;
  const from = run.cells.findIndex(([text]) => text !== ' ');
  const to = run.cells.findLastIndex(([text]) => text !== ' ');
  return from < 0 ? undefined : { ...run, column: run.column + from, cells: run.cells.slice(from, to + 1) };
};

const rowOf = (line: IBufferLine | undefined, columns: number): Row => {
  const runs: (Run & { key: string; cells: [string, number][] })[] = [];
  for (let column = 0; column < columns; column++) {
    const cell = line?.getCell(column);
    // 0: the second half of a wide character.
    if (cell === undefined || cell.getWidth() === 0) continue;
    const style = styleOf(cell);
    const key = JSON.stringify(style);
    if (runs.at(-1)?.key !== key) runs.push({ column, style, key, cells: [] });
    runs.at(-1)!.cells.push([cell.isInvisible() ? ' ' : cell.getChars() || ' ', cell.getWidth()]);
  }
  return runs
    .map(({ column, style, cells }) => trimmed({ column, style, cells }))
    .filter((run): run is Run => run !== undefined);
};

const CURSOR = 25;

/** Follows whether the cursor is shown (DECTCEM), which xterm.js keeps to itself. */
const followCursor = (terminal: Terminal): (() => boolean) => {
  let shown = true;
  for (const [final, to] of [
    ['h', true],
    ['l', false],
  ] as const)
    terminal.parser.registerCsiHandler({ prefix: '?', final }, (params) => {
      if (params.includes(CURSOR)) shown = to;
      return false;
    });
  return () => shown;
};

const write = (terminal: Terminal, text: string): Promise<void> =>
  new Promise((resolve) => terminal.write(text, resolve));

/** Those that look different from the one before; none is taken in the midst of a synchronized update (mode 2026). */
export const framesOf = async ({ header, events }: Cast): Promise<Frame[]> => {
  const { width: cols, height: rows } = header;
  const terminal = new xterm.Terminal({ cols, rows, scrollback: 0, allowProposedApi: true });
  const cursorShown = followCursor(terminal);
  const frames: Frame[] = [];
  const outputs = events.filter(([, kind]) => kind === 'o');
  let before = '';
  for (const [index, [at, , text]] of outputs.entries()) {
    await write(terminal, text);
    const next = outputs[index + 1]?.[0] ?? Number.POSITIVE_INFINITY;
    if (terminal.modes.synchronizedOutputMode || (next - at) * 1000 < TOGETHER_MS) continue;
    const buffer = terminal.buffer.active;
    const cursor = cursorShown() ? { column: Math.min(buffer.cursorX, cols - 1), row: buffer.cursorY } : undefined;
    const lines = Array.from({ length: rows }, (_, row) => rowOf(buffer.getLine(buffer.viewportY + row), cols));
    const now = JSON.stringify([lines, cursor]);
    if (now !== before) frames.push({ at: Math.round(at * 1000), rows: lines, cursor });
    before = now;
  }
  terminal.dispose();
  return frames;
};

/** As text, without the spaces at a line's end. */
export const frameText = ({ rows }: Frame): string =>
  rows
    .map((row) => {
      let line = '';
      let column = 0;
      for (const run of row) {
        line += ' '.repeat(run.column - column) + run.cells.map(([text]) => text).join('');
        column = run.column + run.cells.reduce((sum, [, width]) => sum + width, 0);
      }
      return line.trimEnd();
    })
    .join('\n')
    .trimEnd();
