/** The end, whatever it is: nothing of the migration is left on any object, then it is written down. */
import type { V1Pod } from '@kubernetes/client-node';
import type { Handoff, MigrationStatus, StatefulMigration } from '../../api/migration.ts';
import { ANNOTATION, LABEL } from '../../api/names.ts';
import type { Context } from '../context.ts';
import type { Note } from '../derive.ts';
import { isBare } from '../ms2m/scene.ts';
import { broughtHome } from '../ms2m/sequence.ts';
import { isLeaving, isReady, serves, uidOf } from '../pods.ts';
import { writeRestoreConfig } from '../restore-config.ts';
import { isRehearsal, isRehearsed, stamp } from '../transition.ts';
import { DEAREST } from './adopting.ts';
import { answerForGone, findPod } from './step.ts';

const TELL_AFTER_MS = 30_000;

/** `status`: the last write but for what is derived. */
export type Ending = { status: MigrationStatus } | { waitMs: number; note?: Note };

const dropShadow = async (ctx: Context, migration: StatefulMigration, name: string): Promise<boolean> => {
  const { namespace, uid } = migration.metadata;
  const shadow = await findPod(ctx, namespace, { name, node: '' });
  if (shadow?.metadata?.labels?.[LABEL.migration] !== uid) return true;
  if (!isLeaving(shadow)) await ctx.cluster.deletePod(namespace, name, uidOf(shadow), 1);
  return false;
};

/** Of the user's own annotations none is touched. */
const unmarked = ({ metadata }: V1Pod) => ({
  annotations: {
    [ANNOTATION.restore]: null,
    [ANNOTATION.commit]: null,
    [ANNOTATION.look]: null,
    ...(metadata?.annotations?.[ANNOTATION.deletionCost] === DEAREST ? { [ANNOTATION.deletionCost]: null } : {}),
  },
  labels: { [LABEL.migration]: null, [LABEL.role]: null },
});

/** The pod that is left is ready, settled, and like any other from now on. */
const unmark = async (
  ctx: Context,
  migration: StatefulMigration,
  last: Handoff,
  ended: MigrationStatus,
): Promise<Ending> => {
  const pod = await findPod(ctx, migration.metadata.namespace, last.copy);
  if (!serves(pod, last.copy)) {
    const lost = { code: 'SHADOW_E_COPY_LOST', message: `${last.copy.name} went before it was ready` } as const;
    return { status: { ...ended, error: lost } };
  }
  if (!isReady(pod)) {
    const slow = ctx.now() - Date.parse(last.entered.Done ?? '') > TELL_AFTER_MS;
    return { waitMs: 500, ...(slow ? { note: { message: `${last.copy.name} is not ready yet` } } : {}) };
  }
  if (ctx.sidecars.session(uidOf(pod))?.state === 'live') {
    answerForGone(ctx, last);
    return { waitMs: 50 };
  }
  if (isBare(migration) && last.queues === undefined && !(await broughtHome(ctx, migration, last, { undoing: false })))
    return { waitMs: 50 };
  for (const { claim } of ended.handoffs ?? []) ctx.sidecars.unroute(claim);
  await ctx.cluster.patchPod(migration.metadata.namespace, last.copy.name, unmarked(pod));
  return { status: ended };
};

export const completing = async (ctx: Context, migration: StatefulMigration): Promise<Ending> => {
  const status = migration.status ?? {};
  const [first, second] = status.handoffs ?? [];
  // A Deployment's copy is where it ends; a StatefulSet's has given its state back by now.
  const single = status.deploymentName !== undefined;
  const ended = { ...status, completionTime: stamp(ctx.now()) };
  if (first === undefined) return { status: ended };
  const { decision } = first;
  const rehearsed = isRehearsal(migration) && isRehearsed(first);
  const error =
    status.error ??
    (decision?.verdict === 'abort' && !rehearsed
      ? { code: decision.code ?? 'SHADOW_E_INTERNAL', message: decision.message ?? '' }
      : undefined);
  await writeRestoreConfig(ctx, { ...migration, status: { ...status, ...(error === undefined ? {} : { error }) } });
  const stays = single && error === undefined && !rehearsed;
  const dropped = stays || (await dropShadow(ctx, migration, first.copy.name));
  if (!dropped) return { waitMs: 500 };
  if (error !== undefined) return { status: { ...ended, error } };
  if (rehearsed) return { status: ended };
  const last = single ? first : second;
  return last === undefined ? { waitMs: 500 } : unmark(ctx, migration, last, ended);
};
