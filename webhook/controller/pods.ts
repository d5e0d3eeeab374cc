/** Questions about a pod, answered from its object alone. */
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { sidecarOf } from '../admission/pods.ts';
import type { PodId } from '../api/agent.ts';
import { ShadowError } from '../api/errors.ts';
import type { Handoff, PodRef } from '../api/migration.ts';
import { SIDECAR } from '../api/names.ts';

export const uidOf = (pod: V1Pod): string => pod.metadata?.uid ?? '';

export const podId = (namespace: string, ref: PodRef): PodId => {
  if (ref.uid === undefined) throw new ShadowError('SHADOW_E_INTERNAL', `the uid of ${ref.name} is not known`);
  return { namespace, name: ref.name, uid: ref.uid };
};

export const isOurSidecar = (container: V1Container): boolean => container.name === SIDECAR.container;

/** Containers that do the app's work; native sidecars of others (a mesh) are init containers and are not cloned. */
export const appContainers = (pod: V1Pod): V1Container[] =>
  (pod.spec?.containers ?? []).filter((container) => !isOurSidecar(container));

/** What is cloned, in start order: our sidecar, if there is one (native in the source, ordinary in a shadow), is the first. */
export const clonedContainers = (pod: V1Pod): { name: string; sidecar: boolean }[] => [
  ...(sidecarOf(pod) === undefined ? [] : [{ name: SIDECAR.container, sidecar: true }]),
  ...appContainers(pod).map(({ name }) => ({ name, sidecar: false })),
];

/** Beside the cloned containers nothing runs in it. */
export const isClonedWhole = (pod: V1Pod): boolean => {
  const native = (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return native.every(isOurSidecar);
};

export const imagesOf = (pod: V1Pod): string[] => [
  ...new Set(
    [...(pod.spec?.initContainers ?? []).filter(isOurSidecar), ...(pod.spec?.containers ?? [])].flatMap(({ image }) =>
      image === undefined ? [] : [image],
    ),
  ),
];

const hasCondition = (pod: V1Pod, type: string): boolean =>
  (pod.status?.conditions ?? []).some((condition) => condition.type === type && condition.status === 'True');

export const isReady = (pod: V1Pod): boolean => hasCondition(pod, 'Ready');
export const isLeaving = (pod: V1Pod): boolean => pod.metadata?.deletionTimestamp !== undefined;
export const isOver = (pod: V1Pod): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';

/** Is this the very pod meant, and does it still run? */
export const serves = (pod: V1Pod | undefined, ref: PodRef): pod is V1Pod =>
  pod !== undefined && uidOf(pod) === ref.uid && !isOver(pod);

/** The statuses of the cloned containers, as far as the kubelet has told. */
const clonedStatuses = (pod: V1Pod) => {
  const cloned = new Set(clonedContainers(pod).map(({ name }) => name));
  return [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])].filter(({ name }) =>
    cloned.has(name),
  );
};

/** The kubelet knows that all cloned containers run: from here on it probes them. */
export const isKnownToRun = (pod: V1Pod): boolean => {
  const statuses = clonedStatuses(pod);
  return (
    statuses.length === clonedContainers(pod).length && statuses.every(({ state }) => state?.running !== undefined)
  );
};

/**
 * What contradicts that the containers of a copy are the restored ones. The kubelet tells a container's id only at its
 * next look at the runtime (up to 1 s): what it has not told yet contradicts nothing, the agent has proven it.
 */
export const foreignContainer = (pod: V1Pod, restored: readonly { name: string; id: string }[]): string | undefined => {
  const ids = new Map(restored.map(({ name, id }) => [name, id]));
  for (const status of clonedStatuses(pod)) {
    if (status.restartCount > 0) return `${status.name} was restarted`;
    const id = status.containerID?.replace(/^[a-z-]+:\/\//, '');
    const expected = ids.get(status.name);
    if (expected !== undefined && id !== undefined && id !== '' && id !== expected)
      return `${status.name} is ${id}, not the restored ${expected}`;
  }
  return undefined;
};

export const refOf = (pod: V1Pod, ref: PodRef): PodRef => ({
  name: ref.name,
  node: ref.node,
  uid: uidOf(pod),
  ...(pod.status?.podIP === undefined ? {} : { ip: pod.status.podIP }),
});

/** Every claim this handoff has ever used, newest first. */
export const attemptsOf = (handoff: Handoff): number[] =>
  Array.from({ length: handoff.attempt }, (_, index) => handoff.attempt - index);

/** As the kubelet makes it of a pod's name (RFC 1123: 63 characters). */
export const hostnameOf = (name: string): string => name.slice(0, 63).replace(/[-.]+$/, '');
