/** A pod that has to go on as it is, and what of it would show that it did not. */
import type { V1Pod } from '@kubernetes/client-node';
import { expect } from 'vitest';
import { getPod } from '../../../scripts/demonstration/kube.ts';
import { rabbitmqctl } from '../../../scripts/playground/lib.ts';
import type { Bed } from './bed.ts';

/** The pod's connections as the broker names them: address, port and time of connecting. */
const connections = async (pod: V1Pod): Promise<string[]> => {
  const { stdout } = await rabbitmqctl(['-q', 'list_connections', 'name', 'connected_at', '--no-table-headers']);
  const own = stdout.split('\n').filter((line) => line.startsWith(`${pod.status?.podIP}:`));
  expect(own, stdout).not.toEqual([]);
  return own.sort();
};

/** All of a pod that a rehearsal has to leave alone; that it was ready throughout shows by when it became so. */
export const stateOf = async (bed: Bed, pod: string): Promise<object> => {
  const found = await getPod(bed.kube, bed.namespace, pod);
  const { metadata, spec, status } = found!;
  return {
    ...{ uid: metadata?.uid, labels: metadata?.labels, annotations: metadata?.annotations, node: spec?.nodeName },
    ready: status?.conditions
      ?.filter(({ type }) => /Ready/.test(type))
      .map(({ status: is, lastTransitionTime }) => ({
        ...{ is, since: lastTransitionTime },
      })),
    restarts: status?.containerStatuses?.map(({ restartCount }) => restartCount),
    connections: await connections(found!),
    others: (await bed.kube.core.listNamespacedPod({ namespace: bed.namespace })).items.length,
  };
};

export interface Served {
  requests: number;
  failed: string[];
}

/** Requests to the app, one after another, as long as `act` takes. */
export const whileAsked = async <T>(bed: Bed, pod: string, act: () => Promise<T>): Promise<[T, Served]> => {
  const address = (await getPod(bed.kube, bed.namespace, pod))?.status?.podIP;
  const served: Served = { requests: 0, failed: [] };
  let over = false;
  const asking = (async () => {
    while (!over) {
      served.requests += 1;
      const answer = fetch(`http://${address}:8080/`, { signal: AbortSignal.timeout(10_000) });
      await answer.then(
        async (response) => {
          await response.text();
          if (!response.ok) served.failed.push(String(response.status));
        },
        (error: unknown) => void served.failed.push(String(error)),
      );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  try {
    return [await act(), served];
  } finally {
    over = true;
    await asking;
  }
};
