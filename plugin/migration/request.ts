/** What is asked of the API for a migration: to make it, to abort it. */
import { ShadowError } from '../../webhook/api/errors.ts';
import {
  API_VERSION,
  type Driver,
  isEnded,
  KIND,
  type MigrationSpec,
  type OnDivergence,
  type StatefulMigration,
  type Strategy,
  type TransferMode,
} from '../../webhook/api/migration.ts';
import type { Api } from '../api.ts';
import { usage } from '../options.ts';
import { isCommitted, phaseOf } from './model.ts';

export interface SpecFlags {
  to?: string | undefined;
  strategy?: Strategy | undefined;
  driver?: Driver | undefined;
  transfer?: TransferMode | undefined;
  repository?: string | undefined;
  onDivergence?: OnDivergence | undefined;
}

/** Throws SHADOW_E_USAGE: the two go together. What the repository is called, the webhook judges. */
export const assertTransfer = ({ transfer, repository }: SpecFlags): void => {
  if (transfer === 'Registry' && !repository) throw usage('--transfer Registry needs --repository HOST/PATH');
  if (repository && transfer !== 'Registry') throw usage('--repository is for --transfer Registry');
};

export const specOf = (pod: string, flags: SpecFlags): MigrationSpec => ({
  sourcePod: pod,
  ...(flags.to ? { targetNode: flags.to } : {}),
  ...(flags.strategy ? { migrationStrategy: flags.strategy } : {}),
  ...(flags.driver ? { checkpointDriver: flags.driver } : {}),
  ...(flags.transfer ? { transferMode: flags.transfer } : {}),
  ...(flags.repository ? { checkpointImageRepository: flags.repository } : {}),
  ...(flags.onDivergence ? { onDivergence: flags.onDivergence } : {}),
});

/** Pod names may be longer than what leaves room for the generated suffix; the API server cuts, and may cut at a dot. */
const prefixOf = (pod: string): string => `${pod.slice(0, 50).replace(/[.-]+$/, '')}-`;

/** The object before the API server has given it a name. */
export const bodyOf = (namespace: string, pod: string, flags: SpecFlags) => ({
  apiVersion: API_VERSION,
  kind: KIND,
  metadata: { generateName: prefixOf(pod), namespace },
  spec: specOf(pod, flags),
});

const FIELD_MANAGER = 'kubectl-shadow';

/** `dryRun`: the API server and its webhooks check it, and keep nothing. */
export const create = (
  api: Api,
  namespace: string,
  pod: string,
  flags: SpecFlags,
  dryRun = false,
): Promise<StatefulMigration> =>
  api.call<StatefulMigration>({
    verb: 'create',
    kind: 'StatefulMigration',
    namespace,
    query: { fieldManager: FIELD_MANAGER, ...(dryRun ? { dryRun: 'All' } : {}) },
    body: bodyOf(namespace, pod, flags),
  });

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
    query: { fieldManager: FIELD_MANAGER },
    body: { spec: { abort: true } },
  });
