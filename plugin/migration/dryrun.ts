/** A migration that is only looked at: made, waited for, deleted, however the waiting ends. The pod is not touched. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { API_VERSION, KIND, type MigrationSpec, type StatefulMigration } from '../../webhook/api/migration.ts';
import { type Api, ApiError, isNotFound } from '../api.ts';
import { follow } from './follow.ts';

export interface Wanted {
  namespace: string;
  spec: MigrationSpec & { sourcePod: string };
  /** uid of the pod, as far as it may be read: should nobody delete the object, it goes with its pod. */
  podUid?: string | undefined;
}

const objectOf = ({ namespace, spec, podUid }: Wanted) => ({
  apiVersion: API_VERSION,
  kind: KIND,
  metadata: {
    generateName: 'shadow-check-',
    namespace,
    ...(podUid === undefined
      ? {}
      : { ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: spec.sourcePod, uid: podUid }] }),
  },
  // A controller of an earlier release knows no dry run: to it this one is aborted before it begins.
  spec: { ...spec, dryRun: true, abort: true },
});

const create = async (api: Api, wanted: Wanted): Promise<StatefulMigration> => {
  try {
    return await api.call<StatefulMigration>({
      verb: 'create',
      kind: 'StatefulMigration',
      namespace: wanted.namespace,
      // A field that the cluster's schema does not know would be dropped in silence, and with it that nothing is to be touched.
      query: { fieldManager: 'kubectl-shadow', fieldValidation: 'Strict' },
      body: objectOf(wanted),
    });
  } catch (error) {
    if (error instanceof ApiError && error.message.includes('unknown field'))
      throw new ShadowError('SHADOW_E_API', 'the installed release knows no dry runs: it is older than the plugin', {
        cause: error,
        hint: 'run kubectl shadow install',
      });
    throw error;
  }
};

const drop = async (api: Api, { namespace, name }: StatefulMigration['metadata']): Promise<void> => {
  try {
    await api.call({ verb: 'delete', kind: 'StatefulMigration', namespace, name });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
};

/**
 * The ended dry run: status.assessment says what was found. Throws SHADOW_E_TIMEOUT when the controller has not looked in
 * `timeoutMs`, SHADOW_E_ABORTED when `signal` was aborted before; the object is deleted in any case.
 */
export const dryRun = async (
  api: Api,
  wanted: Wanted,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<StatefulMigration> => {
  const created = await create(api, wanted);
  const late = AbortSignal.timeout(timeoutMs);
  try {
    let last = created;
    for await (const state of follow(api, created.metadata, AbortSignal.any([signal, late]))) last = state;
    if (signal.aborted) throw new ShadowError('SHADOW_E_ABORTED', 'the dry run was broken off');
    if (late.aborted && last.status?.completionTime === undefined)
      throw new ShadowError('SHADOW_E_TIMEOUT', `the controller did not look at the pod in ${timeoutMs / 1000} s`, {
        hint: 'kubectl shadow check says what is wrong with the installation',
      });
    if (last.status?.phase === 'Aborted')
      throw new ShadowError('SHADOW_E_API', 'the controller knows no dry runs: it is older than the plugin', {
        hint: 'run kubectl shadow install',
      });
    return last;
  } finally {
    await drop(api, created.metadata);
  }
};
