/**
 * The copy is made ready to serve; then the one write that decides (invariant 5). Mode stop: it opens its connections. Mode
 * replay: they are open, and the copy plays the last of the record while the mute source's app is fenced.
 */
import { isBare } from '../ms2m/scene.ts';
import { decide, decideIfReplayed, fenceSource } from './replayed.ts';
import { restoredSession } from './replaying.ts';
import { type StepFunction, uidOfRef, wait } from './step.ts';

const ATTACH_MS = 12_000;

/** The fence is closed before the decision, so that no call of the source's app meets one of the copy's outside. */
const replayed: StepFunction = async (ctx, migration, handoff) => {
  ctx.sidecars.route(handoff.claim, uidOfRef(handoff.source), uidOfRef(handoff.copy));
  await fenceSource(ctx, migration, handoff);
  return (await decideIfReplayed(ctx, migration, handoff)) ?? wait(20);
};

const attached: StepFunction = async (ctx, migration, handoff) => {
  // It dials us as soon as it wakes; the hub tells.
  if (restoredSession(ctx, handoff) === undefined) return wait(50);
  await ctx.sidecars.command(uidOfRef(handoff.copy), { type: 'attach', claim: handoff.claim, timeoutMs: ATTACH_MS });
  return decide(ctx, migration, handoff);
};

/** A copy without the sidecar has nothing to attach: it connects when its fence is opened, or is connected. */
export const attaching: StepFunction = (ctx, migration, handoff) => {
  if (isBare(migration)) return decide(ctx, migration, handoff);
  return handoff.mode === 'replay' ? replayed(ctx, migration, handoff) : attached(ctx, migration, handoff);
};
