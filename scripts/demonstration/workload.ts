/** The example on the cluster and at the broker: up, read, down. */
import { join } from 'node:path';
import type { Channel } from 'amqplib';
import { declare, EVENTS, OUTPUTS } from '../../manifests/examples/broker.ts';
import type { Snapshot } from '../../manifests/examples/consumer/state.ts';
import { applyFile, deleteNamespace, getPod, type Kube, waitReady } from './kube.ts';
import { until } from './until.ts';

export const NAMESPACE = 'shadow-demo';
export const PODS = ['consumer-0', 'consumer-1'] as const;
const MANIFEST = join(import.meta.dirname, '../../manifests/examples/consumer.yaml');

export const clearBroker = async (channel: Channel): Promise<void> => {
  for (const { exchange, queue } of [EVENTS, OUTPUTS]) {
    await channel.deleteQueue(queue);
    await channel.deleteExchange(exchange);
  }
};

/** From nothing: what a killed run left goes first. */
export const deploy = async (kube: Kube, channel: Channel): Promise<void> => {
  await deleteNamespace(kube, NAMESPACE);
  await clearBroker(channel);
  await declare(channel);
  await applyFile(kube, MANIFEST);
  await Promise.all(PODS.map((name) => waitReady(kube, NAMESPACE, name, 180_000)));
};

export const remove = async (kube: Kube, channel: Channel): Promise<void> => {
  await deleteNamespace(kube, NAMESPACE);
  await clearBroker(channel);
};

const getJson = async <T>(url: string): Promise<T> => {
  const response = await fetch(url, { signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return (await response.json()) as T;
};

/** What the replica of that name remembers now, asked at its pod's address. */
export const readState = (kube: Kube, name: string, namespace: string = NAMESPACE): Promise<Snapshot> =>
  until(`the state of ${name}`, 30_000, async () => {
    const ip = (await getPod(kube, namespace, name))?.status?.podIP;
    return ip ? getJson<Snapshot>(`http://${ip}:8080/state`) : undefined;
  });

export const readStates = (kube: Kube): Promise<Snapshot[]> => Promise.all(PODS.map((name) => readState(kube, name)));

/** Restarts of the app's containers in the pods there are now; the sidecar's are its own. */
export const restarts = async (kube: Kube): Promise<number> => {
  const pods = await Promise.all(PODS.map((name) => getPod(kube, NAMESPACE, name)));
  return pods
    .flatMap((pod) => pod?.status?.containerStatuses ?? [])
    .filter(({ name }) => name === 'consumer')
    .reduce((sum, { restartCount }) => sum + restartCount, 0);
};

export const serviceAddress = async (kube: Kube, name: string): Promise<string> => {
  const service = await kube.core.readNamespacedService({ namespace: NAMESPACE, name });
  return `http://${service.spec?.clusterIP}:8080/`;
};
