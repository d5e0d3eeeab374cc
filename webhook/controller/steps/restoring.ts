/** The handler restores; the agent proves which containers it made. */
import { ShadowError } from '../../api/errors.ts';
import { foreignContainer, podId, serves } from '../pods.ts';
import { enterStep, findPod, type StepFunction } from './step.ts';

const RESTORE_MS = 25_000;

export const restoring: StepFunction = async (ctx, migration, handoff) => {
  const { namespace } = migration.metadata;
  const { claim, source, copy, freezeGeneration } = handoff;
  const restored = await ctx.agents.of(copy.node).restore({
    claim,
    epoch: ctx.epoch,
    copy: podId(namespace, copy),
    oldIP: source.ip ?? '',
    freezeGeneration: freezeGeneration ?? 0,
    timeoutMs: RESTORE_MS,
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
