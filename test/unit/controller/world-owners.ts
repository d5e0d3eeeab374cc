/** Who makes the world's pods: a StatefulSet with one pod, or a Deployment's ReplicaSet with one. */
import type { V1Pod } from '@kubernetes/client-node';
import { asRestoreTarget } from '../../../webhook/admission/restore.ts';
import { restoreTarget } from '../../../webhook/admission/targets.ts';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { ANNOTATION, LABEL, SIDECAR } from '../../../webhook/api/names.ts';
import { isLeaving, isReady } from '../../../webhook/controller/pods.ts';
import type { World } from './world.ts';
import { checkLeaving } from './world-rules.ts';

export const NS = 'default';
export type OwnerKind = 'StatefulSet' | 'Deployment';
export const SET = 'consumer';
export const POD = `${SET}-0`;
export const REPLICA_SET = 'web-7d9f';
export const REPLICA = `${REPLICA_SET}-x2k4p`;
const HASH = '7d9f';

const OF: Record<OwnerKind, { name: string; labels: Record<string, string>; owner: { kind: string; name: string } }> = {
  StatefulSet: {
    name: POD,
    labels: { [LABEL.statefulSetPod]: POD, 'controller-revision-hash': 'r1' },
    owner: { kind: 'StatefulSet', name: SET },
  },
  Deployment: {
    name: REPLICA,
    labels: { [LABEL.templateHash]: HASH },
    owner: { kind: 'ReplicaSet', name: REPLICA_SET },
  },
};

const ownerReference = (kind: OwnerKind) => ({
  apiVersion: 'apps/v1',
  uid: 'set',
  controller: true,
  ...OF[kind].owner,
});

/** `bare`: without the sidecar. */
export const podSpec = (kind: OwnerKind = 'StatefulSet', name = OF[kind].name, bare = false): V1Pod => ({
  metadata: {
    name,
    namespace: NS,
    labels: { app: 'consumer', ...(bare ? {} : { [LABEL.injected]: 'true' }), ...OF[kind].labels },
    annotations: {},
    ownerReferences: [ownerReference(kind)],
  },
  spec: {
    ...(bare ? {} : { initContainers: [{ name: SIDECAR.container, image: 'shadow:1', restartPolicy: 'Always' }] }),
    containers: [
      {
        ...{ name: 'app', image: 'app:1', ports: [{ name: 'http', containerPort: 8080 }] },
        resources: { requests: { cpu: '100m', memory: '64Mi' } },
      },
    ],
  },
});

export interface Replicas {
  act(world: World): void;
}

export const statefulSet: Replicas = {
  act: (world) => {
    if (world.pods.has(POD)) return;
    if (world.restoreConfig === undefined) {
      world.start(podSpec('StatefulSet', POD, world.bare), 'one');
      return;
    }
    try {
      const target = restoreTarget(podSpec('StatefulSet', POD, world.bare), [...world.migrations.values()]);
      world.put(asRestoreTarget(podSpec('StatefulSet', POD, world.bare), target));
    } catch (error) {
      if (!(error instanceof ShadowError)) throw error;
    }
  },
};

const cost = ({ metadata }: V1Pod): number => Number(metadata?.annotations?.[ANNOTATION.deletionCost] ?? 0);
const owned = ({ metadata }: V1Pod): boolean => metadata?.ownerReferences?.[0]?.uid === 'set';

/** Adopts what has its label, then makes or drops until there is one: what is not ready goes first, then the cheapest. */
export const replicaSet: Replicas = {
  act: (world) => {
    for (const pod of world.pods.values())
      if (pod.metadata?.labels?.[LABEL.templateHash] === HASH && !owned(pod) && !isLeaving(pod)) {
        if (!isReady(pod)) world.violate('the set adopts a pod that is not ready');
        pod.metadata.ownerReferences = [ownerReference('Deployment')];
      }
    const mine = [...world.pods.values()].filter((pod) => owned(pod) && !isLeaving(pod));
    if (mine.length === 0) world.start(podSpec('Deployment', `${REPLICA_SET}-${world.next()}`, world.bare), 'one');
    if (mine.length < 2) return;
    mine.sort((a, b) => Number(isReady(a)) - Number(isReady(b)) || cost(a) - cost(b));
    const [dropped] = mine;
    const { state = '', process } = world.sidecars.get(dropped?.metadata?.uid ?? '') ?? {};
    if (process === world.original && !world.bare && !['superseded', 'closed'].includes(state))
      world.violate(`the set drops a pod whose sidecar is ${state}`);
    checkLeaving(world, dropped?.metadata?.uid ?? '');
    if (dropped?.metadata !== undefined) dropped.metadata.deletionTimestamp = new Date(world.time);
  },
};
