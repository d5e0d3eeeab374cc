/** Results as runs would leave them, for tests: figures that are made up and easy to reckon with. */
import { CONFIGURATIONS, type Configuration } from '../../../scripts/eval/configurations.ts';
import { RATES } from '../../../scripts/eval/paper.ts';
import type { MeasuredResult, Result, RunKey } from '../../../scripts/eval/results.ts';

export const keyOf = (config: Configuration, rate: number, run: number): RunKey => ({
  ...{ app: 'node', workMs: 10, config, rate, run },
});

const STAMP = { at: '2026-11-30T01:00:00.000Z', build: 'b', machine: 'm', tookSeconds: 30 };

/** Total: `seconds` + run / 10. */
export const measured = (
  config: Configuration,
  rate: number,
  run: number,
  change: Partial<MeasuredResult> & { seconds?: number } = {},
): MeasuredResult => {
  const { seconds = 5, ...rest } = change;
  return {
    ...keyOf(config, rate, run),
    ...STAMP,
    outcome: 'measured',
    ...{ from: 'node-1', to: 'node-2', strategy: 'ShadowPodSwap', totalSeconds: seconds + run / 10 },
    steps: [],
    failures: [],
    phaseSeconds: { Pending: 0.1, Checkpointing: 1, Transferring: 0.5, Restoring: 0.5, Replaying: 2, Finalizing: 1 },
    ...{ probes: 1000, failedProbes: 0, downtimeMs: 0, gapMs: 200 + run, silenceMs: 900 },
    before: { failedProbes: 0, gapMs: 12 },
    ...{ confirmed: 500, lost: 0, duplicated: 0, reordered: 0, outputsLost: 0, outputsDuplicated: 0 },
    ...{ stateMatches: true, reconnects: 0, pods: 1, bytes: 7 * 2 ** 20 },
    ...rest,
  };
};

export const unsupported = (config: Configuration): Result => ({
  ...keyOf(config, 10, 1),
  ...STAMP,
  ...{ outcome: 'unsupported', code: 'SHADOW_E_NOT_INJECTED', message: 'the pod has no shadow sidecar: label it' },
});

export const failed = (config: Configuration, rate: number, run: number): Result => ({
  ...keyOf(config, rate, run),
  ...STAMP,
  ...{ outcome: 'failed', code: 'SHADOW_E_RESTORE', message: 'the restore failed\nits log', lost: 0 },
});

/** Every configuration at every rate, three runs. */
export const whole: readonly MeasuredResult[] = CONFIGURATIONS.flatMap((config, index) =>
  RATES.flatMap((rate) =>
    [1, 2, 3].map((run) =>
      measured(config, rate, run, config === 'ShadowPodSwap' ? {} : { seconds: 6 + index * 3 + rate / 10 }),
    ),
  ),
);
