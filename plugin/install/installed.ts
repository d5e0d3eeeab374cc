/** What of us a cluster has: where, of which versions, with which settings. */
import { GROUP, isEnded, PLURAL, type StatefulMigration } from '../../webhook/api/migration.ts';
import { AGENT, ANNOTATION, CONTROLLER, LABEL, NAMESPACE, WEBHOOK } from '../../webhook/api/names.ts';
import { UNMARKED, VERSION_LABEL } from '../../webhook/api/skew.ts';
import { type Api, getOrNone, isNotFound, listAll } from '../api.ts';
import { findNamespace, listAgents } from '../installation.ts';
import type { DaemonSet, Deployment, Meta, Pod, PodSpec } from '../kinds.ts';
import { type Settings, settingsOf } from './settings.ts';

export interface Part {
  name: string;
  version: string;
  image?: string | undefined;
  /** Of agents: on how many nodes each version runs. */
  running?: Readonly<Record<string, number>> | undefined;
}

export interface Installed {
  settings: Settings;
  /** Those that are there. */
  parts: readonly Part[];
}

/** Of an object of ours. */
export const versionOf = ({ labels }: Meta): string => labels?.[VERSION_LABEL] ?? UNMARKED;
/** Of the sidecar of an injected pod. */
export const sidecarVersionOf = ({ annotations }: Meta): string => annotations?.[ANNOTATION.version] ?? UNMARKED;

export const counted = (versions: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const version of [...versions].sort()) counts[version] = (counts[version] ?? 0) + 1;
  return counts;
};

const part = (name: string, object: { metadata: Meta } | undefined, spec?: PodSpec): Part[] =>
  object === undefined
    ? []
    : [{ name, version: versionOf(object.metadata), ...(spec ? { image: spec.containers[0]?.image } : {}) }];

/** Without any of our workloads there is no installation, whatever else is left of one; `namespace` is told all the same. */
export const readInstalled = async (api: Api): Promise<{ namespace: string; installed?: Installed }> => {
  const namespace = (await findNamespace(api)) ?? NAMESPACE;
  const [crd, webhook, controller, agent, pods] = await Promise.all([
    getOrNone<{ metadata: Meta }>(api, 'CustomResourceDefinition', `${PLURAL}.${GROUP}`),
    getOrNone<Deployment>(api, 'Deployment', WEBHOOK, namespace),
    getOrNone<Deployment>(api, 'Deployment', CONTROLLER, namespace),
    getOrNone<DaemonSet>(api, 'DaemonSet', AGENT, namespace),
    listAgents(api, namespace),
  ]);
  if (!webhook && !controller && !agent) return { namespace };
  const running = counted(pods.map(({ metadata }) => versionOf(metadata)));
  const parts = [
    ...part('CRD', crd),
    ...part('webhook', webhook, webhook?.spec.template.spec),
    ...part('controller', controller, controller?.spec.template.spec),
    ...part('agents', agent, agent?.spec?.template.spec).map((each) => ({ ...each, running })),
  ];
  return { namespace, installed: { settings: settingsOf(namespace, webhook ?? controller, agent), parts } };
};

/** None where the kind is not known yet. */
export const migrationsOrNone = async (api: Api): Promise<StatefulMigration[]> => {
  try {
    return await listAll<StatefulMigration>(api, { kind: 'StatefulMigration' });
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
};

/** Migrations under way; a dry run is none. */
export const runningOf = (migrations: readonly StatefulMigration[]): StatefulMigration[] =>
  migrations.filter((migration) => !isEnded(migration) && migration.spec.dryRun !== true);

export const injectedPods = (api: Api): Promise<Pod[]> =>
  listAll<Pod>(api, { kind: 'Pod', query: { labelSelector: `${LABEL.injected}=true` } });
