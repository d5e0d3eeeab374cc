/** Pods without the sidecar: may they be moved by the control protocol, and how? */
import type { V1Pod } from '@kubernetes/client-node';
import { ShadowError } from '../../api/errors.ts';
import type { MigrationSpec } from '../../api/migration.ts';
import type { Broker } from '../ms2m/broker.ts';
import type { QueueConfig } from '../ms2m/queues.ts';
import type { QueueWork } from '../ms2m/work.ts';
import { isInjected } from './pod.ts';
import type { Chosen, OwnerKind } from './strategy.ts';

/** The manifest says how its queue is reached, and there is no sidecar that would know better. */
export const isBareRequest = ({ messageQueueConfig: config }: MigrationSpec, pod: V1Pod): boolean =>
  !isInjected(pod) && Boolean(config?.queueName || config?.brokerUrl || config?.exchangeName);

/** All of it. Throws SHADOW_E_INVALID, naming what is missing; the routing key may be empty. */
export const queueConfigOf = ({ messageQueueConfig: config }: MigrationSpec): QueueConfig => {
  const complete = {
    queueName: config?.queueName ?? '',
    brokerUrl: config?.brokerUrl ?? '',
    exchangeName: config?.exchangeName ?? '',
  };
  const missing = Object.entries(complete).find(([, value]) => value === '')?.[0];
  if (missing !== undefined)
    throw new ShadowError(
      'SHADOW_E_INVALID',
      `spec.messageQueueConfig.${missing} is empty: a pod without the sidecar is moved with the help of queueName, brokerUrl and exchangeName`,
    );
  return { ...complete, routingKey: config?.routingKey ?? '' };
};

/** As the reference has it: Sequential of a StatefulSet, ShadowPod of a Deployment, unless asked for. Throws SHADOW_E_NOT_INJECTED. */
export const chooseBare = ({ migrationStrategy }: MigrationSpec, pod: V1Pod, kind: OwnerKind): Chosen => {
  if (migrationStrategy === 'Sequential' || migrationStrategy === 'ShadowPod')
    return { strategy: migrationStrategy, strategyReason: 'asked for' };
  if (!migrationStrategy || migrationStrategy === 'Auto')
    return {
      strategy: kind === 'StatefulSet' ? 'Sequential' : 'ShadowPod',
      strategyReason: 'the pod has no sidecar: it is moved by the control protocol of messageQueueConfig',
    };
  throw new ShadowError('SHADOW_E_NOT_INJECTED', `${pod.metadata?.name ?? ''}, and ${migrationStrategy} needs it`);
};

const checkQueue = async (broker: Broker, { queueName }: QueueConfig): Promise<void> => {
  const depth = await broker.depth(queueName);
  if (depth === undefined) throw new ShadowError('SHADOW_E_QUEUE', `there is no queue ${queueName}`);
  if (depth.consumers !== 1)
    throw new ShadowError(
      'SHADOW_E_QUEUE',
      `${queueName} has ${depth.consumers} consumers: with one alone it is known who has had what`,
    );
  if (await broker.isQuorum(queueName))
    throw new ShadowError(
      'SHADOW_E_QUEUE',
      `${queueName} is a quorum queue: what an app returns to it loses its place`,
    );
};

/** The queue that the manifest names. Throws SHADOW_E_INVALID, SHADOW_E_QUEUE. */
export const checkConfiguredQueue = async (work: QueueWork, spec: MigrationSpec): Promise<void> => {
  const config = queueConfigOf(spec);
  await checkQueue(await work.broker(config.brokerUrl), config);
};
