/** Which Services send traffic to a pod, and whether they do so now. Pure. */
import type { V1EndpointSlice, V1Pod, V1Service } from '@kubernetes/client-node';
import { uidOf } from './pods.ts';

const SERVICE_NAME = 'kubernetes.io/service-name';

/** Services without a selector have endpoints of their own making, those that are a DNS name only have none. */
export const selecting = (services: readonly V1Service[], pod: V1Pod): V1Service[] =>
  services.filter(({ spec }) => {
    const wanted = spec?.type === 'ExternalName' ? [] : Object.entries(spec?.selector ?? {});
    return wanted.length > 0 && wanted.every(([key, value]) => pod.metadata?.labels?.[key] === value);
  });

/** Is an address of the pod ready in a slice of that Service? What the slice does not say counts as ready (API convention). */
export const isReadyIn = (slices: readonly V1EndpointSlice[], service: V1Service, pod: V1Pod): boolean =>
  slices
    .filter(({ metadata }) => metadata?.labels?.[SERVICE_NAME] === service.metadata?.name)
    .flatMap(({ endpoints }) => endpoints ?? [])
    .some(({ targetRef, conditions }) => targetRef?.uid === uidOf(pod) && conditions?.ready !== false);

/** A Service that publishes addresses of pods that are not ready never takes one away for that. */
export const publishesAlways = ({ spec }: V1Service): boolean => spec?.publishNotReadyAddresses === true;
