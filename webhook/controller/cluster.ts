/** The cluster as the steps see it: mirrors for what is watched, plain calls for the rest. */
import type {
  V1ConfigMap,
  V1Deployment,
  V1EndpointSlice,
  V1MutatingWebhookConfiguration,
  V1Node,
  V1Pod,
  V1ReplicaSet,
  V1Secret,
  V1Service,
  V1StatefulSet,
} from '@kubernetes/client-node';
import { GROUP, PLURAL, type StatefulMigration, VERSION } from '../api/migration.ts';
import { CA, CONTROLLER, LABEL, RESTORE_WEBHOOK_CONFIG } from '../api/names.ts';
import type { Cluster } from './context.ts';
import { type Meta, Reflector, type Source } from './reflector.ts';
import { isStatus, type Rest } from './rest.ts';

/** A watch is asked to end by itself after this long, and given up when it was silent for longer: a dead connection shows. */
const WATCH_SECONDS = 25;
const SILENT_MS = 35_000;

/** From the API server's own cache: asked often, and a moment old does no harm. */
const CACHED = { query: { resourceVersion: '0' } };
const APPS = (namespace: string) => `/apis/apps/v1/namespaces/${namespace}`;
const ENDPOINT_SLICES = (namespace: string) => `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
const PODS = (namespace: string) => `/api/v1/namespaces/${namespace}/pods`;
const MIGRATIONS = `/apis/${GROUP}/${VERSION}`;
const migrationPath = (namespace: string, name: string) => `${MIGRATIONS}/namespaces/${namespace}/${PLURAL}/${name}`;
const RESTORE_CONFIGS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';

interface List<T> {
  items: T[];
  metadata: { resourceVersion: string };
}

/** List and watch of one path. */
export const sourceOf = <T extends Meta>(rest: Rest, path: string, query: Record<string, string> = {}): Source<T> => ({
  list: async () => {
    const { items, metadata } = await rest.call<List<T>>('GET', path, { query });
    return { items, resourceVersion: metadata.resourceVersion };
  },
  watch: (resourceVersion, onEvent, signal) =>
    rest.watch(
      path,
      { ...query, resourceVersion, timeoutSeconds: WATCH_SECONDS, allowWatchBookmarks: 'true' },
      onEvent,
      { signal, idleMs: SILENT_MS },
    ),
});

const unless404 = (error: unknown): undefined => {
  if (isStatus(error, 404)) return undefined;
  throw error;
};

export interface Mirrors {
  migrations: Reflector<StatefulMigration>;
  /** Pods the webhook injected, and so every copy of one. */
  pods: Reflector<V1Pod>;
}

export const mirror = (
  rest: Rest,
  onMigration: (migration: StatefulMigration) => void,
  onPod: (pod: V1Pod) => void,
): Mirrors => ({
  migrations: new Reflector(sourceOf<StatefulMigration>(rest, `${MIGRATIONS}/${PLURAL}`), onMigration),
  pods: new Reflector(sourceOf<V1Pod>(rest, '/api/v1/pods', { labelSelector: `${LABEL.injected}=true` }), onPod),
});

export const createCluster = (
  rest: Rest,
  { migrations, pods }: Mirrors,
  { namespace: home, instance, onError }: { namespace: string; instance: string; onError: (error: unknown) => void },
): Cluster => {
  const learned = (migration: StatefulMigration): StatefulMigration => {
    migrations.learn(migration);
    return migration;
  };
  return {
    migrations: () => migrations.all(),
    readMigration: (namespace, name) =>
      rest.call<StatefulMigration>('GET', migrationPath(namespace, name)).then(learned).catch(unless404),
    writeStatus: (migration) =>
      rest
        .call<StatefulMigration>(
          'PUT',
          `${migrationPath(migration.metadata.namespace, migration.metadata.name)}/status`,
          { body: migration },
        )
        .then(learned),
    writeFinalizers: ({ metadata: { namespace, name, resourceVersion } }, finalizers) =>
      rest
        .call<StatefulMigration>('PATCH', migrationPath(namespace, name), {
          body: { metadata: { resourceVersion, finalizers } },
        })
        .then(learned)
        .catch(unless404),

    pod: (namespace, name) => pods.get(namespace, name),
    readPod: (namespace, name) => rest.call<V1Pod>('GET', `${PODS(namespace)}/${name}`).catch(unless404),
    createPod: async (pod, options) => {
      const query = options?.dryRun ? { dryRun: 'All' } : {};
      try {
        const made = await rest.call<V1Pod>('POST', PODS(pod.metadata?.namespace ?? ''), { body: pod, query });
        // Of others it hears nothing, and would take this for how they are.
        if (!options?.dryRun && made.metadata?.labels?.[LABEL.injected] === 'true') pods.learn(made);
        return made;
      } catch (error) {
        if (isStatus(error, 409) && (error as { reason?: string }).reason === 'AlreadyExists') return undefined;
        throw error;
      }
    },
    deletePod: async (namespace, name, uid, gracePeriodSeconds) => {
      try {
        await rest.call('DELETE', `${PODS(namespace)}/${name}`, {
          body: { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds, preconditions: { uid } },
        });
      } catch (error) {
        if (!isStatus(error, 404) && !isStatus(error, 409)) throw error;
      }
    },
    patchPod: async (namespace, name, metadata) => {
      await rest.call<V1Pod>('PATCH', `${PODS(namespace)}/${name}`, { body: { metadata } }).catch(unless404);
    },

    statefulSet: (namespace, name) =>
      rest.call<V1StatefulSet>('GET', `${APPS(namespace)}/statefulsets/${name}`).catch(unless404),
    replicaSet: (namespace, name) =>
      rest.call<V1ReplicaSet>('GET', `${APPS(namespace)}/replicasets/${name}`).catch(unless404),
    deployment: (namespace, name) =>
      rest.call<V1Deployment>('GET', `${APPS(namespace)}/deployments/${name}`).catch(unless404),
    services: async (namespace) =>
      (await rest.call<List<V1Service>>('GET', `/api/v1/namespaces/${namespace}/services`, CACHED)).items,
    endpointSlices: async (namespace) =>
      (await rest.call<List<V1EndpointSlice>>('GET', ENDPOINT_SLICES(namespace), CACHED)).items,
    listPods: async (namespace) => (await rest.call<List<V1Pod>>('GET', PODS(namespace))).items,
    listAllPods: async () =>
      (
        await rest.call<List<V1Pod>>('GET', '/api/v1/pods', {
          query: { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed', resourceVersion: '0' },
        })
      ).items,
    nodes: async () =>
      (await rest.call<List<V1Node>>('GET', '/api/v1/nodes', { query: { resourceVersion: '0' } })).items,

    readSecret: (namespace, name) =>
      rest.call<V1Secret>('GET', `/api/v1/namespaces/${namespace}/secrets/${name}`).catch(unless404),
    readConfigMap: (namespace, name) =>
      rest.call<V1ConfigMap>('GET', `/api/v1/namespaces/${namespace}/configmaps/${name}`).catch(unless404),

    caBundle: async () => {
      const map = await rest.call<V1ConfigMap>('GET', `/api/v1/namespaces/${home}/configmaps/${CA}`);
      return map.data?.['ca.crt'] ?? '';
    },
    restoreConfig: () =>
      rest.call<V1MutatingWebhookConfiguration>('GET', `${RESTORE_CONFIGS}/${RESTORE_WEBHOOK_CONFIG}`).catch(unless404),
    writeRestoreConfig: async (config) => {
      if (config.metadata?.resourceVersion === undefined) await rest.call('POST', RESTORE_CONFIGS, { body: config });
      else await rest.call('PUT', `${RESTORE_CONFIGS}/${RESTORE_WEBHOOK_CONFIG}`, { body: config });
    },
    deleteRestoreConfig: async ({ metadata }) => {
      const preconditions = { uid: metadata?.uid, resourceVersion: metadata?.resourceVersion };
      await rest
        .call('DELETE', `${RESTORE_CONFIGS}/${RESTORE_WEBHOOK_CONFIG}`, {
          body: { kind: 'DeleteOptions', apiVersion: 'v1', preconditions },
        })
        .catch(unless404);
    },

    event: (about, type, reason, message) => {
      const now = new Date().toISOString();
      const apiVersion = about.kind === 'Pod' ? 'v1' : `${GROUP}/${VERSION}`;
      rest
        .call('POST', `/api/v1/namespaces/${about.namespace}/events`, {
          body: {
            apiVersion: 'v1',
            kind: 'Event',
            metadata: { generateName: `${about.name}.`, namespace: about.namespace },
            involvedObject: { ...about, apiVersion },
            reason,
            message: message.slice(0, 1_000),
            type,
            count: 1,
            firstTimestamp: now,
            lastTimestamp: now,
            source: { component: CONTROLLER },
            reportingComponent: CONTROLLER,
            reportingInstance: instance,
          },
        })
        .catch(onError);
    },
  };
};
