/**
 * After the commit, mode replay: what has to be before the source may go, done while the app still settles or its copy is not
 * yet known to be ready. Nothing relies on it: where it failed, or the leader changed, it is done when its time comes.
 */
import type { V1Pod } from '@kubernetes/client-node';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import { claimOf } from '../../api/names.ts';
import type { Context } from '../context.ts';
import { selecting } from '../endpoints.ts';
import { serves } from '../pods.ts';
import { apiFailure } from '../rest.ts';
import { needsTarget, proveRestoreWebhook } from '../restore-config.ts';
import { passOnAhead } from './forward.ts';
import { every, remember, sinceRemembered } from './memory.ts';
import { all, findPod } from './step.ts';

/** A proof counts for so long, milliseconds. */
const PROOF_MS = 5_000;

/** The webhook is there to catch the successor: proven a moment ago, or now. `next`: the handoff to the successor. */
export const proveForSuccessor = (
  ctx: Context,
  migration: StatefulMigration,
  next: Pick<Handoff, 'claim'>,
): Promise<void> => every(ctx, next, 'proven', PROOF_MS, () => proveRestoreWebhook(ctx, migration));

const passOn = async (ctx: Context, migration: StatefulMigration, handoff: Handoff, copy: V1Pod): Promise<void> => {
  const source = await findPod(ctx, migration.metadata.namespace, handoff.source);
  if (!serves(source, handoff.source)) return;
  const services = selecting(await ctx.cluster.services(migration.metadata.namespace), source);
  await passOnAhead(ctx, migration, handoff, { source, copy, services });
};

/** Each once. True: time has passed, whoever waits had better look again. */
export const meanwhile = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  copy: V1Pod,
): Promise<boolean> => {
  if (handoff.mode !== 'replay' || handoff.queues !== undefined) return false;
  const next = { claim: claimOf(migration.metadata.uid, handoff.index + 1, 1) };
  const tasks = {
    // The kubelet tells the copy's address only some time after it serves.
    ...(copy.status?.podIP === undefined ? {} : { 'pass on': () => passOn(ctx, migration, handoff, copy) }),
    ...(needsTarget(migration) ? { prove: () => proveForSuccessor(ctx, migration, next) } : {}),
  };
  const due = Object.entries(tasks).filter(([name]) => sinceRemembered(ctx, handoff, name) === undefined);
  for (const [name] of due) remember(ctx, handoff, name);
  await all(due.map(([, task]) => task())).catch((error: unknown) =>
    ctx.log({ err: apiFailure(error), claim: handoff.claim }, 'not done ahead'),
  );
  return due.length > 0;
};
