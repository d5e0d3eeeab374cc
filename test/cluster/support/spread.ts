/** Our components where an installation has them: one of a kind on each node. */
import type { V1Pod } from '@kubernetes/client-node';
import { until } from '../../../scripts/demonstration/until.ts';
import { NAMESPACE } from '../../../webhook/api/names.ts';
import { type Bed, installed } from './bed.ts';

const isReady = ({ metadata, status }: V1Pod): boolean =>
  !metadata?.deletionTimestamp &&
  (status?.conditions ?? []).some(({ type, status: is }) => type === 'Ready' && is === 'True');

const nodesOf = (pods: readonly V1Pod[]): number => new Set(pods.map(({ spec }) => spec?.nodeName)).size;

/**
 * As a descheduler does: where the death of a node has brought both of a kind to the other, Kubernetes leaves them, and the
 * next node to die would take both.
 */
export const spread = async (bed: Bed): Promise<void> => {
  await installed(bed.kube);
  for (const component of ['controller', 'webhook']) {
    const labelSelector = `app.kubernetes.io/component=${component}`;
    const ready = async (): Promise<V1Pod[]> =>
      (await bed.kube.core.listNamespacedPod({ namespace: NAMESPACE, labelSelector })).items.filter(isReady);
    const [one, ...others] = await ready();
    if (one && nodesOf([one, ...others]) < 2)
      await bed.kube.core.deleteNamespacedPod({ namespace: NAMESPACE, name: one.metadata!.name! });
    await until(`${component}s on both nodes`, 60_000, async () => nodesOf(await ready()) === 2);
  }
};
