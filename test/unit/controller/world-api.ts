/** The API server of the world: resourceVersions and conflicts. */
import type {
  V1Deployment,
  V1EndpointSlice,
  V1MutatingWebhookConfiguration,
  V1Pod,
  V1ReplicaSet,
  V1Service,
  V1StatefulSet,
} from '@kubernetes/client-node';
import { answeredProbe, isProbe } from '../../../webhook/admission/restore-config.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import { LABEL } from '../../../webhook/api/names.ts';
import type { Cluster } from '../../../webhook/controller/context.ts';
import { ApiError } from '../../../webhook/controller/rest.ts';
import type { World } from './world.ts';
import { REPLICA_SET, SET } from './world-owners.ts';
import { checkCommit, checkLeaving } from './world-rules.ts';

const status = { observedGeneration: 1, replicas: 1, updatedReplicas: 1 };

export const createApi = (world: World): Cluster => {
  const conflict = () => new ApiError(409, 'Conflict', 'overtaken');
  const api =
    <A extends unknown[], T>(name: string, act: (...args: A) => T) =>
    (...args: A): Promise<T> =>
      world.call(name, () => act(...args));
  const stored = (given: StatefulMigration): StatefulMigration => {
    const known = world.migrations.get(given.metadata.name);
    if (known === undefined) throw new ApiError(404, 'NotFound', 'gone');
    if (known.metadata.resourceVersion !== given.metadata.resourceVersion) throw conflict();
    return known;
  };
  return {
    migrations: () => [...world.migrations.values()],
    readMigration: api('readMigration', (_ns: string, name: string) => world.migrations.get(name)),
    writeStatus: api('writeStatus', (given: StatefulMigration) => {
      const written = { ...stored(given), status: given.status!, metadata: { ...given.metadata } };
      for (const handoff of written.status.handoffs ?? []) {
        const before = world.verdict(handoff.claim);
        if (before !== undefined && handoff.decision?.verdict !== before) world.violate('a decision was changed');
        if (before === undefined && handoff.decision?.verdict === 'commit') checkCommit(world, handoff);
      }
      written.metadata.resourceVersion = world.next();
      world.store(written);
      return written;
    }),
    writeFinalizers: api('writeFinalizers', (given: StatefulMigration, finalizers: string[]) => {
      const written = stored(given);
      written.metadata = { ...written.metadata, finalizers, resourceVersion: world.next() };
      world.store(written);
      return world.migrations.get(given.metadata.name);
    }),
    pod: (_ns, name) => world.pods.get(name),
    readPod: api('readPod', (_ns: string, name: string) => world.pods.get(name)),
    createPod: api('createPod', (pod: V1Pod, options?: { dryRun: boolean }) => {
      if (options?.dryRun)
        return isProbe(pod) && world.restoreConfig !== undefined && world.heeded ? answeredProbe(pod) : pod;
      if (world.pods.has(pod.metadata?.name ?? '')) return undefined;
      return world.put(structuredClone(pod));
    }),
    deletePod: api('deletePod', (_ns: string, name: string, uid: string, graceSeconds: number) => {
      const pod = world.pods.get(name);
      if (pod?.metadata?.uid !== uid) return;
      if (pod.metadata.deletionTimestamp === undefined) checkLeaving(world, uid);
      if (graceSeconds === 0) world.lose(name);
      else world.pods.set(name, { ...pod, metadata: { ...pod.metadata, deletionTimestamp: new Date(world.time) } });
    }),
    patchPod: api('patchPod', (_ns: string, name: string, metadata: Parameters<Cluster['patchPod']>[2]) => {
      const pod = world.pods.get(name);
      if (pod?.metadata === undefined) return;
      const merged = (old: Record<string, string> = {}, edit: Record<string, string | null> = {}) =>
        Object.fromEntries(Object.entries({ ...old, ...edit }).filter(([, value]) => value !== null)) as Record<
          string,
          string
        >;
      pod.metadata.annotations = merged(pod.metadata.annotations, metadata.annotations);
      pod.metadata.labels = merged(pod.metadata.labels, metadata.labels);
    }),
    statefulSet: api(
      'statefulSet',
      (): V1StatefulSet => ({
        metadata: { name: SET, uid: 'set', generation: 1 },
        spec: { replicas: 1, selector: {}, serviceName: SET, template: {} },
        status: { observedGeneration: 1, replicas: 1, currentRevision: 'r1', updateRevision: 'r1' },
      }),
    ),
    replicaSet: api(
      'replicaSet',
      (): V1ReplicaSet => ({
        metadata: {
          name: REPLICA_SET,
          uid: 'set',
          labels: { [LABEL.templateHash]: '7d9f' },
          ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'web', controller: true }],
        },
        spec: { replicas: 1, selector: {} },
      }),
    ),
    deployment: api(
      'deployment',
      (): V1Deployment => ({
        metadata: { name: 'web', uid: 'web', generation: 1 },
        spec: { replicas: 1, selector: {}, template: {} },
        status,
      }),
    ),
    services: api('services', (): V1Service[] => [
      {
        metadata: { name: 'consumer' },
        spec: { selector: { app: 'consumer' }, ports: [{ port: 80, targetPort: 'http' }] },
      },
    ]),
    endpointSlices: api('endpointSlices', (): V1EndpointSlice[] => [
      {
        metadata: { name: 'consumer-1', labels: { 'kubernetes.io/service-name': 'consumer' } },
        addressType: 'IPv4',
        endpoints: [...world.endpoints].map(([uid, ready]) => ({
          addresses: ['10.0.0.1'],
          conditions: { ready },
          targetRef: { kind: 'Pod', uid },
        })),
      },
    ]),
    listPods: api('listPods', () => [...world.pods.values()]),
    listAllPods: api('listAllPods', () => [...world.pods.values()]),
    nodes: api('nodes', () => world.kubeNodes),
    readSecret: api('readSecret', (_ns: string, name: string) => {
      if (!world.readable.includes(name)) throw new ApiError(403, 'Forbidden', `secrets "${name}" is forbidden`);
      return world.secrets.get(name);
    }),
    readConfigMap: api('readConfigMap', (_ns: string, name: string) => world.configMaps.get(name)),
    caBundle: api('caBundle', () => 'ca'),
    restoreConfig: api('restoreConfig', () => world.restoreConfig),
    writeRestoreConfig: api('writeRestoreConfig', (config: V1MutatingWebhookConfiguration) => {
      if (config.metadata?.resourceVersion !== world.restoreConfig?.metadata?.resourceVersion) throw conflict();
      world.restoreConfig = {
        ...structuredClone(config),
        metadata: { ...config.metadata, resourceVersion: world.next() },
      };
    }),
    deleteRestoreConfig: api('deleteRestoreConfig', (config: V1MutatingWebhookConfiguration) => {
      if (config.metadata?.resourceVersion !== world.restoreConfig?.metadata?.resourceVersion) throw conflict();
      world.restoreConfig = undefined;
    }),
    event: (_about, _type, reason) => {
      world.events.push(reason);
    },
  };
};
