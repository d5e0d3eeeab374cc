/**
 * Sequential, of a pod without the sidecar: parked, checkpointed, stopped; its copies are restored parked, and the last of them
 * is sent back to its queue. Nobody works meanwhile, so no second queue is needed: what comes waits in the app's own.
 */
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { queueConfigOf } from '../preflight/ms2m.ts';
import { sinceEntered } from '../steps/step.ts';
import { controlQueueOf } from './queues.ts';
import { disobeyed, HOME_WITHIN_MS, OBEYS_WITHIN_MS, sceneOf } from './scene.ts';
import { perform } from './steps.ts';

/** True once the source's app stands still between two messages. Throws SHADOW_E_CONTROL. */
export const parked = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<boolean> => {
  const scene = await sceneOf(ctx, migration, handoff, { undoing: false, elapsedMs: sinceEntered(ctx, handoff) });
  await scene.broker.declareQueue(scene.queues.park);
  if ((await perform('Parking', scene)).kind === 'done') return true;
  if (scene.elapsedMs < OBEYS_WITHIN_MS) return false;
  throw disobeyed(scene);
};

/**
 * True once the app that goes on consumes from its own queue, and nothing of ours is left on the broker. `alone`: nobody is
 * left to be brought home, the pod that comes in the place of the lost one starts there.
 */
export const broughtHome = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  { undoing, alone = false }: { undoing: boolean; alone?: boolean },
): Promise<boolean> => {
  const scene = await sceneOf(ctx, migration, handoff, { undoing, elapsedMs: sinceEntered(ctx, handoff) });
  const late = undoing && scene.elapsedMs > HOME_WITHIN_MS;
  if (!alone && !late && (await perform('Arriving', scene)).kind !== 'done') return false;
  await perform('Dismantling', scene);
  // Of a Deployment nobody has that name again.
  if (alone && migration.status?.deploymentName !== undefined)
    await scene.broker.deleteQueue(controlQueueOf(scene.source));
  await ctx.queueWork.forget(handoff.claim, queueConfigOf(migration.spec).brokerUrl);
  return true;
};
