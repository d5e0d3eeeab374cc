/**
 * What the paper reports, from the reference implementation's repository: medians of the whole migration over ten runs, in
 * seconds, on three bare-metal nodes.
 */
import { PAPERS, type Papers } from './configurations.ts';

export const RATES = [10, 20, 40, 60, 80, 100, 120] as const;

const MEDIANS: Readonly<Record<Papers, readonly number[]>> = {
  Sequential: [50.8, 59.2, 81.1, 157.5, 164.7, 165.0, 164.8],
  ShadowPod: [13.8, 14.3, 19.5, 36.0, 117.2, 129.8, 129.0],
  ExchangeFence: [15.8, 17.6, 23.1, 31.8, 58.3, 139.9, 141.6],
  Deployment: [12.4, 14.0, 20.3, 58.2, 126.0, 128.9, 129.2],
};

/** undefined: it has no such configuration or rate. */
export const paperSeconds = (configuration: string, rate: number): number | undefined =>
  (MEDIANS as Readonly<Record<string, readonly number[]>>)[configuration]?.[(RATES as readonly number[]).indexOf(rate)];

/** Of all its configurations at that rate. */
export const paperBest = (rate: number): number | undefined => {
  const seconds = PAPERS.map((configuration) => paperSeconds(configuration, rate)).filter((each) => each !== undefined);
  return seconds.length === 0 ? undefined : Math.min(...seconds);
};
