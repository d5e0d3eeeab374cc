/** What people and programs read of a migration, derived from its record: phase, conditions, timings. Pure. */
import { CATALOGUE, type ErrorCode, reasonOf } from '../api/errors.ts';
import {
  type Condition,
  goDuration,
  type Handoff,
  type MigrationStatus,
  type Phase,
  type StatefulMigration,
  type Step,
  type SwapSubPhase,
} from '../api/migration.ts';
import { withRehearsal } from './rehearsal.ts';
import { current, isCommitted, stamp } from './transition.ts';

const PHASE_OF: Record<Step, Phase> = {
  Warming: 'Pending',
  Muting: 'Checkpointing',
  Cutting: 'Checkpointing',
  Transferring: 'Transferring',
  Restoring: 'Restoring',
  Replaying: 'Replaying',
  Attaching: 'Restoring',
  Committed: 'Finalizing',
  Settling: 'Finalizing',
  Switching: 'Finalizing',
  Retiring: 'Finalizing',
  Done: 'Finalizing',
  Aborting: 'Finalizing',
  Aborted: 'Finalizing',
};

/** Beside a serving source the copy replays until the commit: also while the source falls mute. */
const phaseOfStep = (step: Step, mode: Handoff['mode']): Phase =>
  mode === 'replay' && (step === 'Muting' || step === 'Attaching') ? 'Replaying' : PHASE_OF[step];

/** After the first commit everything is finishing: the second handoff serves the name, not the state. */
export const phaseOf = (status: MigrationStatus): Phase => {
  const [first] = status.handoffs ?? [];
  if (status.completionTime !== undefined) {
    if (status.assessment !== undefined) return 'Checked';
    if (status.rehearsal !== undefined && status.error?.code !== 'SHADOW_E_ABORTED') return 'Rehearsed';
    if (status.error === undefined) return 'Completed';
    return status.error.code === 'SHADOW_E_ABORTED' ? 'Aborted' : 'Failed';
  }
  if (status.rehearsal !== undefined) return 'Rehearsing';
  if (first === undefined) return 'Pending';
  return isCommitted(status) ? 'Finalizing' : phaseOfStep(first.step, first.mode);
};

const SWAP_OF: Partial<Record<Step, SwapSubPhase>> = {
  Warming: 'PrepareSwap',
  Muting: 'ReCheckpoint',
  Cutting: 'ReCheckpoint',
  Transferring: 'SwapTransfer',
  Restoring: 'CreateReplacement',
  Replaying: 'MiniReplay',
  Attaching: 'MiniReplay',
  Committed: 'TrafficSwitch',
  Settling: 'TrafficSwitch',
  Switching: 'TrafficSwitch',
  Retiring: 'TrafficSwitch',
};

/** Beside a serving source the last of the replay comes after the mute. Undone for a new attempt, it is prepared again. */
const swapSubPhaseOf = (status: MigrationStatus): SwapSubPhase | undefined => {
  const [first, second] = status.handoffs ?? [];
  if (second === undefined || first?.step !== 'Done' || status.completionTime !== undefined) return undefined;
  if (second.step === 'Aborting' || second.step === 'Aborted') return 'PrepareSwap';
  return second.mode === 'replay' && second.step === 'Muting' ? 'MiniReplay' : SWAP_OF[second.step];
};

/** When each phase began: entered stamps of the first handoff, in order of time. */
export const timingsOf = (status: MigrationStatus, end: number): Record<string, string> => {
  const marks: { phase: Phase; at: number }[] = [];
  if (status.startTime !== undefined) marks.push({ phase: 'Pending', at: Date.parse(status.startTime) });
  const { entered = {}, mode } = status.handoffs?.[0] ?? {};
  for (const [step, at] of Object.entries(entered) as [Step, string][])
    marks.push({ phase: phaseOfStep(step, mode), at: Date.parse(at) });
  marks.sort((a, b) => a.at - b.at);
  const spent = new Map<Phase, number>();
  marks.forEach(({ phase, at }, index) => {
    const until = marks[index + 1]?.at ?? end;
    spent.set(phase, (spent.get(phase) ?? 0) + Math.max(0, until - at));
  });
  return Object.fromEntries([...spent].map(([phase, ms]) => [phase, goDuration(ms)]));
};

type Told = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** The time of a condition changes only with its status. */
export const setCondition = (
  conditions: readonly Condition[],
  told: Told,
  at: number,
  observedGeneration: number | undefined,
): Condition[] => {
  const before = conditions.find(({ type }) => type === told.type);
  const lastTransitionTime = before?.status === told.status ? before.lastTransitionTime : stamp(at);
  const condition: Condition = {
    ...told,
    lastTransitionTime,
    ...(observedGeneration === undefined ? {} : { observedGeneration }),
  };
  return before === undefined
    ? [...conditions, condition]
    : conditions.map((known) => (known.type === told.type ? condition : known));
};

/** A wait worth telling: why nothing goes on. */
export interface Note {
  code?: ErrorCode;
  message: string;
}

const stepText = (handoff: Handoff): string =>
  `handoff ${handoff.index} (${handoff.source.name} to ${handoff.copy.name} on ${handoff.copy.node}): ${handoff.step}` +
  (handoff.attempt > 1 ? `, attempt ${handoff.attempt}` : '');

const preflight = (status: MigrationStatus): Told => {
  if (status.handoffs !== undefined)
    return { type: 'Preflight', status: 'True', reason: 'Fit', message: status.strategyReason ?? 'fit' };
  if (status.error !== undefined)
    return { type: 'Preflight', status: 'False', reason: reasonOf(status.error.code), message: status.error.message };
  if (status.assessment !== undefined)
    return { type: 'Preflight', status: 'True', reason: 'Fit', message: status.strategyReason ?? 'fit' };
  return { type: 'Preflight', status: 'Unknown', reason: 'Checking', message: 'looking at pod, set and nodes' };
};

const progressing = (status: MigrationStatus, note: Note | undefined): Told => {
  const type = 'Progressing';
  if (status.completionTime !== undefined)
    return { type, status: 'False', reason: phaseOf(status), message: status.error?.message ?? 'nothing left to do' };
  if (note !== undefined)
    return { type, status: 'False', reason: note.code ? reasonOf(note.code) : 'Waiting', message: note.message };
  const handoff = current(status);
  if (handoff !== undefined) return { type, status: 'True', reason: handoff.step, message: stepText(handoff) };
  const first = status.handoffs === undefined;
  return first
    ? { type, status: 'True', reason: 'Preflight', message: 'looking at pod, set and nodes' }
    : { type, status: 'True', reason: 'Completing', message: 'waiting for the successor to be ready' };
};

const committed = (migration: StatefulMigration, status: MigrationStatus): Told => {
  const type = 'Committed';
  if (status.rehearsal !== undefined)
    return { type, status: 'False', reason: 'Rehearsal', message: 'a rehearsal is never committed' };
  if (!isCommitted(status))
    return { type, status: 'False', reason: 'NotCommitted', message: 'everything can still be undone' };
  const refused = migration.spec.abort === true && status.error?.code !== 'SHADOW_E_ABORTED';
  return refused
    ? {
        type,
        status: 'True',
        reason: 'AbortRefused',
        message: `SHADOW_E_COMMITTED: ${CATALOGUE.SHADOW_E_COMMITTED.message}`,
      }
    : { type, status: 'True', reason: 'Committed', message: 'the copy serves' };
};

const complete = (status: MigrationStatus): Told => {
  const type = 'Complete';
  const phase = phaseOf(status);
  if (phase === 'Completed') return { type, status: 'True', reason: 'Completed', message: 'the pod was migrated' };
  if (phase === 'Checked')
    return { type, status: 'False', reason: 'DryRun', message: 'only looked at, nothing was touched' };
  if (phase === 'Rehearsed' && status.error === undefined)
    return { type, status: 'False', reason: 'Rehearsed', message: status.rehearsal?.message ?? '' };
  if (status.completionTime !== undefined && status.error !== undefined)
    return { type, status: 'False', reason: reasonOf(status.error.code), message: status.error.message };
  return { type, status: 'False', reason: 'InProgress', message: phase };
};

/** The status as it is to be written: all that is derived, derived anew. */
export const derived = (
  migration: StatefulMigration,
  record: MigrationStatus,
  at: number,
  note?: Note,
): MigrationStatus => {
  const { generation } = migration.metadata;
  const status = withRehearsal(migration, record);
  const { swapSubPhase: _before, ...rest } = status;
  const swapSubPhase = swapSubPhaseOf(status);
  const told = [preflight(status), progressing(status, note), committed(migration, status), complete(status)];
  return {
    ...rest,
    ...(swapSubPhase === undefined ? {} : { swapSubPhase }),
    phase: phaseOf(status),
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phaseTimings: timingsOf(status, status.completionTime === undefined ? at : Date.parse(status.completionTime)),
    conditions: told.reduce<Condition[]>(
      (conditions, condition) => setCondition(conditions, condition, at, generation),
      status.conditions ?? [],
    ),
  };
};
