/**
 * Pods that restore from a checkpoint: the shadow, made by the controller of the living source, and the successor, made by the
 * StatefulSet's controller and patched by the restore webhook. Pure. What CRIU needs stays as in the source: volumes, mounts,
 * env, commands. See docs/adr/0002-restore-targets.md.
 */
import type { V1Container, V1ObjectMeta, V1Pod, V1PodSpec } from '@kubernetes/client-node';
import { ShadowError } from '../api/errors.ts';
import { ANNOTATION, LABEL, RUNTIME_CLASS, SIDECAR, shadowName } from '../api/names.ts';
import { isNative, sidecarOf } from './pods.ts';
import { RESTRICTED } from './sidecar.ts';

export interface RestoreTarget {
  claim: string;
  node: string;
  /** `container`: first ordinary container, so that the kubelet starts all in one pass; `init`: native sidecar. */
  sidecarForm: 'init' | 'container';
  /** Container name → image reference the copy runs, pinned; others stay as they are. */
  images: Readonly<Record<string, string>>;
  /** Of the sidecar that is restored; undefined: as the pod says. */
  version?: string | undefined;
  /** The pod has no sidecar, and is to have none. */
  bare?: boolean;
  /** Of init containers that have nothing to do; absent: the sidecar's. Of a pod without one. */
  noopImage?: string;
}

type InitForm = 'noop' | 'omit';

const without = <T extends object, K extends keyof T>(from: T, ...keys: K[]): Omit<T, K> => {
  const rest = { ...from };
  for (const key of keys) delete rest[key];
  return rest;
};

/** A restored process is past its start: nothing of a start may delay or repeat it. */
const restored = (container: V1Container, pod: V1Pod, images: RestoreTarget['images']): V1Container => {
  const image = images[container.name];
  const { lifecycle, readinessProbe } = container;
  const keepHook = pod.metadata?.annotations?.[ANNOTATION.postStart] === 'allow';
  const changed: V1Container = without(container, 'startupProbe');
  // The agent has pulled it already: no registry is asked within the pause.
  if (image !== undefined) Object.assign(changed, { image, imagePullPolicy: 'IfNotPresent' });
  if (readinessProbe) changed.readinessProbe = without(readinessProbe, 'initialDelaySeconds');
  if (lifecycle?.postStart && !keepHook) {
    changed.lifecycle = without(lifecycle, 'postStart');
    if (Object.keys(changed.lifecycle).length === 0) delete changed.lifecycle;
  }
  return changed;
};

/** The source's init containers have done their work; it is in the checkpoint. */
const noop = (container: V1Container, image: string): V1Container => ({
  name: container.name,
  image,
  imagePullPolicy: 'IfNotPresent',
  args: ['-e', '0'],
  ...(container.resources && { resources: container.resources }),
  securityContext: RESTRICTED,
});

const isNoop = (container: V1Container): boolean => container.args?.[0] === '-e' && container.args[1] === '0';

const containersOf = (
  pod: V1Pod,
  target: RestoreTarget,
  init: InitForm,
): Pick<V1PodSpec, 'containers' | 'initContainers'> => {
  const spec = pod.spec!;
  const found = sidecarOf(pod);
  if (!found && !target.bare) throw new ShadowError('SHADOW_E_NOT_INJECTED', pod.metadata?.name ?? '');
  const copy = (container: V1Container): V1Container => restored(container, pod, target.images);
  const others = (list: V1Container[] | undefined): V1Container[] =>
    (list ?? []).filter(({ name }) => name !== SIDECAR.container);
  const sidecar = found && copy(found);
  const initContainers = others(spec.initContainers).flatMap((container) => {
    if (isNative(container)) return [container];
    if (init === 'omit') return [];
    return [isNoop(container) ? container : noop(container, sidecar?.image ?? target.noopImage ?? '')];
  });
  const containers = others(spec.containers).map(copy);
  if (sidecar === undefined) return { containers, initContainers };
  return target.sidecarForm === 'container'
    ? { containers: [without(sidecar, 'restartPolicy'), ...containers], initContainers }
    : { containers, initContainers: [{ ...sidecar, restartPolicy: 'Always' }, ...initContainers] };
};

/** An injected pod as a restore target; asked again of its own output it changes nothing. Throws SHADOW_E_NOT_INJECTED. */
export const asRestoreTarget = (pod: V1Pod, target: RestoreTarget, init: InitForm = 'noop'): V1Pod => {
  const spec: V1PodSpec = {
    // overhead is the RuntimeClass's; a pod with a node has no scheduling left to gate.
    ...without(pod.spec!, 'overhead', 'schedulingGates'),
    ...containersOf(pod, target, init),
    runtimeClassName: RUNTIME_CLASS,
    nodeName: target.node,
  };
  if (spec.initContainers?.length === 0) delete spec.initContainers;
  const annotations: Record<string, string> = {
    ...pod.metadata?.annotations,
    // A webhook that has been upgraded meanwhile injects another than is restored.
    ...(target.version && { [ANNOTATION.version]: target.version }),
    [ANNOTATION.restore]: target.claim,
  };
  return { ...pod, metadata: { ...pod.metadata, annotations }, spec };
};

/** What the cluster wrote on the source about the source itself. */
const RUNTIME_ANNOTATIONS =
  /^(cni\.projectcalico\.org\/|k8s\.v1\.cni\.cncf\.io\/network-?status|k8s\.ovn\.org\/pod-networks|kubectl\.kubernetes\.io\/last-applied|kubernetes\.io\/config\.)/;
const OWN_ANNOTATIONS: readonly string[] = [ANNOTATION.restore, ANNOTATION.commit, ANNOTATION.look, ANNOTATION.probe];

const shadowMeta = (source: V1Pod, migrationUid: string, name: string): V1ObjectMeta => {
  const kept = Object.entries(source.metadata?.annotations ?? {}).filter(
    ([key]) => !RUNTIME_ANNOTATIONS.test(key) && !OWN_ANNOTATIONS.includes(key),
  );
  return {
    name,
    namespace: source.metadata!.namespace!,
    // The source's: Services select the shadow as they select it, by name of a StatefulSet's pod too. But the one by which a
    // ReplicaSet would adopt it, and drop another: that comes after the commit.
    labels: {
      ...without(source.metadata?.labels ?? {}, LABEL.templateHash),
      [LABEL.migration]: migrationUid,
      [LABEL.role]: 'target',
    },
    annotations: Object.fromEntries(kept),
  };
};

/**
 * The shadow of a living pod. It owns nothing and is owned by nobody (deleting a migration never takes a pod with it); its
 * name is none the StatefulSet's controller would adopt. The volume of the ServiceAccount's token is kept under its name, so
 * that admission adds no second one and its mounts stay where they were.
 */
export const shadowPod = (source: V1Pod, target: RestoreTarget & { migrationUid: string; name?: string }): V1Pod => {
  const spec = without(source.spec!, 'nodeName', 'ephemeralContainers');
  const alone: V1Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: shadowMeta(source, target.migrationUid, target.name ?? shadowName(source.metadata!.name!)),
    // Two that consume by the MS2M protocol are told apart by their host names; one with the sidecar is to see no change.
    spec: target.bare ? without(spec, 'hostname') : spec,
  };
  return asRestoreTarget(alone, target, 'omit');
};
