/** Which migration is meant. */
import { ShadowError } from '../../webhook/api/errors.ts';
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { type Api, isNotFound, listAll } from '../api.ts';
import { podName } from '../options.ts';
import { newestFirst, podOf } from './model.ts';

/** undefined: all namespaces. A list that is not there means that we are not installed. */
export const listMigrations = async (api: Api, namespace: string | undefined): Promise<StatefulMigration[]> => {
  try {
    return await listAll<StatefulMigration>(api, { kind: 'StatefulMigration', namespace });
  } catch (error) {
    if (isNotFound(error)) throw new ShadowError('SHADOW_E_NOT_INSTALLED', '', { cause: error });
    throw error;
  }
};

/**
 * NAME: the migration so named, or else the newest of the pod so named; pod/NAME: the newest of that pod; nothing: the
 * newest of all. Throws SHADOW_E_MIGRATION_NOT_FOUND.
 */
export const pick = (
  migrations: readonly StatefulMigration[],
  wanted: string | undefined,
  namespace: string,
): StatefulMigration => {
  const sorted = newestFirst(migrations);
  const named = wanted?.includes('/') ? undefined : sorted.find(({ metadata }) => metadata.name === wanted);
  const pod = wanted === undefined ? undefined : podName(wanted);
  const found = named ?? (pod === undefined ? sorted[0] : sorted.find((migration) => podOf(migration) === pod));
  if (!found) {
    throw new ShadowError(
      'SHADOW_E_MIGRATION_NOT_FOUND',
      `${wanted === undefined ? 'none' : wanted} in namespace ${namespace}`,
    );
  }
  return found;
};

export const findMigration = async (
  api: Api,
  namespace: string,
  wanted: string | undefined,
): Promise<StatefulMigration> => pick(await listMigrations(api, namespace), wanted, namespace);
