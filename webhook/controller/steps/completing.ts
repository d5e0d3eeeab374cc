/** The end, whatever it is: nothing of the migration is left on any object, then it is written down. */
import type { MigrationStatus, StatefulMigration } from '../../api/migration.ts';
import { ANNOTATION, LABEL, shadowName } from '../../api/names.ts';
import type { Context } from '../context.ts';
import type { Note } from '../derive.ts';
import { isLeaving, isReady, serves, uidOf } from '../pods.ts';
import { writeRestoreConfig } from '../restore-config.ts';
import { stamp } from '../transition.ts';
import { answerForGone, findPod } from './step.ts';

const TELL_AFTER_MS = 30_000;

/** `status`: the last write but for what is derived. */
export type Ending = { status: MigrationStatus } | { waitMs: number; note?: Note };

const dropShadow = async (ctx: Context, migration: StatefulMigration, pod: string): Promise<boolean> => {
  const { namespace, uid } = migration.metadata;
  const shadow = await findPod(ctx, namespace, { name: shadowName(pod), node: '' });
  if (shadow?.metadata?.labels?.[LABEL.migration] !== uid) return true;
  if (!isLeaving(shadow)) await ctx.cluster.deletePod(namespace, shadowName(pod), uidOf(shadow), 1);
  return false;
};

const UNMARKED = {
  annotations: { [ANNOTATION.restore]: null, [ANNOTATION.commit]: null },
  labels: { [LABEL.migration]: null, [LABEL.role]: null },
};

export const completing = async (ctx: Context, migration: StatefulMigration): Promise<Ending> => {
  const status = migration.status ?? {};
  const [first, second] = status.handoffs ?? [];
  const ended = { ...status, completionTime: stamp(ctx.now()) };
  if (first === undefined) return { status: ended };
  const { decision } = first;
  const error =
    status.error ??
    (decision?.verdict === 'abort'
      ? { code: decision.code ?? 'SHADOW_E_INTERNAL', message: decision.message ?? '' }
      : undefined);
  await writeRestoreConfig(ctx, { ...migration, status: { ...status, ...(error === undefined ? {} : { error }) } });
  if (!(await dropShadow(ctx, migration, first.source.name))) return { waitMs: 500 };
  if (error !== undefined) return { status: { ...ended, error } };
  if (second === undefined) return { waitMs: 500 };
  const successor = await findPod(ctx, migration.metadata.namespace, second.copy);
  if (!serves(successor, second.copy)) {
    const lost = { code: 'SHADOW_E_COPY_LOST', message: `${second.copy.name} went before it was ready` } as const;
    return { status: { ...ended, error: lost } };
  }
  if (!isReady(successor)) {
    const slow = ctx.now() - Date.parse(second.entered.Done ?? '') > TELL_AFTER_MS;
    return { waitMs: 500, ...(slow ? { note: { message: `${second.copy.name} is not ready yet` } } : {}) };
  }
  if (ctx.sidecars.session(uidOf(successor))?.state === 'live') {
    answerForGone(ctx, second);
    return { waitMs: 50 };
  }
  for (const { claim } of [first, second]) ctx.sidecars.unroute(claim);
  await ctx.cluster.patchPod(migration.metadata.namespace, second.copy.name, UNMARKED);
  return { status: ended };
};
