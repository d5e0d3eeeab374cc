/** The app's settlements of carried deliveries travel back; the source goes only when the broker has them all. */
import type { StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { refOf, serves } from '../pods.ts';
import { firstAttempt } from '../transition.ts';
import { afterCopyLost } from './committed.ts';
import {
  answerForGone,
  enterStep,
  findPod,
  type StepFunction,
  type StepResult,
  sinceEntered,
  uidOfRef,
  wait,
} from './step.ts';

const TELL_AFTER_MS = 30_000;

/**
 * The second handoff is put on record in the very write that sends the old pod away: when the set's controller makes the
 * successor, the restore webhook finds its claim.
 */
const retire = async (ctx: Context, migration: StatefulMigration): Promise<StepResult> => {
  const [first, second] = migration.status?.handoffs ?? [];
  if (first === undefined || second !== undefined) return enterStep('Retiring');
  const shadow = await findPod(ctx, migration.metadata.namespace, first.copy);
  if (!serves(shadow, first.copy)) return afterCopyLost(first);
  const next = firstAttempt(
    migration,
    1,
    refOf(shadow, first.copy),
    { name: first.source.name, node: first.copy.node },
    ctx.now(),
  );
  // The set must make the very revision that is in memory; the webhook refuses another.
  const revision = shadow.metadata?.labels?.['controller-revision-hash'];
  if (revision !== undefined) next.revision = revision;
  return enterStep('Retiring', {}, { others: [next], status: { replacementPod: first.source.name } });
};

export const settling: StepFunction = async (ctx, migration, handoff) => {
  const { namespace } = migration.metadata;
  const { claim, source, copy } = handoff;
  const [sourcePod, copyPod] = [await findPod(ctx, namespace, source), await findPod(ctx, namespace, copy)];
  if (!serves(copyPod, copy)) return afterCopyLost(handoff);
  if (serves(sourcePod, source)) {
    ctx.sidecars.route(claim, uidOfRef(source), uidOfRef(copy));
    const { outstanding } = await ctx.sidecars.command(uidOfRef(source), { type: 'settleStatus', claim });
    const slow = sinceEntered(ctx, handoff) > TELL_AFTER_MS;
    if (outstanding > 0)
      return wait(1_000, slow ? { message: 'the app has not settled all deliveries it brought along yet' } : undefined);
  } else {
    ctx.log({ claim, source }, 'the source was lost while settling: the broker requeues what was left');
    answerForGone(ctx, handoff);
  }
  return retire(ctx, migration);
};
