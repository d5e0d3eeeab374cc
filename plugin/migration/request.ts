/** Asking for an abort. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import type { Api } from '../api.ts';
import { isCommitted, phaseOf } from './model.ts';

/** Throws SHADOW_E_FINISHED, SHADOW_E_COMMITTED. */
export const refuseLate = (migration: StatefulMigration): void => {
  const { name } = migration.metadata;
  if (isEnded(migration)) throw new ShadowError('SHADOW_E_FINISHED', `${name} is ${phaseOf(migration)}`);
  if (isCommitted(migration)) throw new ShadowError('SHADOW_E_COMMITTED', name);
};

/** Asks; the controller decides, for a commit may come first (invariant 5). */
export const requestAbort = (
  api: Api,
  { name, namespace }: StatefulMigration['metadata'],
): Promise<StatefulMigration> =>
  api.call<StatefulMigration>({
    verb: 'patch',
    patch: 'merge',
    kind: 'StatefulMigration',
    namespace,
    name,
    query: { fieldManager: 'kubectl-shadow' },
    body: { spec: { abort: true } },
  });
