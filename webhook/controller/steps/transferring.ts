/** The checkpoint goes from agent to agent. */
import { worked } from '../ms2m/beside.ts';
import { podId } from '../pods.ts';
import { enterStep, type StepFunction } from './step.ts';

export const transferring: StepFunction = async (ctx, migration, handoff) => {
  const { claim, source, copy } = handoff;
  // The source stands still no longer than its checkpoint takes.
  const releasing = await worked(ctx, migration, handoff, 'Calling');
  if (releasing !== undefined) return releasing;
  await ctx.agents.of(source.node).send({
    claim,
    epoch: ctx.epoch,
    pod: podId(migration.metadata.namespace, source),
    target: { url: ctx.agents.url(copy.node), node: copy.node },
  });
  return enterStep('Restoring');
};
