/**
 * Sequential, of a pod without the sidecar: parked, checkpointed, stopped; its copies are restored parked, and the last of them
 * is sent back to its queue. Nobody works meanwhile, so no second queue is needed: what comes waits in the app's own.
 */
import { ShadowError } from '../../api/errors.ts';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { queueConfigOf } from '../preflight/ms2m.ts';
import { sinceEntered } from '../steps/step.ts';
import { controlQueueOf, exchangesOf, queuesOf } from './queues.ts';
import { perform, type Scene } from './steps.ts';

/** An app that does not hear of it for so long does not listen. */
const OBEYS_WITHIN_MS = 8_000;
/** An app that is not to be brought home for so long (it is gone, or never left) is left where it is. */
const HOME_WITHIN_MS = 20_000;

/** Only pods without the sidecar are moved by this strategy. */
export const isBare = ({ status }: Pick<StatefulMigration, 'status'>): boolean => status?.strategy === 'Sequential';

const sceneOf = async (
  ctx: Context,
  { spec }: StatefulMigration,
  handoff: Handoff,
  undoing: boolean,
): Promise<Scene> => {
  const { queueName, brokerUrl, exchangeName, routingKey } = queueConfigOf(spec);
  return {
    broker: await ctx.queueWork.broker(brokerUrl),
    queues: queuesOf(queueName),
    exchanges: exchangesOf(queueName),
    binding: { exchange: exchangeName, key: routingKey },
    ...{ source: handoff.source.name, copy: handoff.copy.name, undoing },
    ...{ replayMode: 'Drain', cutoffMs: 0, elapsedMs: sinceEntered(ctx, handoff), settleMs: 0 },
    ...{ now: ctx.now, told: ctx.queueWork.told(handoff.claim) },
  };
};

/** True once the source's app stands still between two messages. Throws SHADOW_E_CONTROL. */
export const parked = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<boolean> => {
  const scene = await sceneOf(ctx, migration, handoff, false);
  await scene.broker.declareQueue(scene.queues.park);
  if ((await perform('Parking', scene)).kind === 'done') return true;
  if (scene.elapsedMs < OBEYS_WITHIN_MS) return false;
  throw new ShadowError('SHADOW_E_CONTROL', `${scene.source} has not left ${scene.queues.primary} when it was told to`);
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
  const scene = await sceneOf(ctx, migration, handoff, undoing);
  const late = undoing && scene.elapsedMs > HOME_WITHIN_MS;
  if (!alone && !late && (await perform('Arriving', scene)).kind !== 'done') return false;
  await perform('Dismantling', scene);
  // Of a Deployment nobody has that name again.
  if (alone && migration.status?.deploymentName !== undefined)
    await scene.broker.deleteQueue(controlQueueOf(scene.source));
  await ctx.queueWork.forget(handoff.claim, queueConfigOf(migration.spec).brokerUrl);
  return true;
};
