/**
 * ShadowPod, of a pod without the sidecar: the source serves while the copy catches up. The work on the queues is done within
 * the steps of the handoff, one step of it a turn, each on record before the next begins.
 */
import type { Handoff, QueueProgress, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { queueConfigOf } from '../preflight/ms2m.ts';
import { type StepResult, wait } from '../steps/step.ts';
import { stamp } from '../transition.ts';
import { beforeStopping, following, type Ms2mStep, type Progress, type TakeOver, undoing } from './plan.ts';
import { controlQueueOf } from './queues.ts';
import { disobeyed, HOME_WITHIN_MS, OBEYS_WITHIN_MS, sceneOf } from './scene.ts';
import { perform } from './steps.ts';

export const begunQueues = (at: number): QueueProgress => ({ step: 'Binding', at: stamp(at) });

export const takeOverOf = ({ spec }: Pick<StatefulMigration, 'spec'>): TakeOver =>
  spec.identitySwapMode === 'ExchangeFence' ? 'ExchangeFence' : 'Cutoff';

const progressOf = ({ step, undoing: back }: QueueProgress): Progress => ({
  step: step as Ms2mStep,
  ...(back ? { undoing: true } : {}),
});

const entered = (ctx: Context, next: Progress | undefined, last: QueueProgress): QueueProgress =>
  next === undefined ? { ...last, done: true } : { ...next, at: stamp(ctx.now()) };

/** What is to be written down; undefined: nothing is left to be done before `until`. */
export const worked = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  until?: Ms2mStep,
): Promise<StepResult | undefined> => {
  const { queues } = handoff;
  if (queues === undefined || queues.done || queues.step === until) return undefined;
  const progress = progressOf(queues);
  const elapsedMs = ctx.now() - Date.parse(queues.at);
  const scene = await sceneOf(ctx, migration, handoff, { undoing: progress.undoing === true, elapsedMs });
  const outcome = await perform(progress.step, scene);
  if (outcome.kind === 'wait') {
    if (progress.step === 'Parking' && elapsedMs > OBEYS_WITHIN_MS) throw disobeyed(scene);
    return wait(outcome.ms);
  }
  const next =
    outcome.kind === 'goto' ? { ...progress, step: outcome.step } : following(progress, takeOverOf(migration));
  if (next === undefined) await ctx.queueWork.forget(handoff.claim, queueConfigOf(migration.spec).brokerUrl);
  return { kind: 'wait', ms: 0, seen: { queues: entered(ctx, next, queues) } };
};

/** Nobody is left to work off what waits behind a fence: it goes back to the queue, to whoever comes. */
const abandoned = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<void> => {
  const scene = await sceneOf(ctx, migration, handoff, { undoing: true, elapsedMs: HOME_WITHIN_MS });
  const { broker, queues, exchanges } = scene;
  await broker.bindQueue(queues.primary, scene.binding);
  await broker.unbindExchange(exchanges.fence, scene.binding);
  if ((await broker.depth(queues.buffer)) !== undefined) await broker.pour(queues.buffer, queues.primary);
  await perform('Dismantling', scene);
  if (migration.status?.deploymentName !== undefined) await broker.deleteQueue(controlQueueOf(scene.source));
};

/** After the copy's pod is gone. What is to be written down; undefined: all is undone. */
export const undone = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  alone: boolean,
): Promise<StepResult | undefined> => {
  const { queues } = handoff;
  if (queues === undefined || queues.done) return undefined;
  const late = queues.undoing === true && ctx.now() - Date.parse(queues.at) > HOME_WITHIN_MS;
  if (alone || late) {
    await abandoned(ctx, migration, handoff);
    return { kind: 'wait', ms: 0, seen: { queues: { ...queues, undoing: true, done: true } } };
  }
  if (queues.undoing) return worked(ctx, migration, handoff);
  const takeOver = takeOverOf(migration);
  // Entered before the one write that decides: as long as that is not made the source has not been stopped.
  const step = queues.step === 'Stopping' ? beforeStopping(takeOver) : progressOf(queues).step;
  const back = undoing({ step }, takeOver);
  return back && { kind: 'wait', ms: 0, seen: { queues: entered(ctx, back, queues) } };
};
