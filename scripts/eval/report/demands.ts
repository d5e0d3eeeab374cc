/** What is demanded of the results, and whether it is met. Pure. */
import { CONFIGURATIONS, type Configuration } from '../configurations.ts';
import { paperBest, RATES } from '../paper.ts';
import type { MeasuredResult } from '../results.ts';
import { cellOf, figureOf, sumOf, type Variant } from './summary.ts';

export interface Demand {
  readonly what: string;
  readonly demanded: string;
  /** undefined: it was not measured. */
  readonly measured: string | undefined;
  readonly met: boolean | undefined;
}

const SLOW = 10;
const FAST = 120;

const totalAt = (variant: Variant, rate: number): number | undefined =>
  figureOf(cellOf(variant, 'ShadowPodSwap', rate), ({ totalSeconds }) => totalSeconds)?.median;

const evenness = (variant: Variant): Demand => {
  const [slow, fast] = [totalAt(variant, SLOW), totalAt(variant, FAST)];
  const ratio = slow === undefined || fast === undefined ? undefined : fast / slow;
  return {
    what: `ShadowPodSwap: total at ${FAST} msg/s, of that at ${SLOW}`,
    demanded: '0.67 to 1.50',
    measured: ratio?.toFixed(2),
    met: ratio === undefined ? undefined : ratio <= 1.5 && ratio >= 1 / 1.5,
  };
};

const speed = (variant: Variant, rate: number, times: number): Demand => {
  const total = totalAt(variant, rate);
  const best = paperBest(rate);
  const faster = total === undefined || best === undefined ? undefined : best / total;
  return {
    what: `ShadowPodSwap at ${rate} msg/s: times faster than the paper's best`,
    demanded: `≥ ${times}`,
    measured: faster?.toFixed(1),
    met: faster === undefined ? undefined : faster >= times,
  };
};

const wrongs = ({ lost, duplicated, reordered }: MeasuredResult): number => lost + duplicated + reordered;

/** Of all rates. */
const none = (
  variant: Variant,
  config: Configuration,
  what: string,
  value: (result: MeasuredResult) => number,
): Demand => {
  const cells = variant.rates.map((rate) => cellOf(variant, config, rate));
  const runs = cells.reduce((sum, { measured }) => sum + measured.length, 0);
  const sum = cells.reduce((all, cell) => all + sumOf(cell, value), 0);
  return {
    what: `${config}: ${what}`,
    demanded: '0',
    measured: runs === 0 ? undefined : `${sum} in ${runs} runs`,
    met: runs === 0 ? undefined : sum === 0,
  };
};

const EXACT: readonly Configuration[] = ['ShadowPodSwap', 'StopAndCopy', 'ExchangeFence'];
const SEAMLESS: readonly Configuration[] = ['ShadowPodSwap', 'ExchangeFence'];

const RUNS = 3;

const often = (variant: Variant): Demand => {
  const least = Math.min(
    ...CONFIGURATIONS.flatMap((config) => RATES.map((rate) => cellOf(variant, config, rate).measured.length)),
  );
  return {
    what: 'runs of each configuration at each rate',
    demanded: `≥ ${RUNS}`,
    measured: least === 0 ? undefined : String(least),
    met: least === 0 ? undefined : least >= RUNS,
  };
};

export const demandsOf = (variant: Variant): Demand[] => [
  often(variant),
  evenness(variant),
  speed(variant, SLOW, 2),
  speed(variant, FAST, 15),
  ...EXACT.map((config) => none(variant, config, 'messages lost, duplicated or out of order', wrongs)),
  ...SEAMLESS.map((config) => none(variant, config, 'failed probes', ({ failedProbes }) => failedProbes)),
  ...EXACT.map((config) => {
    const failed = variant.rates.reduce((sum, rate) => sum + cellOf(variant, config, rate).failed.length, 0);
    const runs = variant.rates.reduce((sum, rate) => sum + cellOf(variant, config, rate).measured.length, failed);
    return {
      what: `${config}: migrations that did not complete`,
      demanded: '0',
      measured: runs === 0 ? undefined : `${failed} of ${runs}`,
      met: runs === 0 ? undefined : failed === 0,
    };
  }),
];
