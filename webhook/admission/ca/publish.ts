/** The CA's certificate to everyone who has to trust us: webhook configurations (the API server) and ConfigMaps (the sidecars). */
import type { V1ConfigMap } from '@kubernetes/client-node';
import { CA, LABEL } from '../../api/names.ts';
import type { Operation } from '../patch.ts';

/** A webhook configuration as far as it concerns us. */
export interface ConfigLike {
  webhooks?: { name: string; clientConfig: { caBundle?: string } }[];
}

/** Nothing to do: none. Each operation holds only if the entry is still the one that was read. */
export const bundlePatch = (
  config: ConfigLike,
  bundle: string,
): (Operation | { op: 'test'; path: string; value: string })[] => {
  const value = Buffer.from(bundle).toString('base64');
  return (config.webhooks ?? []).flatMap(({ name, clientConfig }, i) =>
    clientConfig.caBundle === value
      ? []
      : [
          { op: 'test' as const, path: `/webhooks/${i}/name`, value: name },
          { op: 'add' as const, path: `/webhooks/${i}/clientConfig/caBundle`, value },
        ],
  );
};

export const caConfigMap = (namespace: string, bundle: string): V1ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: CA, namespace, labels: { 'app.kubernetes.io/name': 'kubectl-shadow', [LABEL.ca]: 'true' } },
  data: { 'ca.crt': bundle },
});

export interface PublisherLike {
  /** Ours. */
  readonly namespace: string;
  /** Puts the bundle into the webhook configurations that are there. */
  patchConfigs(patch: (config: ConfigLike) => ReturnType<typeof bundlePatch>): Promise<void>;
  /** All ConfigMaps called shadow-ca, of any namespace. */
  configMaps(): Promise<V1ConfigMap[]>;
  /** false: it was there already. */
  createConfigMap(map: V1ConfigMap): Promise<boolean>;
  updateConfigMap(map: V1ConfigMap): Promise<void>;
}

const isOurs = (map: V1ConfigMap): boolean => map.metadata?.labels?.[LABEL.ca] === 'true';

export const publish = async (api: PublisherLike, bundle: string): Promise<void> => {
  await api.patchConfigs((config) => bundlePatch(config, bundle));
  const maps = await api.configMaps();
  if (!maps.some(({ metadata }) => metadata?.namespace === api.namespace)) {
    await api.createConfigMap(caConfigMap(api.namespace, bundle));
  }
  for (const map of maps) {
    if (isOurs(map) && map.data?.['ca.crt'] !== bundle) {
      await api.updateConfigMap({ ...map, data: { ...map.data, 'ca.crt': bundle } });
    }
  }
};
