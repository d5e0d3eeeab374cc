/** How numbers and tables look. Pure. */

/** 1234 → "1.23s"; from a minute on "1m05s". */
export const seconds = (ms: number): string => {
  if (ms < 59_995) return `${(Math.max(0, ms) / 1000).toFixed(2)}s`;
  const whole = Math.round(ms / 1000);
  return `${Math.floor(whole / 60)}m${String(whole % 60).padStart(2, '0')}s`;
};

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;
export const bytes = (count: number): string => {
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${UNITS[unit]}`;
};

/** A whole and the next smaller unit, which is left out when 0. */
const two = (whole: number, unit: string, rest: number, small: string): string =>
  rest === 0 ? `${whole}${unit}` : `${whole}${unit}${rest}${small}`;

/** kubectl's AGE: the two units while the smaller one still tells something. */
export const age = (ms: number): string => {
  const s = Math.max(0, Math.floor(ms / 1000));
  const m = Math.floor(s / 60);
  const h = Math.floor(m / 60);
  const d = Math.floor(h / 24);
  if (s < 120) return `${s}s`;
  if (m < 10) return two(m, 'm', s % 60, 's');
  if (h < 3) return `${m}m`;
  if (h < 8) return two(h, 'h', m % 60, 'm');
  if (h < 48) return `${h}h`;
  if (d < 8) return two(d, 'd', h % 24, 'h');
  if (d < 730) return `${d}d`;
  return two(Math.floor(d / 365), 'y', d % 365, 'd');
};

type Row = readonly string[];
const shown = (row: Row): string[] => row.map((cell) => cell || '<none>');

/** Of each column, the longest cell. */
export const columnWidths = (rows: readonly Row[]): number[] =>
  rows[0]?.map((_, at) => Math.max(...rows.map((row) => shown(row)[at]?.length ?? 0))) ?? [];

/** Three spaces between, no space at a line's end. Empty cells become <none>. */
export const rowText = (row: Row, widths: readonly number[]): string =>
  shown(row)
    .map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd((widths[at] ?? 0) + 3)))
    .join('');

/** Columns as kubectl sets them. */
export const columns = (head: Row, rows: readonly Row[], indent = ''): string => {
  const all = [head, ...rows];
  const widths = columnWidths(all);
  return all.map((row) => indent + rowText(row, widths)).join('\n');
};
