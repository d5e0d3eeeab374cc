/** Small questions about pods. Pure. */
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { SIDECAR } from '../api/names.ts';

/** A native sidecar: ours or a mesh's. Other init containers run once and end. */
export const isNative = (container: V1Container): boolean => container.restartPolicy === 'Always';

/** Our sidecar, whichever list of the pod it is in. */
export const sidecarOf = (pod: V1Pod): V1Container | undefined =>
  [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].find(({ name }) => name === SIDECAR.container);
