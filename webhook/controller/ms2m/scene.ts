/** What the work on the queues of one handoff needs to know. */
import { ShadowError } from '../../api/errors.ts';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { queueConfigOf } from '../preflight/ms2m.ts';
import { exchangesOf, queuesOf } from './queues.ts';
import type { Scene } from './steps.ts';

/** A message that was routed before a change of routing is in its queue within this. */
const SETTLE_MS = 250;

/** An app that does not do as it is told for so long does not listen. */
export const OBEYS_WITHIN_MS = 8_000;
/** One that is not to be brought home for so long (it is gone, or never left) is left where it is. */
export const HOME_WITHIN_MS = 20_000;

export const disobeyed = ({ source, queues }: Pick<Scene, 'source' | 'queues'>): ShadowError =>
  new ShadowError('SHADOW_E_CONTROL', `${source} has not left ${queues.primary} when it was told to`);

/** The pod has no sidecar: it is moved by the control protocol. */
export const isBare = ({ status }: Pick<StatefulMigration, 'status'>): boolean =>
  status?.strategy === 'Sequential' || status?.handoffs?.some(({ queues }) => queues !== undefined) === true;

export const sceneOf = async (
  ctx: Context,
  { spec }: StatefulMigration,
  handoff: Handoff,
  { undoing, elapsedMs }: Pick<Scene, 'undoing' | 'elapsedMs'>,
): Promise<Scene> => {
  const { queueName, brokerUrl, exchangeName, routingKey } = queueConfigOf(spec);
  return {
    broker: await ctx.queueWork.broker(brokerUrl),
    queues: queuesOf(queueName),
    exchanges: exchangesOf(queueName),
    binding: { exchange: exchangeName, key: routingKey },
    source: handoff.source.name,
    copy: handoff.copy.name,
    undoing,
    replayMode: spec.replayMode || 'Cutoff',
    cutoffMs: (spec.replayCutoffSeconds ?? 0) * 1_000,
    elapsedMs,
    settleMs: SETTLE_MS,
    pause: ctx.queueWork.pause,
    now: ctx.now,
    memory: ctx.queueWork.memory(handoff.claim),
  };
};
