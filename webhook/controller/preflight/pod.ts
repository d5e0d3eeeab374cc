/** What of a pod can't be moved, and why. Pure. */
import type { V1Container, V1Pod, V1PodSpec, V1Volume } from '@kubernetes/client-node';
import { ShadowError } from '../../api/errors.ts';
import type { MigrationSpec } from '../../api/migration.ts';
import { ANNOTATION, LABEL, RUNTIME_CLASS, SIDECAR } from '../../api/names.ts';
import { appContainers, isLeaving, isOurSidecar, isReady } from '../pods.ts';

const SPEC: readonly { when: (spec: V1PodSpec) => boolean; text: string }[] = [
  { when: (spec) => spec.hostNetwork === true, text: 'hostNetwork' },
  { when: (spec) => spec.hostPID === true, text: 'hostPID' },
  { when: (spec) => spec.hostIPC === true, text: 'hostIPC' },
  { when: (spec) => spec.shareProcessNamespace === true, text: 'shareProcessNamespace' },
  { when: (spec) => spec.hostUsers === false, text: 'hostUsers: false (a user namespace)' },
  {
    when: ({ runtimeClassName }) => runtimeClassName !== undefined && runtimeClassName !== RUNTIME_CLASS,
    text: 'a runtimeClassName of its own',
  },
];

const CONTAINER: readonly { when: (container: V1Container) => boolean; text: string }[] = [
  { when: ({ securityContext }) => securityContext?.privileged === true, text: 'is privileged' },
  { when: ({ volumeDevices }) => (volumeDevices ?? []).length > 0, text: 'uses block devices' },
  {
    when: ({ resources }) =>
      Object.keys({ ...resources?.limits, ...resources?.requests }).some(
        (name) => name.includes('/') && !name.startsWith('hugepages-'),
      ),
    text: 'uses devices of the node',
  },
  { when: ({ tty }) => tty === true, text: 'has a terminal (tty)' },
];

const VOLUME: readonly { when: (volume: V1Volume) => boolean; text: string }[] = [
  {
    when: ({ persistentVolumeClaim, ephemeral }) => persistentVolumeClaim !== undefined || ephemeral !== undefined,
    text: 'is a persistent volume: its pod can have no copy beside it; this release moves pods without one only',
  },
  { when: ({ hostPath }) => hostPath !== undefined, text: 'is a hostPath: it belongs to the node' },
  { when: ({ csi }) => csi !== undefined, text: 'is an inline CSI volume: it belongs to the node' },
];

/** One line each. */
export const unsupported = (pod: V1Pod): string[] => {
  const spec = pod.spec ?? { containers: [] };
  const hooks = pod.metadata?.annotations?.[ANNOTATION.postStart] === 'allow' ? [] : appContainers(pod);
  return [
    ...SPEC.filter(({ when }) => when(spec)).map(({ text }) => text),
    ...appContainers(pod).flatMap((container) =>
      CONTAINER.filter(({ when }) => when(container)).map(({ text }) => `container ${container.name} ${text}`),
    ),
    ...hooks
      .filter(({ lifecycle }) => lifecycle?.postStart !== undefined)
      .map(
        ({ name }) => `container ${name} has a postStart hook, which would run again (${ANNOTATION.postStart}: allow)`,
      ),
    ...(spec.volumes ?? []).flatMap((volume) =>
      VOLUME.filter(({ when }) => when(volume)).map(({ text }) => `volume ${volume.name} ${text}`),
    ),
    ...((spec.ephemeralContainers ?? []).length > 0 ? ['it has ephemeral (debug) containers'] : []),
  ];
};

export const isInjected = (pod: V1Pod): boolean =>
  pod.metadata?.labels?.[LABEL.injected] === 'true' &&
  [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])].some(isOurSidecar);

export const isServing = (pod: V1Pod): boolean => pod.status?.phase === 'Running' && !isLeaving(pod) && isReady(pod);

const stateOf = (pod: V1Pod): string => {
  if (isLeaving(pod)) return 'being deleted';
  return pod.status?.phase === 'Running' ? 'not ready' : (pod.status?.phase ?? 'unknown');
};

/** What of a pod's state keeps it from being migrated now. `bare`: without the sidecar. */
export const stateRefusals = (pod: V1Pod, bare = false): ShadowError[] => {
  const name = pod.metadata?.name ?? '';
  return [
    ...(isInjected(pod) || bare ? [] : [new ShadowError('SHADOW_E_NOT_INJECTED', name)]),
    ...(pod.metadata?.labels?.[LABEL.migration] === undefined
      ? []
      : [new ShadowError('SHADOW_E_BUSY', `${name} is the shadow of a migration`)]),
    ...(isServing(pod) ? [] : [new ShadowError('SHADOW_E_POD_NOT_RUNNING', `${name} is ${stateOf(pod)}`)]),
  ];
};

/** Throws by name what keeps this pod from being migrated now. `bare`: without the sidecar. */
export const checkPod = (pod: V1Pod, bare = false): void => {
  const [refusal] = stateRefusals(pod, bare);
  if (refusal !== undefined) throw refusal;
  const reasons = unsupported(pod);
  if (reasons.length > 0) throw new ShadowError('SHADOW_E_UNSUPPORTED', reasons.join('; '));
};

/** The reference moves one container, we move them all: but a name that is none of them was meant for another pod. */
export const checkContainerName = ({ containerName }: MigrationSpec, pod: V1Pod): void => {
  const names = appContainers(pod).map(({ name }) => name);
  if (!containerName || names.includes(containerName)) return;
  throw new ShadowError(
    'SHADOW_E_INVALID',
    `spec.containerName: ${pod.metadata?.name ?? ''} has no container "${containerName}"; it has ${names.join(', ')}, and all of them move (leave it empty)`,
  );
};

/**
 * What moves with the pod otherwise than its author may think, one line each. A preStop hook: the source's app is killed when
 * its copy serves, and runs no shutdown code (steps/retiring.ts).
 */
export const cutShort = (pod: V1Pod): string[] =>
  appContainers(pod)
    .filter(({ lifecycle }) => lifecycle?.preStop !== undefined)
    .map(
      ({ name }) =>
        `container ${name} has a preStop hook: of the source it is cut short, for its app is killed at once`,
    );

/** Image a copy runs, by container: by digest where the runtime tells one, else as the pod names it. */
export const pinnedImages = (pod: V1Pod): { name: string; image: string }[] => {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  const cloned = [
    ...(pod.spec?.initContainers ?? []).filter(({ name }) => name === SIDECAR.container),
    ...(pod.spec?.containers ?? []),
  ];
  return cloned.map(({ name, image = '' }) => {
    const id = statuses.find((status) => status.name === name)?.imageID ?? '';
    return { name, image: id.includes('@') ? id.replace(/^[a-z-]+:\/\//, '') : image };
  });
};
