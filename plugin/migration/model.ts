/** What a StatefulMigration tells: steps with their seconds, the route, the error. Pure. */
import { CATALOGUE, type ErrorCode, ShadowError } from '../../webhook/api/errors.ts';
import { type Handoff, isEnded, STEPS, type StatefulMigration, type Step } from '../../webhook/api/migration.ts';
import { detailOf } from '../problems.ts';

const at = (time: string | Date | undefined): number | undefined => {
  const ms = time === undefined ? Number.NaN : new Date(time).getTime();
  return Number.isNaN(ms) ? undefined : ms;
};
export const timeOf = at;

/** Steps a handoff ends in: they take no time. */
const LAST: readonly Step[] = ['Done', 'Aborted'];

export interface StepTime {
  step: Step;
  /** Milliseconds since the epoch. */
  from: number;
  /** Undefined: it is the step the handoff is in. */
  to?: number;
}

/** In the order they were entered; equal times keep the order of STEPS. */
export const stepsOf = (handoff: Handoff): StepTime[] => {
  const entered = STEPS.flatMap((step) => {
    const from = at(handoff.entered[step]);
    return from === undefined ? [] : [{ step, from }];
  }).sort((a, b) => a.from - b.from);
  return entered
    .map((each, index): StepTime => {
      const next = entered[index + 1];
      return next ? { ...each, to: next.from } : each;
    })
    .filter(({ step }) => !LAST.includes(step));
};

export const finished = (handoff: Handoff): boolean => LAST.includes(handoff.step);

/** Milliseconds from first to last step, or until now. */
export const tookMs = (handoff: Handoff, now: number): number => {
  const steps = stepsOf(handoff);
  const from = steps[0]?.from;
  return from === undefined ? 0 : (steps.at(-1)?.to ?? now) - from;
};

/** Milliseconds nobody served: from the mute to the commit; undefined before the commit. */
export const silentMs = (handoff: Handoff): number | undefined => {
  const from = at(handoff.entered.Muting);
  const to = at(handoff.entered.Committed);
  return from === undefined || to === undefined ? undefined : to - from;
};

export const handoffsOf = (migration: StatefulMigration): Handoff[] => migration.status?.handoffs ?? [];

/** Invariant 5: from the first commit on the pod has moved, and nothing brings it back. */
export const isCommitted = (migration: StatefulMigration): boolean =>
  handoffsOf(migration).some(({ decision }) => decision?.verdict === 'commit');

/** By its spec or its record: a copy is made and removed again, nothing moves. */
export const isRehearsal = ({ spec, status }: StatefulMigration): boolean =>
  spec.rehearse === true || status?.rehearsal !== undefined;

export const startOf = (migration: StatefulMigration): number | undefined =>
  at(migration.status?.startTime) ?? at(migration.metadata.creationTimestamp);

export const totalMs = (migration: StatefulMigration, now: number): number => {
  const from = startOf(migration) ?? now;
  return (at(migration.status?.completionTime) ?? now) - from;
};

export const podOf = (migration: StatefulMigration): string => migration.spec.sourcePod ?? '';
/** What it is about, for a headline. */
export const subjectOf = (migration: StatefulMigration): string =>
  `${isRehearsal(migration) ? 'rehearsal of ' : ''}${podOf(migration)}`;
export const fromNode = (migration: StatefulMigration): string => migration.status?.sourceNode ?? '';
export const toNode = (migration: StatefulMigration): string =>
  migration.status?.targetNode ?? migration.spec.targetNode ?? '';
export const strategyOf = (migration: StatefulMigration): string =>
  migration.status?.strategy ?? (migration.spec.migrationStrategy || 'Auto');
/** Why that strategy, one line; '' before it is chosen. */
export const reasonOf = (migration: StatefulMigration): string => migration.status?.strategyReason ?? '';
export const phaseOf = (migration: StatefulMigration): string => migration.status?.phase ?? 'Pending';

/** `worker-a -> worker-b`; unknown ends are a question mark. */
export const routeOf = (migration: StatefulMigration): string =>
  `${fromNode(migration) || '?'} -> ${toNode(migration) || '?'}`;

/** What the failing condition says, where the status names no error. */
const conditionMessage = (migration: StatefulMigration): string =>
  migration.status?.conditions?.find(({ type, status }) => type === 'Complete' && status !== 'True')?.message ?? '';

/** undefined: it completed. Throws nothing: the error is made for the caller to throw. */
export const errorOf = (migration: StatefulMigration): ShadowError | undefined => {
  const looked = migration.status?.phase === 'Checked' || migration.status?.phase === 'Rehearsed';
  const fine = looked && migration.status?.error === undefined;
  if (!isEnded(migration) || migration.status?.phase === 'Completed' || fine) return undefined;
  const told = migration.status?.error;
  const code: ErrorCode =
    told?.code && Object.hasOwn(CATALOGUE, told.code)
      ? told.code
      : migration.status?.phase === 'Aborted'
        ? 'SHADOW_E_ABORTED'
        : 'SHADOW_E_INTERNAL';
  return new ShadowError(code, detailOf(code, told?.message || conditionMessage(migration)));
};

/** The newest first. */
export const newestFirst = (migrations: readonly StatefulMigration[]): StatefulMigration[] =>
  [...migrations].sort((a, b) => (at(b.metadata.creationTimestamp) ?? 0) - (at(a.metadata.creationTimestamp) ?? 0));
