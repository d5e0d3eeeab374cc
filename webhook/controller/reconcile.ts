/**
 * One migration, one turn after the other: read the record, see whether it must be undone, do the step it names, write the
 * record. A new leader goes on from the record alone. Each turn ends in at most one status write, made with the
 * resourceVersion the turn began with; overtaken (409), it reads again and obeys what is there (invariant 5).
 */
import { type ErrorCode, isErrorCode, ShadowError } from '../api/errors.ts';
import { type Handoff, isEnded, type MigrationStatus, type StatefulMigration, type Step } from '../api/migration.ts';
import { FINALIZER } from '../api/names.ts';
import { boundOf } from './bounds.ts';
import type { Context } from './context.ts';
import { derived, type Note } from './derive.ts';
import { isLeaving, serves } from './pods.ts';
import { apiFailure, isStatus } from './rest.ts';
import { withSeries } from './series.ts';
import { aborted, aborting } from './steps/aborting.ts';
import { assess } from './steps/assessing.ts';
import { attaching } from './steps/attaching.ts';
import { committed } from './steps/committed.ts';
import { completing } from './steps/completing.ts';
import { cutting } from './steps/cutting.ts';
import { isCopyDead } from './steps/dead.ts';
import { muting } from './steps/muting.ts';
import { preflight } from './steps/preflight.ts';
import { replaying, withReplay } from './steps/replaying.ts';
import { restoring } from './steps/restoring.ts';
import { retiring } from './steps/retiring.ts';
import { settling } from './steps/settling.ts';
import { findPod, type StepFunction, type StepResult, sinceEntered } from './steps/step.ts';
import { switching } from './steps/switching.ts';
import { transferring } from './steps/transferring.ts';
import { warming } from './steps/warming.ts';
import { abort, current, enter, isBeforeCommit, isBeyondRehearsal, stamp, withHandoff } from './transition.ts';

const STEP: Record<Exclude<Step, 'Done'>, StepFunction> = {
  Warming: warming,
  Muting: muting,
  Cutting: cutting,
  Transferring: transferring,
  Restoring: restoring,
  Replaying: replaying,
  Attaching: attaching,
  Committed: committed,
  Settling: settling,
  Switching: switching,
  Retiring: retiring,
  Aborting: aborting,
  Aborted: aborted,
};

const TELL_AFTER_MS = 5_000;
const RETRY_MS = 50;
/** A dry run looks at everything each time. */
const DRY_RETRY_MS = 1_000;
/** What preflight looks at may still be coming up (a new leader's sidecars and agents): so long it looks again. */
const PREFLIGHT_MS = 15_000;

/** What a turn leads to. `status`: written next. */
type Turn =
  | { kind: 'write'; status: MigrationStatus; note?: Note }
  | { kind: 'seen'; migration: StatefulMigration | undefined }
  | { kind: 'wait'; ms: number }
  | { kind: 'end' };

const abortWanted = ({ spec, metadata }: StatefulMigration): boolean =>
  spec.abort === true || metadata.deletionTimestamp !== undefined;

/** A sidecar says that its session, or the record, can't be handed over any more. */
const lossOf = (ctx: Context, { source, copy, step, mode }: Handoff): ShadowError | undefined => {
  if (step === 'Warming') return undefined;
  const [from, to] = [source, copy].map(({ uid }) => ctx.sidecars.session(uid ?? ''));
  const told = (code: string | undefined, otherwise: ErrorCode): ErrorCode =>
    code !== undefined && isErrorCode(code) ? code : otherwise;
  if (from?.lost !== undefined) return new ShadowError(told(from.code, 'SHADOW_E_SOURCE_LOST'), from.lost);
  if (mode === 'replay' && to?.lost !== undefined) return new ShadowError(told(to.code, 'SHADOW_E_RECORD'), to.lost);
  return undefined;
};

/** Why a handoff that can still be undone has to be. The second one is never undone by wish: the first is committed. */
const undoReason = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
): Promise<ShadowError | undefined> => {
  if (handoff.index === 0 && abortWanted(migration)) return new ShadowError('SHADOW_E_ABORTED');
  // Only a leader that knows of no rehearsals can have brought it there.
  if (isBeyondRehearsal(migration, handoff))
    return new ShadowError('SHADOW_E_INTERNAL', `a rehearsal was in ${handoff.step}, mode ${handoff.mode ?? 'stop'}`);
  const source = await findPod(ctx, migration.metadata.namespace, handoff.source);
  if (!serves(source, handoff.source) || isLeaving(source))
    return new ShadowError('SHADOW_E_SOURCE_LOST', `pod ${handoff.source.name} is gone or going`);
  const loss = lossOf(ctx, handoff);
  if (loss !== undefined) return loss;
  const bound = boundOf(migration, handoff);
  if (bound !== undefined && sinceEntered(ctx, handoff) > bound.ms) return new ShadowError(bound.code, bound.text);
  return undefined;
};

const undo = (ctx: Context, migration: StatefulMigration, handoff: Handoff, error: ShadowError): Turn => ({
  kind: 'write',
  status: withHandoff(
    migration.status ?? {},
    abort(withReplay(ctx, handoff), ctx.now(), ctx.epoch, error.code, error.message.slice(0, 1_000)),
  ),
});

/** A wait is written down only when it has something new to tell. */
const waitTurn = (migration: StatefulMigration, ms: number, note: Note | undefined): Turn => {
  const told = migration.status?.conditions?.find(({ type }) => type === 'Progressing')?.message;
  return note === undefined || told === note.message
    ? { kind: 'wait', ms }
    : { kind: 'write', status: migration.status ?? {}, note };
};

const resultTurn = (ctx: Context, migration: StatefulMigration, handoff: Handoff, result: StepResult): Turn => {
  const status = migration.status ?? {};
  if (result.kind === 'wait')
    return result.seen === undefined
      ? waitTurn(migration, result.ms, result.note)
      : { kind: 'write', status: withHandoff(status, { ...handoff, ...result.seen }) };
  if (result.kind === 'replace')
    return { kind: 'write', status: withHandoff({ ...status, ...result.status }, result.handoff) };
  const entered = enter(handoff, result.step, ctx.now(), result.patch);
  const changed = [entered, ...(result.others ?? [])].reduce(withHandoff, { ...status, ...result.status });
  return { kind: 'write', status: changed };
};

const handoffTurn = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<Turn> => {
  const undoable = isBeforeCommit(handoff);
  if (undoable) {
    const reason = await undoReason(ctx, migration, handoff);
    if (reason !== undefined) return undo(ctx, migration, handoff, reason);
  }
  try {
    const step = STEP[handoff.step as Exclude<Step, 'Done'>];
    return resultTurn(ctx, migration, handoff, await step(ctx, migration, handoff));
  } catch (thrown) {
    if (isStatus(thrown, 409)) throw thrown;
    const error = apiFailure(thrown);
    const bound = boundOf(migration, handoff)?.ms ?? Number.POSITIVE_INFINITY;
    ctx.log({ err: error, claim: handoff.claim, step: handoff.step }, 'step failed');
    const hopeless = async () => error.code === 'SHADOW_E_AGENT_UNREACHABLE' && isCopyDead(ctx, handoff);
    if (undoable && (!error.retryable || sinceEntered(ctx, handoff) > bound || (await hopeless())))
      return undo(ctx, migration, handoff, error);
    const slow = sinceEntered(ctx, handoff) > TELL_AFTER_MS;
    return waitTurn(
      migration,
      slow ? 1_000 : RETRY_MS,
      slow ? { code: error.code, message: error.message } : undefined,
    );
  }
};

/** Both handoffs done, the first undone, or the line of state lost: only the end is left. */
const isOverFor = (status: MigrationStatus, handoff: Handoff | undefined): boolean =>
  handoff === undefined || (handoff.step === 'Aborted' && (handoff.index === 0 || status.error !== undefined));

const endTurn = async (ctx: Context, migration: StatefulMigration): Promise<Turn> => {
  const ending = await completing(ctx, migration);
  return 'status' in ending
    ? { kind: 'write', status: ending.status }
    : waitTurn(migration, ending.waitMs, ending.note);
};

const failedPreflight = (ctx: Context, migration: StatefulMigration, error: ShadowError): Turn => ({
  kind: 'write',
  status: {
    ...migration.status,
    error: { code: error.code, message: error.message.slice(0, 1_000) },
    completionTime: stamp(ctx.now()),
  },
});

const preflightTurn = async (ctx: Context, migration: StatefulMigration): Promise<Turn> => {
  if (abortWanted(migration)) return failedPreflight(ctx, migration, new ShadowError('SHADOW_E_ABORTED'));
  try {
    return { kind: 'write', status: { ...migration.status, ...(await preflight(ctx, migration)) } };
  } catch (thrown) {
    const error = apiFailure(thrown);
    return error.retryable && ctx.now() - Date.parse(migration.status?.startTime ?? '') < PREFLIGHT_MS
      ? waitTurn(migration, RETRY_MS, undefined)
      : failedPreflight(ctx, migration, error);
  }
};

/** Only looked at, whatever else is asked for: an abort would have nothing to undo. */
const dryTurn = async (ctx: Context, migration: StatefulMigration): Promise<Turn> => {
  const { status = {} } = migration;
  const patient = ctx.now() - Date.parse(status.startTime ?? '') < PREFLIGHT_MS;
  try {
    return { kind: 'write', status: { ...status, ...(await assess(ctx, migration, patient)) } };
  } catch (thrown) {
    const error = apiFailure(thrown);
    return patient && error.retryable
      ? waitTurn(migration, DRY_RETRY_MS, undefined)
      : failedPreflight(ctx, migration, error);
  }
};

const turn = async (ctx: Context, migration: StatefulMigration): Promise<Turn> => {
  const { status, metadata, spec } = migration;
  const finalizers = metadata.finalizers ?? [];
  if (isEnded(migration)) {
    if (!finalizers.includes(FINALIZER)) return { kind: 'end' };
    const rest = finalizers.filter((name) => name !== FINALIZER);
    return { kind: 'seen', migration: await ctx.cluster.writeFinalizers(migration, rest) };
  }
  // Nothing is made for it that would have to be put away: it may be deleted at any time, with no controller there.
  if (spec.dryRun && metadata.deletionTimestamp !== undefined && finalizers.length === 0) return { kind: 'end' };
  if (!finalizers.includes(FINALIZER) && !spec.dryRun) {
    // Deleted before anything was done for it: there is nothing to undo.
    if (metadata.deletionTimestamp !== undefined) return { kind: 'end' };
    return { kind: 'seen', migration: await ctx.cluster.writeFinalizers(migration, [...finalizers, FINALIZER]) };
  }
  if (status?.startTime === undefined) return { kind: 'write', status: { ...status, startTime: stamp(ctx.now()) } };
  // A handoff on record is worked on to its end, whatever the spec has become.
  if (spec.dryRun && status.handoffs === undefined) return dryTurn(ctx, migration);
  if (status.handoffs === undefined) return preflightTurn(ctx, migration);
  const handoff = current(status);
  if (handoff === undefined || isOverFor(status, handoff)) return endTurn(ctx, migration);
  return handoffTurn(ctx, migration, handoff);
};

/** Conflict, or an answer that never came: what counts is what is stored now. */
const write = async (
  ctx: Context,
  migration: StatefulMigration,
  status: MigrationStatus,
  note: Note | undefined,
): Promise<StatefulMigration | undefined> => {
  const { namespace, name } = migration.metadata;
  const { handoffs } = status;
  const seen =
    handoffs === undefined
      ? status
      : { ...status, handoffs: withSeries(handoffs, migration.status?.handoffs ?? [], ctx.seen) };
  try {
    return await ctx.cluster.writeStatus({ ...migration, status: derived(migration, seen, ctx.now(), note) });
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    if (!isStatus(error, 409)) throw error;
    return ctx.cluster.readMigration(namespace, name);
  }
};

export interface Observer {
  /** After each write that went through. */
  written(before: StatefulMigration, after: StatefulMigration): void;
}

/** A turn's writes, so many at most; then others get their chance. */
const TURNS = 32;

/**
 * Goes on until there is nothing to do but wait. Returns after how many milliseconds to look again; undefined: it has ended.
 * `newest` is the newest record known; a throw means it must be read again, live.
 */
export const reconcile = async (
  ctx: Context,
  newest: StatefulMigration | undefined,
  observer?: Observer,
): Promise<number | undefined> => {
  let migration = newest;
  for (let count = 0; count < TURNS; count++) {
    if (migration === undefined) return undefined;
    const { namespace, name } = migration.metadata;
    let next: Turn;
    try {
      next = await turn(ctx, migration);
    } catch (error) {
      if (!isStatus(error, 409)) throw error;
      next = { kind: 'seen', migration: await ctx.cluster.readMigration(namespace, name) };
    }
    if (next.kind === 'end') return undefined;
    if (next.kind === 'wait') return next.ms;
    if (next.kind === 'seen') migration = next.migration;
    else {
      const before: StatefulMigration = migration;
      migration = await write(ctx, before, next.status, next.note);
      if (migration !== undefined) observer?.written(before, migration);
    }
  }
  return 0;
};
