/**
 * Mode replay, the last moments before the decision: all up to END is played, every recorded output matched, and the source is
 * mute behind its fence. Users wait meanwhile.
 */

import { ShadowError } from '../../api/errors.ts';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { podId } from '../pods.ts';
import { isFenced } from '../preflight/strategy.ts';
import { commit, isRehearsal } from '../transition.ts';
import { once } from './memory.ts';
import { checkCopy, replayOf, restoredSession } from './replaying.ts';
import { findPod, type StepResult, uidOfRef } from './step.ts';

/** Nothing of the source's app leaves its pod but replies, unless its calls are idempotent. Once per leader. */
export const fenceSource = (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<void> =>
  once(ctx, handoff, 'fence', async () => {
    const { claim, source } = handoff;
    const { namespace } = migration.metadata;
    if (!isFenced(await findPod(ctx, namespace, source), handoff)) return;
    await ctx.agents.of(source.node).fence({ claim, epoch: ctx.epoch, pod: podId(namespace, source) });
  });

/** The one write that decides (invariant 5). A rehearsal never comes here, and if it did, it would be undone by this. */
export const decide = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<StepResult> => {
  if (isRehearsal(migration)) throw new ShadowError('SHADOW_E_INTERNAL', 'a rehearsal is never committed');
  await checkCopy(ctx, migration, handoff);
  return { kind: 'replace', handoff: commit(handoff, ctx.now(), ctx.epoch) };
};

/** By the copy's word for this very claim, and the source's that it is mute; the fence is closed. undefined: not yet. */
export const decideIfReplayed = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
): Promise<StepResult | undefined> => {
  const { claim, source } = handoff;
  const session = restoredSession(ctx, handoff);
  const origin = ctx.sidecars.session(uidOfRef(source));
  const ready = session?.state === 'replayed' && session.claim === claim;
  const mute = origin?.state === 'mute' && origin.claim === claim;
  if (!ready || !mute) return undefined;
  const replay = replayOf(origin, session, ctx.now()) ?? handoff.replay;
  return decide(ctx, migration, { ...handoff, ...(replay === undefined ? {} : { replay }) });
};
