/** What was seen of a handoff, as bounded columns of its record. Pure. */
import type { Handoff, Series, Step } from '../api/migration.ts';

/**
 * Most looks kept of a handoff. With the bounds of the columns below that is at most 6.6 KB of the record; a usual run, 8 s by a
 * look every 0.2 s, has 1 KB.
 */
export const MOST = 120;
/** Looks that are closer are one. The sidecars tell as often. */
const FINEST_MS = 200;

type Column = Exclude<keyof Series, 'at'>;

/** `at`: milliseconds since the migration's start. What is not there was not known. */
export type Look = { at: number } & { [C in Column]?: number | undefined };

interface Rule {
  /** Of two looks that become one: the later value if not given. */
  readonly merge?: (a: number, b: number) => number;
  readonly most: number;
  /** Decimal places. */
  readonly places: number;
}

/** Thinning must not hide what one looks for: the highest lag, the longest gap, the hardest throttle. */
const COLUMNS: Record<Column, Rule> = {
  sourceRate: { most: 999_999.9, places: 1 },
  copyRate: { most: 999_999.9, places: 1 },
  lag: { merge: Math.max, most: 9_999_999, places: 0 },
  throttle: { merge: Math.min, most: 1, places: 2 },
  sourceGap: { merge: Math.max, most: 999_999, places: 0 },
  copyGap: { merge: Math.max, most: 999_999, places: 0 },
};
const NAMES = Object.keys(COLUMNS) as Column[];
const LATEST = 99_999_999;

const UNKNOWN = -1;

const kept = (value: number | undefined, { most, places }: Rule): number =>
  value === undefined || Number.isNaN(value) || value < 0 ? UNKNOWN : Number(Math.min(value, most).toFixed(places));

const joined = (a: Look, b: Look): Look => {
  const both: Look = { at: a.at };
  for (const name of NAMES) {
    const [x, y] = [a[name], b[name]];
    const { merge } = COLUMNS[name];
    both[name] = x === undefined || y === undefined ? (y ?? x) : merge === undefined ? y : merge(x, y);
  }
  return both;
};

/** One look for each stretch of `periodMs` that has any. */
const spaced = (looks: readonly Look[], periodMs: number): Look[] => {
  const result: Look[] = [];
  for (const look of looks) {
    const last = result.at(-1);
    const same = last !== undefined && Math.floor(last.at / periodMs) === Math.floor(look.at / periodMs);
    if (same) result[result.length - 1] = joined(last, look);
    else result.push(look);
  }
  return result;
};

/** In order of time, at most MOST: the stretches are doubled until it is so, and each holds whole ones of before. */
export const thinned = (looks: readonly Look[]): Look[] => {
  let periodMs = FINEST_MS;
  let result = spaced(looks, periodMs);
  while (result.length > MOST) {
    periodMs *= 2;
    result = spaced(result, periodMs);
  }
  return result;
};

export const looksOf = (series: Series | undefined): Look[] =>
  (series?.at ?? []).map((at, index) => {
    const look: Look = { at };
    for (const name of NAMES) {
      const value = series?.[name]?.[index];
      if (value !== undefined && value !== UNKNOWN) look[name] = value;
    }
    return look;
  });

const columnsOf = (looks: readonly Look[]): Series => {
  const series: Series = {
    at: looks.map(({ at }) => Math.min(Math.max(0, Math.round(at)), LATEST)),
    ...{ sourceRate: [], copyRate: [], lag: [], throttle: [], sourceGap: [], copyGap: [] },
  };
  for (const name of NAMES) series[name] = looks.map((look) => kept(look[name], COLUMNS[name]));
  return series;
};

/**
 * The record with what came since its last look. Given again, what it has already changes nothing: a write that was overtaken is
 * simply made again.
 */
export const withLooks = (series: Series | undefined, looks: readonly Look[]): Series | undefined => {
  // What falls into the stretch of the last one is joined with it.
  const last = series?.at.at(-1) ?? Number.NEGATIVE_INFINITY;
  const newer = looks.filter(({ at }) => at >= last);
  return newer.length === 0 ? series : columnsOf(thinned([...looksOf(series), ...newer]));
};

/**
 * Steps whose record takes it up. None that users wait for, from the mute (or the cut of mode stop) until the copy serves or the
 * source serves again: what was seen meanwhile is written after it.
 */
const TAKEN_UP: Record<NonNullable<Handoff['mode']>, readonly Step[]> = {
  stop: ['Settling', 'Retiring', 'Done', 'Aborted'],
  replay: ['Transferring', 'Restoring', 'Replaying', 'Settling', 'Switching', 'Retiring', 'Done', 'Aborted'],
};
const LAST: readonly Step[] = ['Done', 'Aborted'];

/** `before`: the handoffs as they were read; the ones that had ended then have all that was seen of them. */
export const withSeries = (
  handoffs: readonly Handoff[],
  before: readonly Handoff[],
  seen: (claim: string) => readonly Look[],
): Handoff[] =>
  handoffs.map((handoff) => {
    const { claim, step, mode = 'stop' } = handoff;
    const ended = before.some((known) => known.claim === claim && LAST.includes(known.step));
    if (ended || !TAKEN_UP[mode].includes(step)) return handoff;
    const series = withLooks(handoff.series, seen(claim));
    return series === undefined ? handoff : { ...handoff, series };
  });
