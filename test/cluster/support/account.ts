/** Somebody else than the cluster's administrator. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { apply } from '../../../scripts/demonstration/kube.ts';
import type { Bed } from './bed.ts';

/** A ServiceAccount of the bed without any right of its own; gives the kubeconfig, in `scratch`. It is valid for ten minutes. */
export const accountIn = async (bed: Bed, name: string, scratch: string): Promise<string> => {
  const { namespace, kube } = bed;
  await apply(kube, [{ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } }]);
  const { status } = await kube.core.createNamespacedServiceAccountToken({
    name,
    namespace,
    body: { spec: { audiences: [], expirationSeconds: 600 } },
  });
  const cluster = kube.config.getCurrentCluster()!;
  const kubeconfig = join(scratch, `${name}.json`);
  const ca = cluster.caData ?? readFileSync(cluster.caFile!).toString('base64');
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster: { server: cluster.server, 'certificate-authority-data': ca } }],
      users: [{ name: 'u', user: { token: status?.token } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace } }],
      'current-context': 'x',
    }),
  );
  return kubeconfig;
};
