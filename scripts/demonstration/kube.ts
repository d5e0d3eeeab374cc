/** The little of Kubernetes the demonstration and the cluster tests need, typed, over one kubeconfig. */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AppsV1Api,
  CoreV1Api,
  CustomObjectsApi,
  KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  loadAllYaml,
  PatchStrategy,
  type V1Pod,
} from '@kubernetes/client-node';
import { GROUP, PLURAL, type StatefulMigration, VERSION } from '../../webhook/api/migration.ts';
import { until } from './until.ts';

export interface Kube {
  config: KubeConfig;
  core: CoreV1Api;
  apps: AppsV1Api;
  custom: CustomObjectsApi;
  objects: KubernetesObjectApi;
}

export const kubeFrom = (kubeconfig: string): Kube => {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  return {
    config,
    core: config.makeApiClient(CoreV1Api),
    apps: config.makeApiClient(AppsV1Api),
    custom: config.makeApiClient(CustomObjectsApi),
    objects: KubernetesObjectApi.makeApiClient(config),
  };
};

/** Whether the cluster of that kubeconfig answers. */
export const reachable = async (kubeconfig: string): Promise<boolean> => {
  if (!existsSync(kubeconfig)) return false;
  const answer = kubeFrom(kubeconfig).core.listNode();
  const late = sleep(5000, false, { ref: false });
  return Promise.race([
    answer.then(
      () => true,
      () => false,
    ),
    late,
  ]);
};

/** HTTP status of a failed API call; undefined when it never got an answer. */
export const statusOf = (error: unknown): number | undefined => {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'number' ? code : undefined;
};

/** The result, or undefined when there is no such object. */
export const orMissing = <T>(call: Promise<T>): Promise<T | undefined> =>
  call.catch((error: unknown) => {
    if (statusOf(error) === 404) return undefined;
    throw error;
  });

export const manifestObjects = (text: string): KubernetesObject[] =>
  loadAllYaml(text).filter((object: KubernetesObject | null) => object !== null) as KubernetesObject[];

/** Server-side apply, in the order given. */
export const apply = async (kube: Kube, objects: readonly KubernetesObject[]): Promise<void> => {
  for (const object of objects)
    await kube.objects.patch(object, undefined, undefined, 'shadow-demo', true, PatchStrategy.ServerSideApply);
};

export const applyFile = (kube: Kube, path: string): Promise<void> =>
  apply(kube, manifestObjects(readFileSync(path, 'utf8')));

/** Deletes a namespace with all in it and waits until it is gone. */
export const deleteNamespace = async (kube: Kube, name: string, timeoutMs = 120_000): Promise<void> => {
  await orMissing(kube.core.deleteNamespace({ name }));
  await until(`namespace ${name} to be gone`, timeoutMs, async () => {
    return (await orMissing(kube.core.readNamespace({ name }))) === undefined;
  });
};

export const getPod = (kube: Kube, namespace: string, name: string): Promise<V1Pod | undefined> =>
  orMissing(kube.core.readNamespacedPod({ namespace, name }));

export const isReady = (pod: V1Pod | undefined): pod is V1Pod =>
  pod !== undefined &&
  pod.metadata?.deletionTimestamp === undefined &&
  (pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false);

export const waitReady = (kube: Kube, namespace: string, name: string, timeoutMs = 120_000): Promise<V1Pod> =>
  until(`pod ${namespace}/${name} to be ready`, timeoutMs, async () => {
    const pod = await getPod(kube, namespace, name);
    return isReady(pod) ? pod : undefined;
  });

/** Nodes that take ordinary pods. */
export const workers = async (kube: Kube): Promise<string[]> => {
  const { items } = await kube.core.listNode();
  return items
    .filter((node) => !node.spec?.unschedulable && !node.spec?.taints?.some(({ effect }) => effect === 'NoSchedule'))
    .map((node) => node.metadata?.name ?? '');
};

export const otherNode = async (kube: Kube, node: string | undefined): Promise<string> => {
  const other = (await workers(kube)).find((name) => name !== node);
  if (other === undefined) throw new Error(`no node but ${node} takes pods`);
  return other;
};

export const listMigrations = async (kube: Kube, namespace: string): Promise<StatefulMigration[]> => {
  const list = (await kube.custom.listNamespacedCustomObject({
    group: GROUP,
    version: VERSION,
    namespace,
    plural: PLURAL,
  })) as { items: StatefulMigration[] };
  return list.items;
};
