/** The checkpoint goes from agent to agent. */
import { podId } from '../pods.ts';
import { enterStep, type StepFunction } from './step.ts';

export const transferring: StepFunction = async (ctx, migration, { claim, source, copy }) => {
  await ctx.agents.of(source.node).send({
    claim,
    epoch: ctx.epoch,
    pod: podId(migration.metadata.namespace, source),
    target: { url: ctx.agents.url(copy.node), node: copy.node },
  });
  return enterStep('Restoring');
};
