/** Edits of the record. Values in, values out; nothing here knows a clock or a client. */
import type { ErrorCode } from '../api/errors.ts';
import type { Handoff, MigrationStatus, PodRef, StatefulMigration, Step } from '../api/migration.ts';
import { claimOf } from '../api/names.ts';

export type Mode = NonNullable<Handoff['mode']>;

export const stamp = (ms: number): string => new Date(ms).toISOString();

export const withHandoff = (status: MigrationStatus, handoff: Handoff): MigrationStatus => {
  const others = (status.handoffs ?? []).filter(({ index }) => index !== handoff.index);
  return { ...status, handoffs: [...others, handoff].sort((a, b) => a.index - b.index) };
};

/** A step entered again keeps its first stamp: its bound counts from there. */
export const enter = (handoff: Handoff, step: Step, at: number, patch: Partial<Handoff> = {}): Handoff => ({
  ...handoff,
  ...patch,
  step,
  entered: { ...handoff.entered, [step]: handoff.entered[step] ?? stamp(at) },
});

export const commit = (handoff: Handoff, at: number, epoch: number): Handoff =>
  enter(handoff, 'Committed', at, { decision: { verdict: 'commit', at: stamp(at), epoch } });

export const abort = (handoff: Handoff, at: number, epoch: number, code: ErrorCode, message: string): Handoff =>
  enter(handoff, 'Aborting', at, { decision: { verdict: 'abort', at: stamp(at), epoch, code, message } });

/** A rehearsal that has come to its end is undone as any other handoff is, but by no error. */
export const rehearsed = (handoff: Handoff, at: number, epoch: number): Handoff =>
  enter(handoff, 'Aborting', at, { decision: { verdict: 'abort', at: stamp(at), epoch, message: 'rehearsed' } });

export const isRehearsed = ({ decision }: Handoff): boolean =>
  decision?.verdict === 'abort' && decision.code === undefined;

export const isCommitted = (status: MigrationStatus | undefined): boolean =>
  status?.handoffs?.[0]?.decision?.verdict === 'commit';

/**
 * By its spec, or by its record: so it stays one whoever leads. What is committed is none, whatever its spec has become: there
 * is only forward from there.
 */
export const isRehearsal = ({ spec, status }: Pick<StatefulMigration, 'spec' | 'status'>): boolean =>
  (spec.rehearse === true || status?.rehearsal !== undefined) && !isCommitted(status);

/** What a rehearsal may never be in: its source would be stopped, or its copy be about to be decided upon. */
export const isBeyondRehearsal = (
  migration: Pick<StatefulMigration, 'spec' | 'status'>,
  { step, mode }: Handoff,
): boolean => isRehearsal(migration) && (mode !== 'replay' || step === 'Muting' || step === 'Attaching');

export const firstAttempt = (
  migration: StatefulMigration,
  index: number,
  source: PodRef,
  copy: PodRef,
  at: number,
  mode: Mode = 'stop',
): Handoff => ({
  index,
  mode,
  claim: claimOf(migration.metadata.uid, index),
  source,
  copy,
  step: 'Warming',
  entered: { Warming: stamp(at) },
  attempt: 1,
});

/** What ends replaying for good: the same app would do the same again. */
const UNREPLAYABLE: readonly (ErrorCode | undefined)[] = ['SHADOW_E_DIVERGED', 'SHADOW_E_RECORD'];
export const isUnreplayable = ({ mode, decision }: Handoff): boolean =>
  mode === 'replay' && UNREPLAYABLE.includes(decision?.code);

/**
 * A new claim: nothing that an earlier attempt left anywhere can be taken for this one's. What could not be replayed is
 * stopped and copied.
 */
export const nextAttempt = (migration: StatefulMigration, handoff: Handoff, at: number): Handoff => ({
  ...firstAttempt(
    migration,
    handoff.index,
    handoff.source,
    { name: handoff.copy.name, node: handoff.copy.node },
    at,
    isUnreplayable(handoff) ? 'stop' : handoff.mode,
  ),
  ...(handoff.revision === undefined ? {} : { revision: handoff.revision }),
  ...(handoff.sidecarForm === undefined ? {} : { sidecarForm: handoff.sidecarForm }),
  ...(handoff.queues === undefined ? {} : { queues: { step: 'Binding', at: stamp(at) } }),
  attempt: handoff.attempt + 1,
  claim: claimOf(migration.metadata.uid, handoff.index, handoff.attempt + 1),
});

/** Higher than any this pod has ever seen, of earlier attempts and migrations too: a thaw file left over wakes nobody. */
export const nextGeneration = (handoff: Handoff, at: number): number =>
  Math.max((handoff.freezeGeneration ?? 0) + 1, at);

const BEFORE_COMMIT: readonly Step[] = [
  'Warming',
  'Muting',
  'Cutting',
  'Transferring',
  'Restoring',
  'Replaying',
  'Attaching',
];
export const isBeforeCommit = (handoff: Handoff): boolean => BEFORE_COMMIT.includes(handoff.step);
/** The source's app may be held by this handoff: it must be let go before it ends in an abort. */
export const touchedSource = ({ entered }: Handoff): boolean =>
  entered.Muting !== undefined || entered.Cutting !== undefined;

/** The one being worked on: handoff 1 is in the record before it is its turn, for the restore webhook to find. */
export const current = (status: MigrationStatus | undefined): Handoff | undefined =>
  status?.handoffs?.find(({ step }) => step !== 'Done');
