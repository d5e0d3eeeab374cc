/**
 * The copy catches up by the record of the serving source. Nothing here is in a hurry: users are served. It ends when so
 * little is left that muting the source now costs them next to nothing.
 */
import { ShadowError } from '../../api/errors.ts';
import type { Handoff, Replay, StatefulMigration } from '../../api/migration.ts';
import type { Context, Session } from '../context.ts';
import { linkPair } from '../link.ts';
import { worked } from '../ms2m/beside.ts';
import { foreignContainer, serves } from '../pods.ts';
import { isRehearsal, stamp } from '../transition.ts';
import { recall, sinceLowest, sinceSeen } from './memory.ts';
import { rehearsing } from './rehearsing.ts';
import { enterStep, findPod, type StepFunction, uidOfRef, wait } from './step.ts';

const ATTACH_MS = 12_000;
/** So long without progress, while something is owed, is divergence: a copy does what its source did a moment ago. */
const STALL_MS = 5_000;
/** How often the record of the migration tells how far it is: a status write is not free. */
const TELL_MS = 1_000;

/**
 * Sent again by a new leader, or after an answer that was lost, with new certificates: none outlives the leader that made it.
 * A source that can't be dialled is no failure: its record comes by us.
 */
const begin = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<void> => {
  const { claim, source, copy } = handoff;
  const link = linkPair(ctx.now());
  const { port } = await ctx.sidecars.command(uidOfRef(source), { type: 'serve', claim, tls: link.source });
  await ctx.sidecars.command(uidOfRef(copy), {
    type: 'replay',
    claim,
    onDivergence: migration.spec.onDivergence || 'Abort',
    stallMs: STALL_MS,
    attachMs: ATTACH_MS,
    ...(source.ip === undefined ? {} : { direct: { host: source.ip, port, tls: link.copy } }),
  });
};

/** Throws when the copy is not, or not any more, what was restored. */
export const checkCopy = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<void> => {
  const pod = await findPod(ctx, migration.metadata.namespace, handoff.copy);
  if (!serves(pod, handoff.copy)) throw new ShadowError('SHADOW_E_ATTACH', `pod ${handoff.copy.name} is gone`);
  const foreign = foreignContainer(pod, []);
  if (foreign !== undefined) throw new ShadowError('SHADOW_E_ATTACH', foreign);
};

/** The copy's sidecar, once it has dialled us. Throws when one of the two is another process than the one that was cut. */
export const restoredSession = (ctx: Context, { source, copy }: Handoff): Session | undefined => {
  const session = ctx.sidecars.session(uidOfRef(copy));
  const origin = ctx.sidecars.session(uidOfRef(source));
  if (session !== undefined && origin !== undefined && origin.process !== session.process)
    throw new ShadowError('SHADOW_E_ATTACH', 'the sidecar of the copy, or of the source, was started anew');
  return session;
};

/** As the two sidecars last told; the entries the copy has not received yet count as lag. */
export const replayOf = (
  source: Pick<Session, 'record'> | undefined,
  copy: Pick<Session, 'play'> | undefined,
  at: number,
): Replay | undefined => {
  const { record } = source ?? {};
  const { play } = copy ?? {};
  if (play === undefined) return undefined;
  const { link, received, played, lag, matched, waiting, diverged, divergence } = play;
  const recorded = Math.max(record?.entries ?? 0, received);
  return {
    at: stamp(at),
    link,
    sourceRate: record?.rate ?? 0,
    throttle: record?.throttle ?? 1,
    recorded,
    played,
    lag: lag + recorded - received,
    matched,
    waiting,
    diverged,
    ...(divergence === undefined ? {} : { divergence }),
  };
};

/** The record of a handoff that is undone, with how far its copy had come. */
export const withReplay = (ctx: Context, handoff: Handoff): Handoff => {
  if (handoff.step !== 'Replaying') return handoff;
  const [source, copy] = [handoff.source, handoff.copy].map(({ uid }) => ctx.sidecars.session(uid ?? ''));
  const replay = replayOf(source, copy, ctx.now());
  return replay === undefined ? handoff : { ...handoff, replay };
};

const LAG = 3;
const LAG_SECONDS = 0.1;
/** The two tell at different moments: so much of what the one has recorded may be under way to the other. */
const UNDER_WAY = 20;
const UNDER_WAY_SECONDS = 0.5;

/**
 * A lag that has not become less for so long will not: what an app does by the clock, its copy does later by the time that it
 * was not there. So much of it is taken instead; its users wait about as long as StopAndCopy would make them.
 */
const STALE_MS = 5_000;
const STALE_SECONDS = 2;

/**
 * Is so little left that the source may fall mute? Never before the copy has its connections open. `staleMs`: for so long the
 * lag has not been less than ever before. Pure.
 */
export const hasCaughtUp = (
  { record }: Pick<Session, 'record'>,
  { play }: Pick<Session, 'play'>,
  staleMs = 0,
): boolean => {
  if (record === undefined || play === undefined || !play.attached) return false;
  const seconds = staleMs >= STALE_MS ? STALE_SECONDS : LAG_SECONDS;
  return (
    play.lag <= Math.max(LAG, seconds * play.rate) &&
    record.entries - play.received <= Math.max(UNDER_WAY, UNDER_WAY_SECONDS * play.rate)
  );
};

/** A source that says nothing for so long serves nobody either, or can't be told to fall mute; a copy will not catch up. */
const SILENT_MS = 20_000;
const SILENT = { source: 'SHADOW_E_SOURCE_LOST', copy: 'SHADOW_E_SIDECAR_UNREACHABLE' } as const;

const checkHeard = (ctx: Context, handoff: Handoff, side: 'source' | 'copy', session: Session | undefined): void => {
  if (session !== undefined) recall(ctx, handoff, `${side} unheard`);
  else if (sinceSeen(ctx, handoff, `${side} unheard`) > SILENT_MS)
    throw new ShadowError(SILENT[side], `the sidecar of ${handoff[side].name} was not heard for 20 s`);
};

export const replaying: StepFunction = async (ctx, migration, handoff) => {
  const { claim, source, copy } = handoff;
  if (handoff.queues !== undefined) {
    await checkCopy(ctx, migration, handoff);
    return (await worked(ctx, migration, handoff, 'Stopping')) ?? enterStep('Attaching');
  }
  ctx.sidecars.route(claim, uidOfRef(source), uidOfRef(copy));
  await checkCopy(ctx, migration, handoff);
  const session = restoredSession(ctx, handoff);
  const origin = ctx.sidecars.session(uidOfRef(source));
  checkHeard(ctx, handoff, 'source', origin);
  checkHeard(ctx, handoff, 'copy', session);
  // It dials us as soon as it wakes; the hub tells.
  if (session === undefined || origin === undefined) return wait(50);
  if (session.state === 'copy') {
    await begin(ctx, migration, handoff);
    return wait(50);
  }
  const replay = replayOf(origin, session, ctx.now());
  const staleMs = replay === undefined ? 0 : sinceLowest(ctx, handoff, 'lag', replay.lag);
  const caughtUp = hasCaughtUp(origin, session, staleMs);
  const over = isRehearsal(migration) ? rehearsing(ctx, migration, handoff, { replay, caughtUp }) : undefined;
  if (over !== undefined) return over;
  if (caughtUp && !isRehearsal(migration)) return enterStep('Muting', replay === undefined ? {} : { replay });
  const told = Date.parse(handoff.replay?.at ?? handoff.entered.Replaying ?? '');
  const due = replay !== undefined && !(ctx.now() - told < TELL_MS);
  return { kind: 'wait', ms: 100, ...(due ? { seen: { replay } } : {}) };
};
