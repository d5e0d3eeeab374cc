/** Migrations that are made to ask something, and are gone when it is answered. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { API_VERSION, KIND, type MigrationSpec, type StatefulMigration } from '../../webhook/api/migration.ts';
import { type Api, ApiError, isNotFound } from '../api.ts';

export interface Wanted {
  namespace: string;
  spec: MigrationSpec & { sourcePod: string };
  /** uid of the pod, as far as it may be read: should nobody delete the object, it goes with its pod. */
  podUid?: string | undefined;
}

const objectOf = (generateName: string, { namespace, spec, podUid }: Wanted) => ({
  apiVersion: API_VERSION,
  kind: KIND,
  metadata: {
    generateName,
    namespace,
    ...(podUid === undefined
      ? {}
      : { ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: spec.sourcePod, uid: podUid }] }),
  },
  spec,
});

/** `what` an older release does not know. Throws SHADOW_E_API of one, ApiError. */
export const createPassing = async (
  api: Api,
  generateName: string,
  wanted: Wanted,
  what: string,
): Promise<StatefulMigration> => {
  try {
    return await api.call<StatefulMigration>({
      verb: 'create',
      kind: 'StatefulMigration',
      namespace: wanted.namespace,
      // A field that the cluster's schema does not know would be dropped in silence, and with it that nothing is to be moved.
      query: { fieldManager: 'kubectl-shadow', fieldValidation: 'Strict' },
      body: objectOf(generateName, wanted),
    });
  } catch (error) {
    if (error instanceof ApiError && error.message.includes('unknown field'))
      throw new ShadowError('SHADOW_E_API', `the installed release knows no ${what}: it is older than the plugin`, {
        cause: error,
        hint: 'run kubectl shadow install',
      });
    throw error;
  }
};

export const drop = async (api: Api, { namespace, name }: StatefulMigration['metadata']): Promise<void> => {
  try {
    await api.call({ verb: 'delete', kind: 'StatefulMigration', namespace, name });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
};
