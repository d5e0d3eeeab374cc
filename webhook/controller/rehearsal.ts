/** What a rehearsal has found, from its record, and what a migration would be like by it. Pure. */
import { type Handoff, type MigrationStatus, STEPS, type StatefulMigration, type Step } from '../api/migration.ts';
import {
  type Estimate,
  type EstimatePart,
  REHEARSE_SECONDS,
  type Rehearsal,
  type RehearsalVerdict,
} from '../api/rehearsal.ts';
import { looksOf } from './series.ts';
import { isRehearsal } from './transition.ts';

const timeOf = (stamp: string | undefined): number | undefined => (stamp === undefined ? undefined : Date.parse(stamp));

/** Steps that were left, and how long each took. */
const stepsOf = ({ entered }: Handoff): Partial<Record<Step, number>> => {
  const marks = STEPS.flatMap((step) => {
    const at = timeOf(entered[step]);
    return at === undefined ? [] : [{ step, at }];
  }).sort((a, b) => a.at - b.at);
  return Object.fromEntries(
    marks.flatMap(({ step, at }, index) => {
      const next = marks[index + 1];
      return next === undefined ? [] : [[step, next.at - at]];
    }),
  );
};

const caughtUpMs = ({ entered, caughtUpAt }: Handoff): number | undefined => {
  const [from, to] = [timeOf(entered.Replaying), timeOf(caughtUpAt)];
  return from === undefined || to === undefined ? undefined : to - from;
};

const MADE: readonly Step[] = ['Warming', 'Cutting', 'Transferring', 'Restoring'];

const sum = (parts: readonly EstimatePart[]): number => parts.reduce((all, { ms }) => all + ms, 0);

/** Every step that a migration has in common with its rehearsal; undefined as long as one of them was not left. */
const partsOf = (handoff: Handoff): EstimatePart[] | undefined => {
  const steps = stepsOf(handoff);
  const parts = MADE.flatMap((part) => {
    const ms = steps[part];
    return ms === undefined ? [] : [{ part, ms }];
  });
  return parts.length < MADE.length ? undefined : parts;
};

const pauseOf = (status: MigrationStatus, { pausedMs }: Handoff, parts: readonly EstimatePart[]): Estimate => {
  if (pausedMs === undefined) return {};
  if (status.strategy !== 'StopAndCopy') return { pauseMs: pausedMs, pause: 'Measured' };
  const moved = parts.filter(({ part }) => part === 'Transferring' || part === 'Restoring');
  return { pauseMs: pausedMs + sum(moved), pause: 'Estimated' };
};

/**
 * A StatefulSet's pod moves twice, the second time much as the first. A copy made by StopAndCopy has nothing to catch up. What
 * follows a mute is not rehearsed: a pod is deleted there and nodes are cleaned, as where a rehearsal is put back, and most of
 * the time goes into that.
 */
const estimateOf = (status: MigrationStatus, handoff: Handoff): Estimate => {
  const made = partsOf(handoff);
  if (made === undefined) return {};
  const pause = pauseOf(status, handoff, made);
  const caught = caughtUpMs(handoff);
  const stopped = status.strategy === 'StopAndCopy';
  if (!stopped && caught === undefined) return pause;
  const once: EstimatePart[] = [
    ...made,
    ...(stopped ? [] : [{ part: 'CatchingUp', ms: caught ?? 0 } as const]),
    { part: 'Ending', ms: stepsOf(handoff).Aborting ?? 0, estimated: true },
  ];
  const parts: EstimatePart[] =
    status.deploymentName === undefined ? [...once, { part: 'SecondHandoff', ms: sum(once), estimated: true }] : once;
  return { ...pause, wholeMs: sum(parts), parts };
};

const most = (values: readonly (number | undefined)[]): number | undefined => {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
};

/** While the copy played. */
const curvesOf = (status: MigrationStatus, { entered, series }: Handoff): Partial<Rehearsal> => {
  const from = (timeOf(entered.Replaying) ?? Number.POSITIVE_INFINITY) - (timeOf(status.startTime) ?? 0);
  const looks = looksOf(series).filter(({ at }) => at >= from);
  const rates = looks.flatMap(({ sourceRate }) => (sourceRate === undefined ? [] : [sourceRate]));
  const throttled = most(looks.map(({ throttle }) => (throttle === undefined ? undefined : -throttle)));
  return {
    ...present('lagMost', most(looks.map(({ lag }) => lag))),
    ...present('copyRate', most(looks.map(({ copyRate }) => copyRate))),
    ...present('throttle', throttled === undefined ? undefined : Math.abs(throttled)),
    ...present(
      'sourceRate',
      rates.length === 0 ? undefined : Math.round((rates.reduce((a, b) => a + b, 0) / rates.length) * 10) / 10,
    ),
  };
};

const present = <K extends keyof Rehearsal>(name: K, value: Rehearsal[K] | undefined): Partial<Rehearsal> =>
  value === undefined ? {} : { [name]: value };

const measured = (status: MigrationStatus, handoff: Handoff): Partial<Rehearsal> => {
  const { replay, bytes, pausedMs } = handoff;
  return {
    steps: stepsOf(handoff),
    ...present('bytes', bytes),
    ...present('frozenMs', pausedMs),
    ...present('caughtUpMs', caughtUpMs(handoff)),
    ...(replay === undefined
      ? {}
      : {
          ...{ recorded: replay.recorded, played: replay.played, matched: replay.matched },
          ...{ diverged: replay.diverged, lag: replay.lag },
        }),
    ...curvesOf(status, handoff),
    estimate: estimateOf(status, handoff),
  };
};

const verdictOf = ({ error }: MigrationStatus, handoff: Handoff | undefined): RehearsalVerdict | undefined => {
  if (error?.code === 'SHADOW_E_ABORTED') return undefined;
  if (error?.code === 'SHADOW_E_DIVERGED') return 'Diverged';
  const played = handoff?.entered.Replaying !== undefined;
  if (error?.code === 'SHADOW_E_RECORD' && played && handoff.caughtUpAt === undefined) return 'Behind';
  if (error !== undefined) return 'Failed';
  return (handoff?.replay?.matched ?? 0) > 0 ? 'Safe' : 'Idle';
};

const SAYS: Record<Extract<RehearsalVerdict, 'Safe' | 'Idle'>, string> = {
  Safe: 'safe to replay: the copy did all that its source did, and nothing else',
  Idle: 'nothing could be compared: the app said nothing to its broker meanwhile',
};

const concluded = (status: MigrationStatus, rehearsal: Rehearsal): Rehearsal => {
  const [handoff] = status.handoffs ?? [];
  const verdict = verdictOf(status, handoff);
  const message = verdict === 'Safe' || verdict === 'Idle' ? SAYS[verdict] : status.error?.message;
  return {
    ...rehearsal,
    ...(verdict === undefined ? {} : { verdict }),
    ...(message === undefined ? {} : { message }),
    ...(handoff === undefined ? {} : measured(status, handoff)),
  };
};

/** The record of a rehearsal says that it is one from its first write on, and what it has found with its last. */
export const withRehearsal = (migration: StatefulMigration, status: MigrationStatus): MigrationStatus => {
  if (!isRehearsal({ spec: migration.spec, status })) return status;
  const rehearsal = status.rehearsal ?? { seconds: migration.spec.rehearseSeconds ?? REHEARSE_SECONDS };
  return { ...status, rehearsal: status.completionTime === undefined ? rehearsal : concluded(status, rehearsal) };
};
