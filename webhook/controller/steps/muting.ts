/** The pause begins: the source's sidecar stops talking for the app (invariant 4). */
import { answerForGone, enterStep, type StepFunction, uidOfRef, wait } from './step.ts';

const MUTE_MS = 8_000;

export const muting: StepFunction = async (ctx, migration, handoff) => {
  if (handoff.index === 1 && ctx.sidecars.session(uidOfRef(handoff.source))?.state === 'live') {
    const first = migration.status?.handoffs?.[0];
    if (first !== undefined) answerForGone(ctx, first);
    return wait(20);
  }
  const { carried } = await ctx.sidecars.command(uidOfRef(handoff.source), {
    type: 'mute',
    claim: handoff.claim,
    timeoutMs: MUTE_MS,
  });
  // Higher than any this pod has ever seen, of earlier attempts and migrations too: a thaw file left over wakes nobody.
  const freezeGeneration = Math.max((handoff.freezeGeneration ?? 0) + 1, ctx.now());
  return enterStep('Cutting', { carried, freezeGeneration });
};
