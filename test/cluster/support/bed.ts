/** What a cluster test stands on: the playground, a namespace of its own, the broker. */
import { type Channel, type ChannelModel, connect } from 'amqplib';
import {
  apply,
  deleteNamespace,
  getPod,
  type Kube,
  kubeFrom,
  otherNode,
  reachable,
  waitReady,
} from '../../../scripts/demonstration/kube.ts';
import { type Migrated, migrate, type PluginResult, runPlugin } from '../../../scripts/demonstration/migrate.ts';
import { until } from '../../../scripts/demonstration/until.ts';
import { brokerUrl, ensureUp, kubeconfigPath, restartBroker } from '../../../scripts/playground/lib.ts';
import type { Strategy } from '../../../webhook/api/migration.ts';
import type { AppSnapshot } from '../apps/worker/app.ts';
import { type AppSpec, appSet, namespaceObject, podNames, statePorts } from './apps.ts';
import { declareTopic, type Finding, Load, type LoadOptions, removeTopic } from './load.ts';

export interface Bed {
  kube: Kube;
  kubeconfig: string;
  namespace: string;
  broker: ChannelModel;
  channel: Channel;
  /** What closeBed stops: a test that failed did not. */
  loads: Load[];
}

/** All of it: a test before may have cut a node's power, and a pod made while no webhook is there is not injected. */
export const installed = (kube: Kube): Promise<unknown> =>
  until('kubectl-shadow to be up', 120_000, async () => {
    const { items } = await kube.apps.listNamespacedDeployment({ namespace: 'shadow-system' });
    return items.every(({ spec, status }) => (status?.availableReplicas ?? 0) >= (spec?.replicas ?? 1));
  });

/** A namespace from nothing: what a killed run left in it goes first. */
export const openBed = async (namespace: string): Promise<Bed> => {
  const kubeconfig = kubeconfigPath();
  if (!(await reachable(kubeconfig))) await ensureUp({ log: (line) => console.error(line) });
  const kube = kubeFrom(kubeconfig);
  await installed(kube);
  await deleteNamespace(kube, namespace);
  await apply(kube, [namespaceObject(namespace)]);
  return { kube, kubeconfig, namespace, ...(await connectBroker()), loads: [] };
};

const connectBroker = async (): Promise<Pick<Bed, 'broker' | 'channel'>> => {
  const broker = await connect(brokerUrl());
  // What breaks shows in the verdict.
  broker.on('error', (error: Error) => console.error(`broker: ${error.message}`));
  return { broker, channel: await broker.createChannel() };
};

/** The broker goes and comes back; with it the bed's own connection, but none of a load. */
export const restartUnder = async (bed: Bed): Promise<void> => {
  const gone = new Promise((resolve) => bed.broker.once('close', resolve));
  await restartBroker();
  await gone;
  Object.assign(bed, await connectBroker());
};

export const closeBed = async (bed: Bed | undefined): Promise<void> => {
  if (!bed) return;
  await Promise.all(bed.loads.map((load) => load.stop()));
  await deleteNamespace(bed.kube, bed.namespace);
  await bed.broker.close();
};

export type Spec = Omit<AppSpec, 'namespace'>;

const inBed = (bed: Bed, spec: Spec): AppSpec => ({ ...spec, namespace: bed.namespace });

/** Queues first, then the set; resolves when its pods are ready. */
export const deployApp = async (bed: Bed, spec: Spec, quorum = false): Promise<void> => {
  await declareTopic(bed.channel, spec.topic, quorum);
  await apply(bed.kube, [appSet(inBed(bed, spec))]);
  await Promise.all(podNames(inBed(bed, spec)).map((name) => waitReady(bed.kube, bed.namespace, name)));
};

export const removeApp = async (bed: Bed, spec: Spec): Promise<void> => {
  await bed.kube.apps.deleteNamespacedStatefulSet({ namespace: bed.namespace, name: spec.topic });
  await Promise.all(
    podNames(inBed(bed, spec)).map((name) =>
      until(`pod ${name} to be gone`, 60_000, async () => !(await getPod(bed.kube, bed.namespace, name))),
    ),
  );
  await removeTopic(bed.channel, spec.topic, podNames(inBed(bed, spec)));
};

export const stateAt = async (bed: Bed, pod: string, port: number): Promise<AppSnapshot> => {
  const ip = (await getPod(bed.kube, bed.namespace, pod))?.status?.podIP;
  const response = await fetch(`http://${ip}:${port}/state`, { signal: AbortSignal.timeout(5000) });
  return (await response.json()) as AppSnapshot;
};

/** What all replicas and containers of the app remember now. */
export const readStates = (bed: Bed, spec: Spec): Promise<AppSnapshot[]> =>
  Promise.all(
    podNames(inBed(bed, spec)).flatMap((pod) =>
      statePorts(inBed(bed, spec)).map((port) =>
        until(`the state of ${pod}:${port}`, 30_000, () => stateAt(bed, pod, port)),
      ),
    ),
  );

export const instances = async (bed: Bed, spec: Spec): Promise<string[]> =>
  (await readStates(bed, spec)).map(({ instance }) => instance);

export const openLoad = async (bed: Bed, spec: Spec, options: LoadOptions): Promise<Load> => {
  const load = await Load.open(bed.broker, spec.topic, options);
  bed.loads.push(load);
  return load;
};

export const finish = (bed: Bed, spec: Spec, load: Load): Promise<Finding> => load.finish(() => readStates(bed, spec));

export const nodeOf = async (bed: Bed, pod: string): Promise<string> => {
  const node = (await getPod(bed.kube, bed.namespace, pod))?.spec?.nodeName;
  if (node === undefined) throw new Error(`pod ${pod} is on no node`);
  return node;
};

/** To the other node, by the plugin; resolves when the plugin has ended. */
export const migrateAway = async (
  bed: Bed,
  pod: string,
  strategy?: Strategy,
): Promise<Migrated & { target: string }> => {
  const target = await otherNode(bed.kube, await nodeOf(bed, pod));
  const migrated = await migrate(
    bed.kube,
    { namespace: bed.namespace, pod, to: target, strategy },
    { kubeconfig: bed.kubeconfig, timeoutMs: 200_000 },
  );
  return { ...migrated, target };
};

export const plugin = (bed: Bed, ...args: string[]): Promise<PluginResult> =>
  runPlugin([...args, '-n', bed.namespace], { kubeconfig: bed.kubeconfig, timeoutMs: 200_000 });
