/**
 * The source's sidecar stops talking for the app (invariant 4). Mode stop: the pause begins. Mode replay: the source ends its
 * record; what the copy has to play from here on is what users wait for.
 */
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { podId } from '../pods.ts';
import { isFenced } from '../preflight/strategy.ts';
import { enterCutting } from './cutting.ts';
import { once } from './memory.ts';
import { all, answerForGone, enterStep, findPod, type StepFunction, uidOfRef, wait } from './step.ts';

const MUTE_MS = 8_000;

/** The shadow still settles what it brought along: its own handoff waits until the first one is all over. */
export const isSettling = (ctx: Context, migration: StatefulMigration, handoff: Handoff): boolean => {
  if (handoff.index !== 1 || ctx.sidecars.session(uidOfRef(handoff.source))?.state !== 'live') return false;
  const first = migration.status?.handoffs?.[0];
  if (first !== undefined) answerForGone(ctx, first);
  return true;
};

/** Mode replay: nothing of the source's app leaves its pod but replies, unless its calls are idempotent. Once per leader. */
export const fenceSource = (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<void> =>
  once(ctx, handoff, 'fence', async () => {
    const { claim, source } = handoff;
    const { namespace } = migration.metadata;
    if (!isFenced(await findPod(ctx, namespace, source), handoff)) return;
    await ctx.agents.of(source.node).fence({ claim, epoch: ctx.epoch, pod: podId(namespace, source) });
  });

export const muting: StepFunction = async (ctx, migration, handoff) => {
  const { claim, source, mode } = handoff;
  const mute = async () => ctx.sidecars.command(uidOfRef(source), { type: 'mute', claim, timeoutMs: MUTE_MS });
  if (mode === 'replay') {
    // In the same breath: what the decision waits for, users wait for.
    const muted = mute();
    await all([muted, fenceSource(ctx, migration, handoff)]);
    return enterStep('Attaching', { carried: (await muted).carried });
  }
  if (isSettling(ctx, migration, handoff)) return wait(20);
  return enterCutting(ctx, handoff, { carried: (await mute()).carried });
};
