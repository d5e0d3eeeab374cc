/**
 * A Deployment's pod: its ReplicaSet adopts the copy, counts one too many and drops the source, which is marked as the
 * cheapest to go. Not before the copy is ready, or the set would rather drop the copy. Until the copy is adopted the source
 * must not be deleted: the set would make a fresh pod in its place.
 */
import type { V1Pod } from '@kubernetes/client-node';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import { ANNOTATION, LABEL } from '../../api/names.ts';
import type { Context } from '../context.ts';
import { isLeaving, isReady, serves } from '../pods.ts';
import { afterCopyLost } from './committed.ts';
import { sinceSeen } from './memory.ts';
import { findPod, type StepResult, sinceEntered, wait } from './step.ts';

/** Of a 32-bit integer (KEP-2255). */
const CHEAPEST = `${-(2 ** 31)}`;
export const DEAREST = `${2 ** 31 - 1}`;
const POLL_MS = 100;
const TELL_AFTER_MS = 5_000;
/** A set that adopts nobody for so long is gone, or being emptied: the copy serves without it. */
const ADOPTED_WITHIN_MS = 60_000;
/** The set decides at once; after this it has dropped another (one that was not ready), and the source is ours to delete. */
const DROPPED_WITHIN_MS = 5_000;

const isAdopted = ({ metadata }: V1Pod): boolean =>
  (metadata?.ownerReferences ?? []).some(({ controller }) => controller === true);

/** Where the source is lost already the set has made a fresh pod in its place: that one is to go, not the one with the memory. */
const offer = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<void> => {
  const { namespace } = migration.metadata;
  const { source, copy } = handoff;
  const hash = migration.status?.sourcePodLabels?.[LABEL.templateHash] ?? '';
  const labels = { [LABEL.templateHash]: hash };
  if ((await findPod(ctx, namespace, source)) === undefined) {
    await ctx.cluster.patchPod(namespace, copy.name, { labels, annotations: { [ANNOTATION.deletionCost]: DEAREST } });
    return;
  }
  await ctx.cluster.patchPod(namespace, source.name, { annotations: { [ANNOTATION.deletionCost]: CHEAPEST } });
  await ctx.cluster.patchPod(namespace, copy.name, { labels });
};

/** undefined: adopted, and the source is going or ours to delete. */
export const adopting = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
): Promise<StepResult | undefined> => {
  const { namespace } = migration.metadata;
  const copy = await findPod(ctx, namespace, handoff.copy);
  if (!serves(copy, handoff.copy)) return afterCopyLost(handoff);
  const since = sinceEntered(ctx, handoff);
  if (!isAdopted(copy)) {
    if (since > ADOPTED_WITHIN_MS) return undefined;
    const offered = copy.metadata?.labels?.[LABEL.templateHash] !== undefined;
    if (!offered && isReady(copy)) await offer(ctx, migration, handoff);
    const what = isReady(copy) ? 'waits to be adopted by its ReplicaSet' : 'is not Ready yet';
    return wait(POLL_MS, since > TELL_AFTER_MS ? { message: `${handoff.copy.name} serves and ${what}` } : undefined);
  }
  const source = await findPod(ctx, namespace, handoff.source);
  const stays = source !== undefined && !isLeaving(source);
  return stays && sinceSeen(ctx, handoff, 'adopted') < DROPPED_WITHIN_MS ? wait(POLL_MS) : undefined;
};
