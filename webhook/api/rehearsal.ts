/** What a rehearsal (spec.rehearse of a StatefulMigration) tells: status.rehearsal. */
import type { Step } from './migration.ts';

export const REHEARSE_SECONDS = 10;
/** Half of what a copy has for catching up, so that a leader that takes over may count anew. */
export const MOST_REHEARSE_SECONDS = 60;

/**
 * How a rehearsal ended. Safe: the copy did as its source, and caught up. Idle: nothing could be compared. Behind: it had not
 * caught up in time. Diverged: it did otherwise. Failed: it did not come to that. One that was aborted has none.
 */
export const REHEARSAL_VERDICTS = ['Safe', 'Idle', 'Behind', 'Diverged', 'Failed'] as const;
export type RehearsalVerdict = (typeof REHEARSAL_VERDICTS)[number];

/** Made of what was measured; `estimated` parts were not, and are taken to be as long as what they are named to be like. */
export interface EstimatePart {
  part: Step | 'CatchingUp' | 'Ending' | 'SecondHandoff';
  ms: number;
  estimated?: boolean;
}

/** Of a migration by status.strategy. Milliseconds. */
export interface Estimate {
  /** Sum of the parts. */
  wholeMs?: number;
  parts?: EstimatePart[];
  /** Longest time the app stands still. */
  pauseMs?: number;
  /** Measured: by the cut, which is the pause of ShadowPodSwap and ShadowPod. Estimated: StopAndCopy, of which no source was stopped. */
  pause?: 'Measured' | 'Estimated';
}

/** What a rehearsal has measured; what it did not come to is absent. */
export interface Rehearsal {
  /** Longest time the copy was to play. */
  seconds: number;
  verdict?: RehearsalVerdict;
  /** One line, for people. */
  message?: string;
  /** Milliseconds from entering each step to entering the next one. */
  steps?: Partial<Record<Step, number>>;
  /** Of the checkpoint. */
  bytes?: number;
  /** Milliseconds in which the source's app stood still for the checkpoint. */
  frozenMs?: number;
  /** Milliseconds from when the copy woke to when it had caught up. */
  caughtUpMs?: number;
  /** Entries of the record, and outputs; as in Replay. `lag` at the end. */
  recorded?: number;
  played?: number;
  matched?: number;
  diverged?: number;
  lag?: number;
  /** Of the series: the highest lag, and the hardest throttle of the source (1: none). */
  lagMost?: number;
  throttle?: number;
  /** Deliveries a second: to the source's app on average while the copy played, to the copy's at its fastest. */
  sourceRate?: number;
  copyRate?: number;
  estimate?: Estimate;
}
