/** The rows of the tree, set in columns that fit the width: what matters least goes first. Pure. */
import { cutText, type Line, type Look, padded, type Span, type Tone, widthOf } from '../style.ts';
import { sparkline } from './pace.ts';

const KEYS = ['name', 'role', 'state', 'node', 'lag', 'rate', 'age'] as const;
type Key = (typeof KEYS)[number];

export interface Row {
  /** Branches of the tree before the mark. */
  lead: string;
  mark: Span;
  /** Of `rate` the number; its trend goes before it. */
  cells: Record<Key, string>;
  trend: readonly number[];
  /** Of mark and state. */
  tone: Tone;
  /** What hangs below it. */
  below: readonly Line[];
}

const GAP = 2;
/** A name is cut to no less. */
const NAME_LEAST = 12;

interface Layout {
  keys: readonly Key[];
  /** Cells of a sparkline. */
  trend: number;
}

const layout = (trend: number, ...gone: Key[]): Layout => ({ keys: KEYS.filter((key) => !gone.includes(key)), trend });

/** From the fullest on. A trend says more than a role, which the names nearly tell. */
const LAYOUTS: readonly Layout[] = [
  ...[32, 24, 16, 8].map((trend) => layout(trend)),
  ...[16, 8, 4].map((trend) => layout(trend, 'role')),
  layout(0, 'role'),
  layout(0, 'role', 'age'),
  layout(0, 'role', 'age', 'rate'),
  layout(0, 'role', 'age', 'rate', 'lag'),
];

const headOf = (key: Key): string => key.toUpperCase();

const rateCell = ({ trend, cells }: Row, width: number, look: Look): string =>
  [sparkline(trend, width, look.unicode), cells.rate].filter(Boolean).join(' ');

const cellOf = (row: Row, key: Key, { trend }: Layout, look: Look): string => {
  if (key === 'rate') return rateCell(row, trend, look);
  return key === 'name' ? `${row.lead}${row.mark[0]} ${row.cells.name}` : row.cells[key];
};

const widthsOf = (rows: readonly Row[], chosen: Layout, look: Look): number[] =>
  chosen.keys.map((key) =>
    Math.max(widthOf(headOf(key)), ...rows.map((row) => widthOf(cellOf(row, key, chosen, look)))),
  );

const sum = (widths: readonly number[]): number => widths.reduce((all, width) => all + width + GAP, -GAP);

const nameSpans = (row: Row, width: number, look: Look): Span[] => {
  const room = width - widthOf(row.lead) - widthOf(row.mark[0]) - 1;
  return [[row.lead, 'dim'], row.mark, [padded(` ${cutText(row.cells.name, room, look)}`, room + 1)]];
};

const lineOf = (row: Row, chosen: Layout, widths: readonly number[], look: Look): Line =>
  chosen.keys.flatMap((key, at): Span[] => {
    const gap: Span = [' '.repeat(at === 0 ? 0 : GAP)];
    if (key === 'name') return [gap, ...nameSpans(row, widths[at]!, look)];
    return [gap, [padded(cellOf(row, key, chosen, look), widths[at]!), key === 'state' ? row.tone : undefined]];
  });

/** The header, then each row with what hangs below it. */
export const grid = (rows: readonly Row[], columns: number, look: Look): Line[] => {
  const fits = (one: Layout): boolean => sum(widthsOf(rows, one, look)) <= columns;
  const chosen = LAYOUTS.find(fits) ?? LAYOUTS.at(-1)!;
  const widths = widthsOf(rows, chosen, look);
  const over = Math.max(0, sum(widths) - columns);
  widths[0] = Math.max(NAME_LEAST, widths[0]! - over);
  const head = chosen.keys.map((key, at) => padded(headOf(key), widths[at]!)).join(' '.repeat(GAP));
  return [[[head, 'dim']], ...rows.flatMap((row) => [lineOf(row, chosen, widths, look), ...row.below])];
};
