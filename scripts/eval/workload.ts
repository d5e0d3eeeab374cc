/** The paper's workload on the cluster and at the broker: up, read, and all of it away. */
import type { KubernetesObject, V1Container, V1Pod } from '@kubernetes/client-node';
import type { Channel } from 'amqplib';
import { declare, EVENTS, OUTPUTS } from '../../manifests/examples/broker.ts';
import type { Snapshot } from '../../manifests/examples/consumer/state.ts';
import { GROUP, PLURAL, VERSION } from '../../webhook/api/migration.ts';
import { LABEL } from '../../webhook/api/names.ts';
import { apply, deleteNamespace, isReady, type Kube, listMigrations, orMissing } from '../demonstration/kube.ts';
import { until } from '../demonstration/until.ts';
import { IMAGE } from '../images/ours.ts';
import { rabbitmqctl } from '../playground/lib.ts';
import { type Configuration, isInjected, SHAPE } from './configurations.ts';
import type { App, RunKey } from './results.ts';
import { BROKER_URL, NAME, NAMESPACE } from './workload-names.ts';

export const PYTHON_IMAGE = 'localhost/shadow-eval-python:dev';

const CONTAINER: Readonly<Record<App, Pick<V1Container, 'image' | 'args'>>> = {
  node: { image: IMAGE.examples, args: ['--max-old-space-size=64', '/app/examples/ms2m-consumer.cjs'] },
  python: { image: PYTHON_IMAGE },
};

const containerOf = ({ app, workMs }: Pick<RunKey, 'app' | 'workMs'>): V1Container => ({
  name: NAME,
  ...CONTAINER[app],
  imagePullPolicy: 'IfNotPresent',
  env: [
    { name: 'AMQP_URL', value: BROKER_URL },
    { name: 'PREFETCH', value: '50' },
    { name: 'PROCESSING_DELAY_MS', value: String(workMs) },
  ],
  ports: [{ name: 'http', containerPort: 8080 }],
  readinessProbe: { httpGet: { path: '/', port: 'http' }, periodSeconds: 1 },
  resources: { requests: { cpu: '50m', memory: '64Mi' }, limits: { memory: '192Mi' } },
});

/** Namespace, Services, and the set or Deployment of one replica. */
export const workload = (key: Pick<RunKey, 'app' | 'workMs' | 'config'>): KubernetesObject[] => {
  const labels = { app: NAME };
  const metadata = { name: NAME, namespace: NAMESPACE };
  const template = {
    metadata: { labels: { ...labels, [LABEL.inject]: String(isInjected(key.config)) } },
    spec: {
      terminationGracePeriodSeconds: 5,
      securityContext: {
        ...{ runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000 },
        // It keeps Node.js from io_uring, which no checkpoint can hold.
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [containerOf(key)],
    },
  };
  const { owner } = SHAPE[key.config];
  const objects: (KubernetesObject & Record<string, unknown>)[] = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { selector: labels, ports: [{ name: 'http', port: 8080 }] },
    },
    {
      apiVersion: 'apps/v1',
      kind: owner,
      metadata,
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        ...(owner === 'StatefulSet' ? { serviceName: NAME } : {}),
        template,
      },
    },
  ];
  return objects;
};

export const podsOf = async (kube: Kube): Promise<V1Pod[]> =>
  (await kube.core.listNamespacedPod({ namespace: NAMESPACE, labelSelector: `app=${NAME}` })).items;

const removeMigrations = async (kube: Kube): Promise<void> => {
  for (const { metadata } of await listMigrations(kube, NAMESPACE))
    await orMissing(
      kube.custom.deleteNamespacedCustomObject({
        ...{ group: GROUP, version: VERSION, plural: PLURAL, namespace: NAMESPACE, name: metadata.name },
      }),
    );
  await until('the migration to be gone', 90_000, async () => (await listMigrations(kube, NAMESPACE)).length === 0);
};

const removePods = async (kube: Kube): Promise<void> => {
  const object = { namespace: NAMESPACE, name: NAME };
  await orMissing(kube.apps.deleteNamespacedStatefulSet(object));
  await orMissing(kube.apps.deleteNamespacedDeployment(object));
  await until('the pods to be gone', 90_000, async () => {
    const pods = await podsOf(kube);
    // A copy that belongs to nobody is nobody else's to delete.
    for (const { metadata } of pods)
      if (metadata?.deletionTimestamp === undefined)
        await orMissing(kube.core.deleteNamespacedPod({ namespace: NAMESPACE, name: metadata?.name ?? '' }));
    return pods.length === 0;
  });
};

/** Queues of the workload and of migrations of it, whatever these have called theirs. */
const isOurs = (queue: string): boolean => /^(app\.|ms2m\.)/.test(queue);

const clearBroker = async (channel: Channel): Promise<void> => {
  const { code, stdout, stderr } = await rabbitmqctl(['list_queues', '--quiet', '--no-table-headers', 'name']);
  if (code !== 0) throw new Error(`rabbitmqctl: ${stderr.trim()}`);
  for (const queue of stdout.split('\n').map((line) => line.trim()))
    if (isOurs(queue)) await channel.deleteQueue(queue);
  for (const { exchange } of [EVENTS, OUTPUTS]) await channel.deleteExchange(exchange);
};

/**
 * All a run leaves, however it ended; the namespace stays. The Service goes, for each run needs an address of its own: connections
 * that one left unanswered are remembered by the nodes for two minutes, and would lead astray those of a later one that
 * come from the same ports.
 */
export const clear = async (kube: Kube, channel: Channel): Promise<void> => {
  await removeMigrations(kube);
  await removePods(kube);
  await orMissing(kube.core.deleteNamespacedService({ namespace: NAMESPACE, name: NAME }));
  await clearBroker(channel);
};

/** Every trace. */
export const remove = async (kube: Kube, channel: Channel): Promise<void> => {
  await clear(kube, channel);
  await deleteNamespace(kube, NAMESPACE);
};

/** From nothing. Resolves with the pod when it is ready. */
export const deploy = async (kube: Kube, channel: Channel, key: RunKey): Promise<V1Pod> => {
  await declare(channel);
  await apply(kube, workload(key));
  return until('the consumer to be ready', 120_000, async () => (await podsOf(kube)).find(isReady));
};

/** Resolves once somebody answers there: kube-proxy takes a second or two. */
export const probedAddress = async (kube: Kube): Promise<string> => {
  const service = await kube.core.readNamespacedService({ namespace: NAMESPACE, name: NAME });
  const url = `http://${service.spec?.clusterIP}:8080/`;
  await until('the Service to answer', 30_000, async () => {
    const response = await fetch(url, { signal: AbortSignal.timeout(1000) }).catch(() => undefined);
    await response?.arrayBuffer();
    return response?.ok;
  });
  return url;
};

export type AppState = Snapshot & { connections: number };

/** What each pod of the app remembers that is there to stay. */
export const readStates = (kube: Kube): Promise<AppState[]> =>
  until('the state of the consumer', 60_000, async () => {
    const pods = (await podsOf(kube)).filter(
      ({ metadata, status }) => metadata?.deletionTimestamp === undefined && status?.phase === 'Running',
    );
    if (pods.length === 0) return undefined;
    return Promise.all(
      pods.map(async ({ status }) => {
        const response = await fetch(`http://${status?.podIP}:8080/state`, { signal: AbortSignal.timeout(5000) });
        if (!response.ok) throw new Error(`/state: ${response.status}`);
        return (await response.json()) as AppState;
      }),
    );
  });

export const migrationName = (config: Configuration): string => `eval-${config.toLowerCase()}`;
