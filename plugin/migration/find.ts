/** Which migration is meant. */
import { ShadowError } from '../../webhook/api/errors.ts';
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { type Api, isNotFound, listAll } from '../api.ts';
import { podName } from '../options.ts';
import { didYouMean } from '../suggest.ts';
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

const notFound = (
  migrations: readonly StatefulMigration[],
  wanted: string | undefined,
  namespace: string,
): ShadowError => {
  const names = migrations.flatMap((each) => [each.metadata.name, podOf(each)]);
  const hint = wanted === undefined ? '' : didYouMean(wanted.replace(/^[^/]*\//, ''), names);
  return new ShadowError(
    'SHADOW_E_MIGRATION_NOT_FOUND',
    `${wanted ?? 'none'} in namespace ${namespace}`,
    hint ? { hint } : {},
  );
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
  if (!found) throw notFound(sorted, wanted, namespace);
  return found;
};

/** Each once; no name: the newest of all. */
export const findMigrations = async (
  api: Api,
  namespace: string,
  wanted: readonly string[],
): Promise<StatefulMigration[]> => {
  const all = await listMigrations(api, namespace);
  const found = (wanted.length > 0 ? wanted : [undefined]).map((each) => pick(all, each, namespace));
  return [...new Set(found)];
};
