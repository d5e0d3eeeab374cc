/** The copy opens its connections; then the one write that decides (invariant 5). */
import { ShadowError } from '../../api/errors.ts';
import { foreignContainer, serves } from '../pods.ts';
import { commit } from '../transition.ts';
import { findPod, type StepFunction, uidOfRef, wait } from './step.ts';

const ATTACH_MS = 12_000;

export const attaching: StepFunction = async (ctx, migration, handoff) => {
  const copyUid = uidOfRef(handoff.copy);
  const session = ctx.sidecars.session(copyUid);
  // It dials us as soon as it wakes; the hub tells.
  if (session === undefined) return wait(50);
  const source = ctx.sidecars.session(uidOfRef(handoff.source));
  if (source !== undefined && source.process !== session.process)
    throw new ShadowError('SHADOW_E_ATTACH', 'the sidecar of the copy is not the restored one');
  await ctx.sidecars.command(copyUid, { type: 'attach', claim: handoff.claim, timeoutMs: ATTACH_MS });
  const pod = await findPod(ctx, migration.metadata.namespace, handoff.copy);
  if (!serves(pod, handoff.copy)) throw new ShadowError('SHADOW_E_ATTACH', `pod ${handoff.copy.name} is gone`);
  const foreign = foreignContainer(pod, []);
  if (foreign !== undefined) throw new ShadowError('SHADOW_E_ATTACH', foreign);
  return { kind: 'replace', handoff: commit(handoff, ctx.now(), ctx.epoch) };
};
