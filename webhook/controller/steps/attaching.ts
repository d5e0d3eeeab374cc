/**
 * The copy is made ready to serve; then the one write that decides (invariant 5). Mode stop: it opens its connections. Mode
 * replay: they are open, and the copy plays the last of the record while the mute source's app is fenced.
 */
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { podId } from '../pods.ts';
import { isFenced } from '../preflight/strategy.ts';
import { commit } from '../transition.ts';
import { once } from './memory.ts';
import { checkCopy, replayOf, restoredSession } from './replaying.ts';
import { findPod, type StepFunction, type StepResult, uidOfRef, wait } from './step.ts';

const ATTACH_MS = 12_000;

const decide = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<StepResult> => {
  await checkCopy(ctx, migration, handoff);
  return { kind: 'replace', handoff: commit(handoff, ctx.now(), ctx.epoch) };
};

const fence = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<void> => {
  const { claim, source } = handoff;
  const { namespace } = migration.metadata;
  if (!isFenced(await findPod(ctx, namespace, source), handoff)) return;
  await ctx.agents.of(source.node).fence({ claim, epoch: ctx.epoch, pod: podId(namespace, source) });
};

/**
 * All up to END is played, every recorded output matched: the copy's word for this very claim, and the source's that it is
 * mute. The fence closes before the decision, so that no call of the source's app meets one of the copy's outside.
 */
const replayed: StepFunction = async (ctx, migration, handoff) => {
  const { claim, source, copy } = handoff;
  ctx.sidecars.route(claim, uidOfRef(source), uidOfRef(copy));
  await once(ctx, handoff, 'fence', () => fence(ctx, migration, handoff));
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
