/** What lanes and plots of the picture share: its sizes, and its axis of time. Pure. */
import type { Report, Stop } from './schema.ts';

export interface Size {
  /** Units; the text is 12 of them high. */
  width: number;
  /** Ids in one page differ by it. */
  id: string;
}
export const WIDE: Size = { width: 1030, id: 'wide' };
export const NARROW: Size = { width: 372, id: 'narrow' };

export const LEFT = 46;
export const RIGHT = 12;
export const TOP = 8;
export const LANE = 46;
export const BAR = 20;
export const PLOT = 92;
/** Below a plot, to the next. */
const SPACE = 26;
export const AXIS = 34;

export interface Frame {
  size: Size;
  report: Report;
  /** End of the axis of time, milliseconds. */
  end: number;
  x(ms: number): number;
}

/** Above a plot: its title, and beside or below that what its colours are. */
export const isNarrow = ({ width }: Size): boolean => width < 600;
export const headOf = (size: Size): number => (isNarrow(size) ? 46 : 28);
export const panelOf = (size: Size): number => headOf(size) + PLOT + SPACE;

export const round = (value: number): number => Number(value.toFixed(1));

export const endOf = ({ migration, handoffs }: Report): number =>
  Math.max(1, migration.ms, ...handoffs.flatMap(({ steps }) => steps.map(({ from, ms }) => from + ms)));

/** Short: what stands at an axis. */
export const secondsAt = (ms: number): string => `${Number((ms / 1000).toFixed(3))}s`;

export const stopsOf = ({ handoffs }: Report): Stop[] => handoffs.flatMap(({ stops }) => stops);

export const STOP_SAYS: Record<Stop['what'], string> = {
  checkpoint: 'paused for the checkpoint',
  handover: 'from the mute of the source until the copy serves',
};
