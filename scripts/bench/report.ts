/** All that was measured, and what of it was wanted. Pure. */
import type { Ceiling } from './ceiling.ts';
import type { Failure, Mode, Sample } from './rows.ts';
import { added, MEASURE, median, ratio } from './statistics.ts';

export interface Report {
  /** ISO 8601. */
  readonly made: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly kernel: string;
    readonly node: string;
    readonly perfTest: string;
    readonly toxiproxy: string;
  };
  readonly runs: number;
  readonly seconds: number;
  readonly samples: readonly Sample[];
  readonly ceilings: readonly Ceiling[];
  readonly failures: readonly (Failure | (Omit<Failure, 'mode'> & { readonly mode: string }))[];
}

export interface Verdict {
  readonly what: string;
  /** least: the measured value must be that or more; most: that or less; above: more. */
  readonly bound: 'least' | 'most' | 'above';
  readonly limit: number;
  /** undefined: it was not measured. */
  readonly measured: number | undefined;
  /** µs, bytes a second, or none: a ratio. */
  readonly unit: '' | 'µs' | 'B/s';
  readonly met: boolean | undefined;
}

const meets = (measured: number | undefined, bound: Verdict['bound'], limit: number): boolean | undefined => {
  if (measured === undefined) return undefined;
  if (bound === 'most') return measured <= limit;
  return bound === 'above' ? measured > limit : measured >= limit;
};

export const ceilingOf = (ceilings: readonly Ceiling[], mode: Ceiling['mode']): Ceiling[] =>
  ceilings.filter((ceiling) => ceiling.mode === mode);

export const medianOf = <T>(items: readonly T[], value: (item: T) => number | undefined): number | undefined => {
  const values = items.map(value).filter((each) => each !== undefined);
  return values.length === 0 ? undefined : median(values);
};

/** What the project demands of the sidecar (docs/bench-sidecar.md). */
export const verdictsOf = ({ samples, ceilings }: Pick<Report, 'samples' | 'ceilings'>): Verdict[] => {
  const verdict = (
    what: string,
    measured: number | undefined,
    bound: Verdict['bound'],
    limit: number,
    unit: Verdict['unit'] = '',
  ): Verdict => ({ what, measured, bound, limit, unit, met: meets(measured, bound, limit) });
  const rate = (row: string, modes: [Mode, Mode]) => ratio(samples, row, modes, MEASURE.rate);
  const cpu = (row: string) => ratio(samples, row, ['sidecar', 'pipe'], MEASURE.cpu);
  const delay = (row: string, mode: Mode) => added(samples, row, [mode, 'direct'], MEASURE.median);
  const small = [
    ['throughput-100', '100 B'],
    ['throughput-1k', '1 KiB'],
  ] as const;
  return [
    ...small.flatMap(([row, size]) => [
      verdict(`relaying, ${size}: throughput, of the pipe's`, rate(row, ['sidecar', 'pipe']), 'least', 0.95),
      verdict(`relaying, ${size}: throughput, of toxiproxy's`, rate(row, ['sidecar', 'toxiproxy']), 'above', 1),
      verdict(`relaying, ${size}: CPU a message, of the pipe's`, cpu(row), 'most', 1.15),
    ]),
    verdict('relaying, 1,000 msg/s: median latency added', delay('latency-1000', 'sidecar'), 'most', 120, 'µs'),
    verdict('relaying, 20 msg/s: median latency added', delay('latency-20', 'sidecar'), 'most', 300, 'µs'),
    verdict(
      'recording, 1 KiB: throughput, of relaying',
      rate('throughput-1k', ['recording', 'sidecar']),
      'least',
      0.85,
    ),
    verdict('recording, 1,000 msg/s: median latency added', delay('latency-1000', 'recording'), 'most', 150, 'µs'),
    verdict(
      'without a broker, 1 KiB in chunks of 64 KiB',
      medianOf(ceilingOf(ceilings, 'sidecar'), ({ bytes }) => bytes),
      'least',
      1e9,
      'B/s',
    ),
  ];
};
