/**
 * A node whose power is cut says nothing: its pods count as running, its sidecar as connected for a while. What was decided
 * must not wait for ever for a pod that cannot answer any more: a commit for its source, an abort for the end of its copy.
 */
import { asShadowError } from '../../api/errors.ts';
import type { Handoff, PodRef } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { isNodeReady } from '../preflight/node.ts';
import { sinceEntered, uidOfRef } from './step.ts';

/** A node that does not answer for so long is gone; what it holds goes with it, or by its agent's own sweep. */
const GRACE_MS = 20_000;

/**
 * Three witnesses, on three roads: no sidecar is connected, the API server has not heard of the kubelet for its grace (or knows
 * no such node), the agent cannot be reached. One that lives on all the same, cut off from us, stays fenced, a source mute as
 * well (invariant 4); what a source has not settled the broker hands out again once its connection ends.
 */
const isDead = async (ctx: Context, { uid, node: name }: PodRef): Promise<boolean> => {
  if (uid !== undefined && ctx.sidecars.session(uid) !== undefined) return false;
  const node = (await ctx.cluster.nodes()).find(({ metadata }) => metadata?.name === name);
  if (node !== undefined && isNodeReady(node)) return false;
  try {
    await ctx.agents.of(name).node({});
    return false;
  } catch (error) {
    return asShadowError(error).code === 'SHADOW_E_AGENT_UNREACHABLE';
  }
};

export const isSourceDead = (ctx: Context, { source }: Handoff): Promise<boolean> =>
  isDead(ctx, { ...source, uid: uidOfRef(source) });
/** Its uid may not be on record yet. */
export const isCopyDead = (ctx: Context, { copy }: Handoff): Promise<boolean> => isDead(ctx, copy);

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

/** Goes on without an agent that does not answer: a dead node has nothing that could still act. False: it did not answer. */
export const tolerant = async (
  ctx: Context,
  handoff: Handoff,
  place: PodRef,
  call: Promise<unknown>,
): Promise<boolean> => {
  try {
    await call;
    return true;
  } catch (error) {
    const known = asShadowError(error);
    if (known.code !== 'SHADOW_E_AGENT_UNREACHABLE') throw error;
    if (sinceEntered(ctx, handoff) < GRACE_MS && !(await isDead(ctx, place))) throw error;
    ctx.log({ err: known, claim: handoff.claim }, 'going on without an agent that does not answer');
    return false;
  }
};
