/** Results, put together: what is told of one configuration at one rate. Pure. */
import { median } from '../../bench/statistics.ts';
import { CONFIGURATIONS, type Configuration } from '../configurations.ts';
import { type App, isMeasured, type MeasuredResult, type Result } from '../results.ts';

export interface Figure {
  readonly median: number;
  readonly worst: number;
}

export interface Cell {
  readonly config: Configuration;
  readonly rate: number;
  readonly measured: readonly MeasuredResult[];
  /** Migrations that did not complete. */
  readonly failed: readonly Extract<Result, { outcome: 'failed' }>[];
}

/** Results of one app and work on a message: what can be compared with each other. */
export interface Variant {
  readonly app: App;
  readonly workMs: number;
  readonly configs: readonly Configuration[];
  readonly rates: readonly number[];
  readonly results: readonly Result[];
}

export const variantsOf = (results: readonly Result[]): Variant[] => {
  const names = [...new Set(results.map(({ app, workMs }) => `${app} ${workMs}`))].sort();
  return names.map((name) => {
    const own = results.filter(({ app, workMs }) => `${app} ${workMs}` === name);
    const { app, workMs } = own[0]!;
    return {
      ...{ app, workMs, results: own },
      configs: CONFIGURATIONS.filter((config) => own.some((result) => result.config === config)),
      rates: [...new Set(own.filter(({ outcome }) => outcome !== 'unsupported').map(({ rate }) => rate))].sort(
        (a, b) => a - b,
      ),
    };
  });
};

export const cellOf = ({ results }: Pick<Variant, 'results'>, config: Configuration, rate: number): Cell => {
  const own = results.filter((result) => result.config === config && result.rate === rate);
  return {
    ...{ config, rate },
    measured: own.filter(isMeasured),
    failed: own.filter((result) => result.outcome === 'failed'),
  };
};

/** undefined: nothing was measured. */
export const figureOf = ({ measured }: Cell, value: (result: MeasuredResult) => number): Figure | undefined => {
  const values = measured.map(value);
  return values.length === 0 ? undefined : { median: median(values), worst: Math.max(...values) };
};

/** Over all runs of a cell. */
export const sumOf = ({ measured }: Cell, value: (result: MeasuredResult) => number): number =>
  measured.reduce((sum, result) => sum + value(result), 0);

/** The last refusal of a configuration of which nothing was ever measured. */
export const refusalOf = (
  { results }: Pick<Variant, 'results'>,
  config: Configuration,
): Extract<Result, { outcome: 'unsupported' }> | undefined => {
  const own = results.filter((result) => result.config === config);
  if (own.some(({ outcome }) => outcome !== 'unsupported')) return undefined;
  return own.filter((result) => result.outcome === 'unsupported').at(-1);
};
