/** From samples to what is told of them. Pure. */
import type { Mode, Sample } from './rows.ts';

/** Of an even number of values the mean of the two in the middle; NaN of none. */
export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
};

export type Measure = (sample: Sample) => number | undefined;

export const MEASURE = {
  rate: ({ received }: Sample) => received,
  median: ({ latency }: Sample) => latency.median,
  p95: ({ latency }: Sample) => latency.p95,
  p99: ({ latency }: Sample) => latency.p99,
  cpu: ({ middle }: Sample) => middle?.cpuPerMillion,
  rss: ({ middle }: Sample) => middle?.rss,
} as const satisfies Record<string, Measure>;

const defined = (value: number | undefined): value is number => value !== undefined;

const of = (samples: readonly Sample[], row: string, mode: Mode): Sample[] =>
  samples.filter((sample) => sample.row === row && sample.mode === mode);

/** The median over all runs; undefined: it was not measured. */
export const typical = (samples: readonly Sample[], row: string, mode: Mode, measure: Measure): number | undefined => {
  const values = of(samples, row, mode).map(measure).filter(defined);
  return values.length === 0 ? undefined : median(values);
};

/**
 * How one mode compares with another, run by run, and the median of that: what the machine did to a whole run is in both and
 * goes away. undefined: no run has both.
 */
const paired = (
  samples: readonly Sample[],
  row: string,
  [one, other]: readonly [Mode, Mode],
  measure: Measure,
  compare: (a: number, b: number) => number,
): number | undefined => {
  const others = of(samples, row, other);
  const values = of(samples, row, one).flatMap((sample) => {
    const match = others.find(({ run }) => run === sample.run);
    const a = measure(sample);
    const b = match && measure(match);
    return defined(a) && defined(b) ? [compare(a, b)] : [];
  });
  return values.length === 0 ? undefined : median(values);
};

export const ratio = (samples: readonly Sample[], row: string, modes: readonly [Mode, Mode], measure: Measure) =>
  paired(samples, row, modes, measure, (a, b) => a / b);

export const added = (samples: readonly Sample[], row: string, modes: readonly [Mode, Mode], measure: Measure) =>
  paired(samples, row, modes, measure, (a, b) => a - b);
