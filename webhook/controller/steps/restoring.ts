/** The handler restores; the agent proves which containers it made. */
import { ShadowError } from '../../api/errors.ts';
import { isBare } from '../ms2m/scene.ts';
import { foreignContainer, hostnameOf, isLeaving, podId, serves } from '../pods.ts';
import { enterStep, findPod, type StepFunction } from './step.ts';

const RESTORE_MS = 25_000;

export const restoring: StepFunction = async (ctx, migration, handoff) => {
  const { namespace } = migration.metadata;
  const { claim, source, copy, freezeGeneration } = handoff;
  const before = await findPod(ctx, namespace, copy);
  if (!serves(before, copy) || isLeaving(before))
    throw new ShadowError('SHADOW_E_RESTORE', `pod ${copy.name} ended before it was restored`);
  const restored = await ctx.agents.of(copy.node).restore({
    claim,
    epoch: ctx.epoch,
    copy: podId(namespace, copy),
    oldIP: source.ip ?? '',
    freezeGeneration: freezeGeneration ?? 0,
    timeoutMs: RESTORE_MS,
    // By it an app that follows the control protocol finds its queue; one with the sidecar is to see no change.
    ...(isBare(migration) ? { hostname: hostnameOf(copy.name) } : {}),
  });
  const pod = await findPod(ctx, namespace, copy);
  if (!serves(pod, copy)) throw new ShadowError('SHADOW_E_RESTORE', `pod ${copy.name} is gone`);
  const foreign = foreignContainer(pod, restored.containers);
  if (foreign !== undefined) throw new ShadowError('SHADOW_E_RESTORE', foreign);
  // Beside a serving source the pause ended with the cut.
  if (handoff.mode === 'replay') return enterStep('Replaying');
  const since = ctx.now() - Date.parse(handoff.entered.Transferring ?? '');
  const pausedMs = (handoff.pausedMs ?? 0) + (Number.isFinite(since) ? since : 0);
  return enterStep('Attaching', { pausedMs });
};
