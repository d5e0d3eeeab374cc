/** Which runs there are, in which order, which are left, and how long they take. Pure. */
import type { Configuration } from './configurations.ts';
import type { App, Result, RunKey } from './results.ts';

export interface Asked {
  readonly app: App;
  readonly workMs: number;
  readonly configs: readonly Configuration[];
  readonly rates: readonly number[];
  /** Of each configuration at each rate. */
  readonly runs: number;
  readonly seed: number;
}

/** mulberry32: numbers from 0 to 1 that depend on the seed alone. */
const random = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

/** Fisher-Yates. */
const shuffled = <T>(items: readonly T[], seed: number): T[] => {
  const next = random(seed);
  const mixed = [...items];
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = Math.floor(next() * (last + 1));
    [mixed[last], mixed[other]] = [mixed[other]!, mixed[last]!];
  }
  return mixed;
};

/**
 * Round by round, in each every configuration at every rate once, shuffled: what the machine does over hours is in all of
 * them, and a go that is cut short has whole rounds.
 */
export const orderOf = ({ app, workMs, configs, rates, runs, seed }: Asked): RunKey[] =>
  Array.from({ length: runs }, (_, index) => index + 1).flatMap((run) =>
    shuffled(
      configs.flatMap((config) => rates.map((rate): RunKey => ({ app, workMs, config, rate, run }))),
      seed * 1000 + run,
    ),
  );

export const isOf = (key: RunKey, other: RunKey): boolean =>
  key.app === other.app &&
  key.workMs === other.workMs &&
  key.config === other.config &&
  key.rate === other.rate &&
  key.run === other.run;

/** A failure is a result. What was refused is asked for again: another release may have it. */
export const missing = (keys: readonly RunKey[], results: readonly Result[]): RunKey[] =>
  keys.filter((key) => !results.some((result) => result.outcome !== 'unsupported' && isOf(result, key)));

/** Of a run of which nothing is known yet. */
const SECONDS_A_RUN = 50;

/** By what each configuration has taken so far, or all of them. */
export const secondsLeft = (left: readonly RunKey[], results: readonly Result[]): number => {
  const taken = (config?: Configuration): number | undefined => {
    const seconds = results
      .filter((result) => result.outcome !== 'unsupported' && (config === undefined || result.config === config))
      .map(({ tookSeconds }) => tookSeconds);
    return seconds.length === 0 ? undefined : seconds.reduce((sum, each) => sum + each, 0) / seconds.length;
  };
  return left.reduce((sum, { config }) => sum + (taken(config) ?? taken() ?? SECONDS_A_RUN), 0);
};

/** 5400 → "1 h 30 min". */
export const spoken = (seconds: number): string => {
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};
