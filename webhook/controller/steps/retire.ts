/** The write that sends the source away. */
import type { StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { begunQueues } from '../ms2m/beside.ts';
import { refOf, serves } from '../pods.ts';
import { firstAttempt } from '../transition.ts';
import { afterCopyLost } from './committed.ts';
import { enterStep, findPod, type StepResult } from './step.ts';

/**
 * A StatefulSet's second handoff is put on record in the very write that sends the old pod away: when the set's controller
 * makes the successor, the restore webhook finds its claim. A Deployment's pod has none: its copy stays what it is.
 */
export const retire = async (ctx: Context, migration: StatefulMigration): Promise<StepResult> => {
  const [first, second] = migration.status?.handoffs ?? [];
  const single = migration.status?.deploymentName !== undefined;
  if (first === undefined || second !== undefined || single) return enterStep('Retiring');
  const shadow = await findPod(ctx, migration.metadata.namespace, first.copy);
  if (!serves(shadow, first.copy)) return afterCopyLost(first);
  const next = firstAttempt(
    migration,
    1,
    refOf(shadow, first.copy),
    { name: first.source.name, node: first.copy.node },
    ctx.now(),
    first.mode,
  );
  // The set must make the very revision that is in memory; the webhook refuses another.
  const revision = shadow.metadata?.labels?.['controller-revision-hash'];
  if (revision !== undefined) next.revision = revision;
  if (first.queues !== undefined) next.queues = begunQueues(ctx.now());
  return enterStep('Retiring', {}, { others: [next], status: { replacementPod: first.source.name } });
};
