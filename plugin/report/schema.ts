/**
 * What a report holds, as `-o json` prints it; docs/report.md describes it. Times are whole milliseconds since the start of the
 * migration unless said otherwise; null: not known, or not so.
 */
import type { ErrorCode } from '../../webhook/api/errors.ts';
import type { Series, Step, Versions } from '../../webhook/api/migration.ts';

export interface StepReport {
  step: Step;
  says: string;
  from: number;
  /** null: it is the step the handoff is in. */
  to: number | null;
  ms: number;
}

/** A stretch in which nobody served what the broker sends. */
export interface Stop {
  what: 'checkpoint' | 'handover';
  from: number;
  /** null: it lasts. */
  to: number | null;
  ms: number;
}

/** A copy that replayed beside its source. */
export interface Proof {
  /** Entries of the source's record, and those the copy has played. */
  recorded: number;
  played: number;
  /** Outputs of both that are the same; the copy's went nowhere. */
  matched: number;
  swallowed: number;
  /** Outputs of the copy's app that its source had not made: they went out after the commit. */
  waiting: number;
  lag: number;
  diverged: number;
  divergence: string | null;
  link: 'direct' | 'relay';
  /** Share of the copy's pace to which the source was held back when last seen; 1: it was not. */
  throttle: number;
}

/** As Series, with null for what was not known. */
export type Curves = { at: number[] } & Record<Exclude<keyof Series, 'at'>, (number | null)[]>;

export interface HandoffReport {
  index: number;
  attempt: number;
  mode: 'stop' | 'replay';
  source: { pod: string; node: string };
  copy: { pod: string; node: string };
  result: 'committed' | 'undone' | 'under way';
  decision: { verdict: 'commit' | 'abort'; at: number | null; code: ErrorCode | null; message: string | null } | null;
  from: number | null;
  ms: number;
  steps: StepReport[];
  stops: Stop[];
  /** Of the app by the checkpoint, as the agents saw it. */
  pausedMs: number | null;
  checkpointBytes: number | null;
  /** Unsettled deliveries that came over. */
  carried: number | null;
  proof: Proof | null;
  curves: Curves | null;
}

export interface Report {
  kind: 'MigrationReport';
  /** Raised when a field changes its meaning or goes; new ones may come without. */
  version: 1;
  /** RFC 3339. */
  generated: string;
  migration: {
    name: string;
    namespace: string;
    pod: string;
    /** The name it goes on under; that of the pod, but for a Deployment's. */
    movedTo: string | null;
    owner: string | null;
    from: string | null;
    to: string | null;
    strategy: string;
    reason: string | null;
    phase: string;
    /** RFC 3339. */
    started: string | null;
    ended: string | null;
    ms: number;
  };
  result: {
    /** done: the pod was moved. running: not over. failed: it was not, see `error` and `putBack`. */
    state: 'done' | 'running' | 'failed';
    error: { code: ErrorCode; message: string; hint: string } | null;
    putBack: string[];
  };
  /** Over all handoffs; `longestStopMs`: the longest stretch in which nobody served. null: there was none. */
  totals: {
    longestStopMs: number | null;
    matched: number | null;
    diverged: number | null;
    carried: number | null;
    checkpointBytes: number | null;
  };
  handoffs: HandoffReport[];
  versions: { plugin: string; controller: string | null; sidecar: string | null; nodes: Versions['nodes'] };
}
