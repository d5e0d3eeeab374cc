/**
 * A node whose power is cut says nothing: its pods count as running, its sidecar as connected for a while. Before the commit
 * nobody needs to know for sure. After it the copy must not wait for ever for a source that cannot answer any more.
 */
import { asShadowError } from '../../api/errors.ts';
import type { Handoff } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { isNodeReady } from '../preflight/node.ts';
import { uidOfRef } from './step.ts';

/**
 * Three witnesses, on three roads: no sidecar is connected, the API server has not heard of the kubelet for its grace (or knows
 * no such node), the agent cannot be reached. A source that lives on all the same, cut off from us, stays mute and fenced
 * (invariant 4); what it has not settled the broker hands out again once its connection ends.
 */
export const isSourceDead = async (ctx: Context, { source }: Handoff): Promise<boolean> => {
  if (ctx.sidecars.session(uidOfRef(source)) !== undefined) return false;
  const node = (await ctx.cluster.nodes()).find(({ metadata }) => metadata?.name === source.node);
  if (node !== undefined && isNodeReady(node)) return false;
  try {
    await ctx.agents.of(source.node).node({});
    return false;
  } catch (error) {
    return asShadowError(error).code === 'SHADOW_E_AGENT_UNREACHABLE';
  }
};

/** undefined: the source is dead, and there is nobody to answer. Any other failure is one. */
export const unlessDead = async <T>(ctx: Context, handoff: Handoff, call: Promise<T>): Promise<T | undefined> => {
  try {
    return await call;
  } catch (error) {
    const { code } = asShadowError(error);
    if (code !== 'SHADOW_E_SIDECAR_UNREACHABLE' || !(await isSourceDead(ctx, handoff))) throw error;
    ctx.log(
      { claim: handoff.claim, source: handoff.source },
      'the node of the source is dead: the broker requeues what it held',
    );
    return undefined;
  }
};
