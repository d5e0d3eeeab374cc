/**
 * Frozen, paused, dumped. A leader that takes over in the middle repeats both calls with the generation of the record: a cut
 * already made answers as before, and its thaw file wakes the sidecar at once.
 */
import { asShadowError, ShadowError } from '../../api/errors.ts';
import { clonedContainers, podId } from '../pods.ts';
import { enterStep, findPod, type StepFunction, uidOfRef } from './step.ts';

/** Longest silence of a frozen sidecar: well under two heartbeats of a broker. */
const FROZEN_MS = 10_000;

export const cutting: StepFunction = async (ctx, migration, handoff) => {
  const { namespace } = migration.metadata;
  const { claim, source, freezeGeneration } = handoff;
  const pod = await findPod(ctx, namespace, source);
  if (pod === undefined) throw new ShadowError('SHADOW_E_SOURCE_LOST', source.name);
  if (freezeGeneration === undefined) throw new ShadowError('SHADOW_E_INTERNAL', 'no freeze generation in the record');
  await ctx.sidecars.command(uidOfRef(source), {
    type: 'freeze',
    claim,
    generation: freezeGeneration,
    deadlineMs: FROZEN_MS,
  });
  try {
    const cut = await ctx.agents.of(source.node).cut({
      claim,
      epoch: ctx.epoch,
      pod: podId(namespace, source),
      podIP: source.ip ?? '',
      containers: clonedContainers(pod),
      freezeGeneration,
      driver: migration.spec.checkpointDriver ?? 'runc',
    });
    return enterStep(
      'Transferring',
      { bytes: cut.bytes, pausedMs: Math.round(cut.pauseMs) },
      { status: { checkpointID: claim } },
    );
  } catch (error) {
    // The sidecar was caught awake: the agent has undone its part, another generation may do. The step's bound holds.
    if (asShadowError(error).code !== 'SHADOW_E_FREEZE') throw error;
    return enterStep('Cutting', { freezeGeneration: Math.max(freezeGeneration + 1, ctx.now()) });
  }
};
