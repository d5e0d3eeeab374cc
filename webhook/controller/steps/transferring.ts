/** The checkpoint goes from agent to agent, or by an image. */
import { worked } from '../ms2m/beside.ts';
import { podId } from '../pods.ts';
import { travelsBy } from '../preflight/transfer.ts';
import { byRegistry } from './checkpoint-image.ts';
import { enterStep, type StepFunction } from './step.ts';

export const transferring: StepFunction = async (ctx, migration, handoff) => {
  // The source stands still no longer than its checkpoint takes.
  const releasing = await worked(ctx, migration, handoff, 'Calling');
  if (releasing !== undefined) return releasing;
  const mode = travelsBy(migration.spec, handoff);
  if (mode === 'Registry') return byRegistry(ctx, migration, handoff);
  const { claim, source, copy } = handoff;
  const target = { url: ctx.agents.url(copy.node), node: copy.node };
  if (mode === 'Direct') {
    const container = migration.status?.containerName ?? '';
    await ctx.agents.of(source.node).sendImage({ claim, epoch: ctx.epoch, container, target });
    return enterStep('Restoring');
  }
  await ctx.agents.of(source.node).send({
    claim,
    epoch: ctx.epoch,
    pod: podId(migration.metadata.namespace, source),
    target,
  });
  return enterStep('Restoring');
};
