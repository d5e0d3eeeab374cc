/** What is told of each write: log line, metrics, events. None of it is waited for, none of it is a record. */
import { goDuration, type Handoff, isEnded, type StatefulMigration, type Step } from '../api/migration.ts';
import type { Log } from '../log.ts';
import type { Cluster } from './context.ts';
import type { Observer } from './reconcile.ts';
import { isRehearsal, isRehearsed } from './transition.ts';

export interface Measures {
  step(step: string, ms: number): void;
  /** From muting the source until the copy is live. */
  pause(ms: number): void;
  ended(phase: string): void;
}

export interface Entered {
  handoff: Handoff;
  /** The step before, and how long it took. */
  left?: string;
  ms?: number;
}

/** The steps a write entered. */
export const enteredBy = (before: StatefulMigration, after: StatefulMigration): Entered[] =>
  (after.status?.handoffs ?? []).flatMap((handoff) => {
    const old = before.status?.handoffs?.find(({ claim }) => claim === handoff.claim);
    if (old === undefined) return [{ handoff }];
    if (old.step === handoff.step) return [];
    const ms = Date.parse(handoff.entered[handoff.step] ?? '') - Date.parse(old.entered[old.step] ?? '');
    return [{ handoff, left: old.step, ms }];
  });

/** The end of a rehearsal is the way of an abort, and none. */
const PUT_BACK: Partial<Record<Step, string>> = { Aborting: 'PuttingBack', Aborted: 'PutBack' };

/** What is told of the pod itself: when a step begins that its app feels, and when it has moved. */
const reasonOfPod = (migration: StatefulMigration, { mode, step }: Handoff): string | undefined => {
  if (step === 'Committed') return 'Migrated';
  if (step !== (mode === 'replay' ? 'Cutting' : 'Muting')) return undefined;
  return isRehearsal(migration) ? 'Rehearsing' : 'Migrating';
};

export const observerOf = (cluster: Pick<Cluster, 'event'>, log: Pick<Log, 'info'>, measures: Measures): Observer => {
  const tellStep = (after: StatefulMigration, { handoff, left, ms = 0 }: Entered): void => {
    const { namespace, name, uid } = after.metadata;
    const { index, step, claim, source, copy, attempt, decision, entered } = handoff;
    log.info({ migration: `${namespace}/${name}`, claim, index, step, left, ms, attempt }, 'step');
    if (left !== undefined) measures.step(left, ms);
    if (step === 'Settling') measures.pause(Date.parse(entered.Settling ?? '') - Date.parse(entered.Muting ?? ''));
    const about = { kind: 'StatefulMigration', namespace, name, uid } as const;
    const text = `handoff ${index}, ${source.name} to ${copy.name} on ${copy.node}`;
    const took = left === undefined ? text : `${text}: ${left} took ${goDuration(ms)}`;
    const undone = isRehearsed(handoff) ? PUT_BACK[step] : undefined;
    if (undone !== undefined) cluster.event(about, 'Normal', undone, text);
    else if (step === 'Aborting') cluster.event(about, 'Warning', step, `${text}: ${decision?.message ?? ''}`);
    else cluster.event(about, 'Normal', step, took);
    const reason = reasonOfPod(after, handoff);
    const pod = { kind: 'Pod', namespace, name: source.name, uid: source.uid ?? '' } as const;
    if (reason !== undefined) cluster.event(pod, 'Normal', reason, `${text} (StatefulMigration ${name})`);
  };

  const tellEnd = ({ metadata, status = {} }: StatefulMigration): void => {
    const { namespace, name, uid } = metadata;
    const { phase = '', error, phaseTimings, rehearsal } = status;
    log.info({ migration: `${namespace}/${name}`, phase, error, phaseTimings }, 'ended');
    measures.ended(phase);
    // A dry run is read by who made it, and gone then.
    if (phase === 'Checked') return;
    const about = { kind: 'StatefulMigration', namespace, name, uid } as const;
    if (error === undefined) cluster.event(about, 'Normal', phase, rehearsal?.message ?? 'the pod was migrated');
    else cluster.event(about, 'Warning', phase, `${error.code}: ${error.message}`);
  };

  return {
    written: (before, after) => {
      for (const entered of enteredBy(before, after)) tellStep(after, entered);
      if (!isEnded(before) && isEnded(after)) tellEnd(after);
    },
  };
};
