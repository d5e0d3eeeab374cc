/**
 * The copy is made ready to serve; then the one write that decides (invariant 5). Mode stop: it opens its connections. Mode
 * replay: they are open, and the copy plays the last of the record while the mute source's app is fenced.
 */
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { commit } from '../transition.ts';
import { fenceSource } from './muting.ts';
import { checkCopy, replayOf, restoredSession } from './replaying.ts';
import { type StepFunction, type StepResult, uidOfRef, wait } from './step.ts';

const ATTACH_MS = 12_000;

const decide = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<StepResult> => {
  await checkCopy(ctx, migration, handoff);
  return { kind: 'replace', handoff: commit(handoff, ctx.now(), ctx.epoch) };
};

/**
 * All up to END is played, every recorded output matched: the copy's word for this very claim, and the source's that it is
 * mute. The fence is closed before the decision, so that no call of the source's app meets one of the copy's outside.
 */
const replayed: StepFunction = async (ctx, migration, handoff) => {
  const { claim, source, copy } = handoff;
  ctx.sidecars.route(claim, uidOfRef(source), uidOfRef(copy));
  await fenceSource(ctx, migration, handoff);
  const session = restoredSession(ctx, handoff);
  const origin = ctx.sidecars.session(uidOfRef(source));
  const ready = session?.state === 'replayed' && session.claim === claim;
  const mute = origin?.state === 'mute' && origin.claim === claim;
  if (!ready || !mute) return wait(20);
  const replay = replayOf(origin, session, ctx.now()) ?? handoff.replay;
  return decide(ctx, migration, { ...handoff, ...(replay === undefined ? {} : { replay }) });
};

const attached: StepFunction = async (ctx, migration, handoff) => {
  // It dials us as soon as it wakes; the hub tells.
  if (restoredSession(ctx, handoff) === undefined) return wait(50);
  await ctx.sidecars.command(uidOfRef(handoff.copy), { type: 'attach', claim: handoff.claim, timeoutMs: ATTACH_MS });
  return decide(ctx, migration, handoff);
};

export const attaching: StepFunction = (ctx, migration, handoff) =>
  handoff.mode === 'replay' ? replayed(ctx, migration, handoff) : attached(ctx, migration, handoff);
