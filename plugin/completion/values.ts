/** What the cluster or the kubeconfig has to offer at a Tab. Throws what the asked throw. */
import { LABEL } from '../../webhook/api/names.ts';
import { type Api, listAll } from '../api.ts';
import type { Meta, Pod } from '../kinds.ts';
import { listMigrations } from '../migration/find.ts';
import { phaseOf, podOf } from '../migration/model.ts';
import { connectTo } from '../session.ts';
import type { Candidate, Source, Wanted } from './words.ts';

/** As podName (options.ts) takes it off. */
const kindOf = (typed: string): string => /^(pod|pods|po)\//.exec(typed)?.[0] ?? '';

const podsIn = async (api: Api, namespace: string, typed: string): Promise<Candidate[]> =>
  (await listAll<Pod>(api, { kind: 'Pod', namespace })).map(({ metadata, spec }) => ({
    value: kindOf(typed) + metadata.name,
    describe: [spec.nodeName ?? 'on no node', metadata.labels?.[LABEL.injected] === 'true' ? '' : 'no sidecar']
      .filter(Boolean)
      .join(', '),
  }));

const migrationsIn = async (api: Api, namespace: string, typed: string): Promise<Candidate[]> => {
  const migrations = await listMigrations(api, namespace);
  const kind = kindOf(typed);
  if (kind) return [...new Set(migrations.map(podOf))].map((pod) => ({ value: kind + pod }));
  return migrations.map((migration) => ({
    value: migration.metadata.name,
    describe: `${podOf(migration)}, ${phaseOf(migration)}`,
  }));
};

const named = async (api: Api, kind: 'Node' | 'Namespace'): Promise<Candidate[]> =>
  (await listAll<{ metadata: Meta }>(api, { kind })).map(({ metadata }) => ({ value: metadata.name }));

const inCluster = (api: Api, namespace: string, source: Source, typed: string): Promise<Candidate[]> => {
  if (source === 'pods') return podsIn(api, namespace, typed);
  if (source === 'migrations') return migrationsIn(api, namespace, typed);
  return named(api, source === 'nodes' ? 'Node' : 'Namespace');
};

/** `limitMs`: longest wait for one answer. Files and directories are the shell's to find. */
export const lookUp = async ({ source, typed, given }: Wanted, limitMs: number): Promise<Candidate[]> => {
  if (source === undefined || source === 'files' || source === 'directories') return [];
  if (source === 'contexts' || source === 'clusters' || source === 'users') {
    const { configuredNames } = await import('../rest.ts');
    return configuredNames(given.kubeconfig, source).map((value) => ({ value }));
  }
  const asGroup = given['as-group'] === undefined ? undefined : [given['as-group']];
  const { api, namespace } = await connectTo({ ...given, asGroup, requestTimeout: `${limitMs}ms` });
  return inCluster(api, namespace, source, typed);
};
