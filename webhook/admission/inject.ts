/** Injection: an opted-in pod with the sidecar. Pure; fed its own output it changes nothing. */
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { asShadowError, ShadowError } from '../api/errors.ts';
import { AMQP_PORT, AMQPS_PORT, ANNOTATION, LABEL, PORT } from '../api/names.ts';
import { planBrokers } from './brokers.ts';
import { keysOf, withKeys } from './keys.ts';
import { isNative, sidecarOf } from './pods.ts';
import { type Replacement, rewritten } from './rewrite.ts';
import { sidecarContainer, sidecarVolumes } from './sidecar.ts';

export interface InjectOptions {
  image: string;
  /** Of what is in it. undefined: not known. */
  version?: string | undefined;
  /** Namespace of our components; undefined: NAMESPACE. */
  home?: string | undefined;
  /** Of the request: the object itself need not carry it. */
  namespace: string;
  /** Pods of this cluster may have IPv6 alone. */
  ipv6?: boolean;
}

export interface Injection {
  outcome: 'injected' | 'skipped' | 'unchanged';
  pod: V1Pod;
  /** Of a skip, one line. */
  reason?: string;
}

const refuse = (reason: string): never => {
  throw new ShadowError('SHADOW_E_INJECT', reason);
};

/** What makes a pod impossible to inject, apart from its brokers. */
const check = (pod: V1Pod): void => {
  const spec = pod.spec!;
  if (spec.hostNetwork) refuse('it uses the network of its node (hostNetwork)');
  if (spec.os?.name === 'windows') refuse('it runs on Windows');
  if (pod.metadata?.ownerReferences?.some(({ kind }) => kind === 'Job')) refuse('it belongs to a Job');
  for (const { name, ports } of spec.containers) {
    for (const { containerPort } of ports ?? []) {
      if (containerPort === AMQP_PORT || containerPort === AMQPS_PORT)
        refuse(`container ${name} declares port ${containerPort}: it is a broker itself`);
      if (containerPort === PORT.health)
        refuse(`container ${name} declares port ${PORT.health}, which the sidecar uses`);
    }
  }
};

/** io_uring can't be dumped; the RuntimeDefault filter forbids it and the apps fall back to epoll. */
const withSeccomp = (pod: V1Pod): V1Container[] => {
  const { containers, securityContext } = pod.spec!;
  if (securityContext?.seccompProfile || pod.metadata?.annotations?.[ANNOTATION.seccomp] === 'false') return containers;
  return containers.map((container) =>
    container.securityContext?.seccompProfile || container.securityContext?.privileged
      ? container
      : { ...container, securityContext: { ...container.securityContext, seccompProfile: { type: 'RuntimeDefault' } } },
  );
};

const annotated = (pod: V1Pod, status: string, version?: string): V1Pod => {
  const { [ANNOTATION.version]: _, ...others } = pod.metadata?.annotations ?? {};
  const annotations = { ...others, [ANNOTATION.status]: status, ...(version && { [ANNOTATION.version]: version }) };
  return { ...pod, metadata: { ...pod.metadata, annotations } };
};

const injected = (pod: V1Pod, options: InjectOptions): V1Pod => {
  const { namespace, version, ipv6 = false } = options;
  check(pod);
  const plan = planBrokers(pod, { namespace, ipv6 });
  const spec = pod.spec!;
  const { amqp, amqps } = plan.rewrites;
  const replace: Replacement = (scheme, host) => plan.rewrites[scheme].get(host);
  const keys = keysOf(pod, [...spec.containers, ...(spec.initContainers ?? []).filter((each) => !isNative(each))]);
  const changed = (container: V1Container): V1Container => {
    const keyed = withKeys(container, keys);
    return amqp.size + amqps.size > 0 ? rewritten(keyed, replace) : keyed;
  };
  const led = (list: readonly V1Container[]): V1Container[] => list.map((c) => (isNative(c) ? c : changed(c)));
  const volumes = sidecarVolumes(plan.secret);
  const own = volumes.map(({ name }) => name);
  if (spec.volumes?.some(({ name }) => own.includes(name))) refuse(`a volume of it is called ${own.join(' or ')}`);
  const sidecar = sidecarContainer(pod, plan, options);
  const after = annotated(pod, 'injected', version);
  return {
    ...after,
    metadata: { ...after.metadata, labels: { ...pod.metadata?.labels, [LABEL.injected]: 'true' } },
    spec: {
      ...spec,
      containers: led(withSeccomp(pod)),
      // First: everything after it, other init containers too, finds the broker's name served.
      initContainers: [sidecar, ...led(spec.initContainers ?? [])],
      volumes: [...(spec.volumes ?? []), ...volumes],
      ...(plan.aliases.length > 0 && { hostAliases: [...(spec.hostAliases ?? []), ...plan.aliases] }),
    },
  };
};

/**
 * A pod that asks for it by label is injected or refused (throws SHADOW_E_INJECT, SHADOW_E_NO_BROKER); one that is opted in by
 * its namespace is injected or admitted untouched but for an annotation saying why.
 */
export const inject = (pod: V1Pod, options: InjectOptions): Injection => {
  const wish = pod.metadata?.labels?.[LABEL.inject];
  // A mirror pod only shows what a kubelet runs already.
  const mirror = pod.metadata?.annotations?.['kubernetes.io/config.mirror'] !== undefined;
  if (wish === 'false' || mirror || sidecarOf(pod)) return { outcome: 'unchanged', pod };
  try {
    return { outcome: 'injected', pod: injected(pod, options) };
  } catch (thrown) {
    const error = asShadowError(thrown);
    if (wish === 'true' || error.code === 'SHADOW_E_INTERNAL') throw error;
    return { outcome: 'skipped', pod: annotated(pod, `skipped: ${error.message}`), reason: error.message };
  }
};
