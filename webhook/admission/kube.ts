/** The thin edge to the API server. */
import {
  AdmissionregistrationV1Api,
  ApiException,
  CoreV1Api,
  CustomObjectsApi,
  type KubeConfig,
  type V1Pod,
} from '@kubernetes/client-node';
import { GROUP, PLURAL, type StatefulMigration, VERSION } from '../api/migration.ts';
import {
  ANNOTATION,
  CA,
  INJECT_WEBHOOK_CONFIG,
  RESTORE_WEBHOOK_CONFIG,
  VALIDATE_WEBHOOK_CONFIG,
  WEBHOOK,
} from '../api/names.ts';
import type { ConfigLike, PublisherLike } from './ca/publish.ts';
import { Conflict, type SecretsLike } from './ca/secrets.ts';

const isCode = (error: unknown, code: number): boolean => error instanceof ApiException && error.code === code;

const orUndefined = (error: unknown): undefined => {
  if (isCode(error, 404)) return undefined;
  throw error;
};
/** 404 too: the Secret was deleted between read and write. */
const asConflict = (error: unknown): never => {
  if (isCode(error, 409) || isCode(error, 404)) throw new Conflict('another was first', { cause: error });
  throw error;
};

export const secretsOf = (core: CoreV1Api, namespace: string): SecretsLike => ({
  namespace,
  read: (name) => core.readNamespacedSecret({ name, namespace }).catch(orUndefined),
  create: (body) => core.createNamespacedSecret({ namespace, body }).catch(asConflict),
  update: (body) => core.replaceNamespacedSecret({ name: body.metadata!.name!, namespace, body }).catch(asConflict),
});

export const publisherOf = (
  core: CoreV1Api,
  admission: AdmissionregistrationV1Api,
  namespace: string,
): PublisherLike => ({
  namespace,
  patchConfigs: async (patch) => {
    for (const name of [INJECT_WEBHOOK_CONFIG, RESTORE_WEBHOOK_CONFIG]) {
      const config = await admission.readMutatingWebhookConfiguration({ name }).catch(orUndefined);
      const body = config ? patch(config as ConfigLike) : [];
      if (body.length > 0) await admission.patchMutatingWebhookConfiguration({ name, body });
    }
    const name = VALIDATE_WEBHOOK_CONFIG;
    const config = await admission.readValidatingWebhookConfiguration({ name }).catch(orUndefined);
    const body = config ? patch(config as ConfigLike) : [];
    if (body.length > 0) await admission.patchValidatingWebhookConfiguration({ name, body });
  },
  // By name: the role allows no other list.
  configMaps: async () => (await core.listConfigMapForAllNamespaces({ fieldSelector: `metadata.name=${CA}` })).items,
  createConfigMap: async (body) => {
    try {
      await core.createNamespacedConfigMap({ namespace: body.metadata!.namespace!, body });
      return true;
    } catch (error) {
      if (isCode(error, 409)) return false;
      throw error;
    }
  },
  updateConfigMap: async (body) => {
    const { name, namespace } = body.metadata!;
    await core.replaceNamespacedConfigMap({ name: name!, namespace: namespace!, body });
  },
});

export const migrationsOf =
  (custom: CustomObjectsApi) =>
  async (namespace: string): Promise<StatefulMigration[]> => {
    const list = await custom.listNamespacedCustomObject({ group: GROUP, version: VERSION, plural: PLURAL, namespace });
    return (list as { items: StatefulMigration[] }).items;
  };

/** On the owner, which people look at: the pod itself is not there yet. */
export const skippedEvent =
  (core: CoreV1Api) =>
  async (pod: V1Pod, namespace: string, reason: string): Promise<void> => {
    const owner = pod.metadata?.ownerReferences?.find(({ controller }) => controller === true);
    const now = new Date();
    await core.createNamespacedEvent({
      namespace,
      body: {
        metadata: { generateName: 'shadow-skipped-', namespace },
        involvedObject: owner
          ? { apiVersion: owner.apiVersion, kind: owner.kind, name: owner.name, uid: owner.uid, namespace }
          : { apiVersion: 'v1', kind: 'Pod', name: pod.metadata?.name ?? pod.metadata?.generateName ?? '', namespace },
        type: 'Normal',
        reason: 'InjectionSkipped',
        message: `${pod.metadata?.name ?? 'a pod'} has no shadow sidecar: ${reason} (annotation ${ANNOTATION.status})`,
        source: { component: WEBHOOK },
        firstTimestamp: now,
        lastTimestamp: now,
        count: 1,
      },
    });
  };

export interface Kube {
  secrets: SecretsLike;
  publisher: PublisherLike;
  migrations: ReturnType<typeof migrationsOf>;
  skipped: ReturnType<typeof skippedEvent>;
}

/** `namespace`: ours. */
export const kubeOf = (config: KubeConfig, namespace: string): Kube => {
  const core = config.makeApiClient(CoreV1Api);
  return {
    secrets: secretsOf(core, namespace),
    publisher: publisherOf(core, config.makeApiClient(AdmissionregistrationV1Api), namespace),
    migrations: migrationsOf(config.makeApiClient(CustomObjectsApi)),
    skipped: skippedEvent(core),
  };
};
