/** The runs of one go, one after the other. What acts is passed in. */
import { secondsLeft, spoken } from './plan.ts';
import { isMeasured, type Outcome, type Result, type Results, type RunKey } from './results.ts';

export interface Go {
  readonly keys: readonly RunKey[];
  readonly results: Results;
  /** Rejects where nothing could be said of the migration: the run is left for another go. */
  readonly runOnce: (key: RunKey) => Promise<Outcome>;
  readonly stamp: { readonly build: string; readonly machine: string };
  /** Nothing more should be begun. */
  readonly over: () => boolean;
  readonly log: (line: string) => void;
}

/** The cluster is not as it should be. */
const BROKEN_IN_A_ROW = 3;

const nameOf = ({ config, rate, run }: RunKey): string => `${config}, ${rate} msg/s, run ${run}`;

const tell = (result: Result): string => {
  if (!isMeasured(result)) return `${result.outcome.toUpperCase()}: ${result.code}: ${result.message.split('\n')[0]}`;
  const { totalSeconds, downtimeMs, gapMs, lost, duplicated, reordered } = result;
  const wrong = [lost, duplicated, reordered].some((each) => each > 0)
    ? `, ${lost} LOST, ${duplicated} DUPLICATED, ${reordered} REORDERED`
    : '';
  return `${totalSeconds.toFixed(2)} s, downtime ${downtimeMs} ms, gap ${gapMs} ms${wrong}`;
};

const resultOf = async ({ runOnce, stamp }: Go, key: RunKey): Promise<Result> => {
  const began = performance.now();
  const outcome = await runOnce(key);
  const tookSeconds = Math.round((performance.now() - began) / 100) / 10;
  return { ...key, at: new Date().toISOString(), ...stamp, tookSeconds, ...outcome };
};

/** Returns how many runs are left for another go. What this release refuses once, it refuses at every rate. */
export const go = async (settings: Go): Promise<number> => {
  const { keys, results, over, log } = settings;
  let ahead = [...keys];
  let broken = 0;
  let brokenInARow = 0;
  while (ahead.length > 0 && !over()) {
    const [key, ...rest] = ahead as [RunKey, ...RunKey[]];
    try {
      const result = await resultOf(settings, key);
      results.append(result);
      brokenInARow = 0;
      ahead = result.outcome === 'unsupported' ? rest.filter(({ config }) => config !== key.config) : rest;
      const seconds = secondsLeft(ahead, results.all);
      const togo = ahead.length === 0 ? '' : `; ${ahead.length} to go, about ${spoken(seconds)}`;
      log(`${nameOf(key)}: ${tell(result)} (${Math.round(result.tookSeconds)} s${togo})`);
    } catch (error) {
      if (over()) break;
      log(`${nameOf(key)}: NOT MEASURED: ${error instanceof Error ? error.message : String(error)}`);
      ahead = rest;
      broken += 1;
      brokenInARow += 1;
      if (brokenInARow === BROKEN_IN_A_ROW)
        throw new Error(`${BROKEN_IN_A_ROW} runs in a row could not be made`, { cause: error });
    }
  }
  return ahead.length + broken;
};
