/** Kubernetes quantities and what pods ask for. Pure. */
import type { V1Container, V1Pod } from '@kubernetes/client-node';

const FACTOR: Record<string, number> = {
  '': 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** "100m" → 0.1, "1Gi" → 1073741824, "1e3" → 1000. NaN for what is none. */
export const quantity = (text: string): number => {
  const [, number, suffix] = /^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)$/.exec(text) ?? [];
  return Number(number) * (FACTOR[suffix ?? ''] ?? Number.NaN);
};

export type Requests = Record<string, number>;

const add = (a: Requests, b: Requests): Requests => {
  const sum = { ...a };
  for (const [name, value] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + value;
  return sum;
};

const ofContainer = ({ resources }: V1Container): Requests =>
  Object.fromEntries(
    Object.entries({ ...resources?.limits, ...resources?.requests }).map(([name, text]) => [name, quantity(text)]),
  );

/** What the scheduler would count for a pod, ordinary init containers left out: no copy runs one. One pod slot included. */
export const requestsOf = (pod: V1Pod): Requests =>
  [
    ...(pod.spec?.containers ?? []),
    ...(pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always'),
  ]
    .map(ofContainer)
    .reduce(add, { pods: 1 });

export const sumOf = (pods: readonly V1Pod[]): Requests => pods.map(requestsOf).reduce(add, {});

/** Names of resources of which `room` does not hold `times` × `wanted`. */
export const lacking = (room: Requests, wanted: Requests, times: number): string[] =>
  Object.entries(wanted)
    .filter(([name, value]) => value * times > (room[name] ?? 0))
    .map(([name]) => name);
