/** What uninstall deletes, in which order, and when it is gone. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { LABEL, LEASE, RESTORE_WEBHOOK_CONFIG } from '../../webhook/api/names.ts';
import { type Api, type Call, getOrNone, isNotFound, listAll } from '../api.ts';
import { type Kind, type Meta, nameOf, type Obj, RESOURCE } from '../kinds.ts';

export interface Doomed {
  call: Call;
  name: string;
  line: string;
  gone(api: Api): Promise<boolean>;
}

/** `home`: our namespace, which need not be told. */
export const doom = (kind: Kind, name: string, namespace?: string | undefined, home?: string): Doomed => {
  const named = RESOURCE[kind].namespaced && namespace !== undefined ? { namespace } : {};
  const full = nameOf(kind, name);
  const where = 'namespace' in named && named.namespace !== home ? ` from ${named.namespace} namespace` : '';
  return {
    call: { verb: 'delete', kind, name, ...named, body: { propagationPolicy: 'Background' } },
    name: full,
    line: `${full.replace('/', ' "')}" deleted${where}`,
    gone: async (api) => (await getOrNone(api, kind, name, namespace)) === undefined,
  };
};

const HOOKS: readonly string[] = ['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration'];

/**
 * Webhook configurations, with the one the controller makes; then all else, last applied first. What is in our namespace and
 * not in the base (CA and certificate secrets, the lease) goes with the namespace, `home`. Pure.
 */
export const removalOf = (objects: readonly Obj[], home: string): { hooks: Doomed[]; rest: Doomed[] } => {
  const doomed = [...objects].reverse().map((object) => ({
    kind: object.kind as Kind,
    at: doom(object.kind as Kind, object.metadata.name, object.metadata.namespace, home),
  }));
  return {
    hooks: [
      doom('MutatingWebhookConfiguration', RESTORE_WEBHOOK_CONFIG),
      ...doomed.filter(({ kind }) => HOOKS.includes(kind)).map(({ at }) => at),
    ],
    rest: [doom('Lease', LEASE, home, home), ...doomed.filter(({ kind }) => !HOOKS.includes(kind)).map(({ at }) => at)],
  };
};

/** false: there was none. */
export const remove = async (api: Api, { call }: Doomed): Promise<boolean> => {
  try {
    await api.call(call);
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
};

/** The CA in the namespaces of injected pods. */
export const strayMaps = async (api: Api, home: string): Promise<Doomed[]> => {
  const maps = await listAll<{ metadata: Meta }>(api, { kind: 'ConfigMap', query: { labelSelector: LABEL.ca } });
  return maps
    .filter(({ metadata }) => metadata.namespace !== home)
    .map(({ metadata }) => doom('ConfigMap', metadata.name, metadata.namespace));
};

/**
 * Deletes the migrations and gives the controller `graceMs` to end them (an abort puts the source back, invariant 7). Then
 * their finalizers are taken away: without a controller nobody else would.
 */
export const dropMigrations = async (
  api: Api,
  migrations: readonly StatefulMigration[],
  graceMs: number,
): Promise<void> => {
  const at = ({ metadata: { name, namespace } }: StatefulMigration) =>
    ({ kind: 'StatefulMigration', name, namespace }) as const;
  let left = [...migrations];
  for (const each of left) await remove(api, doom('StatefulMigration', each.metadata.name, each.metadata.namespace));
  for (const until = performance.now() + graceMs; left.length > 0; await sleep(500)) {
    const there = await Promise.all(
      left.map((each) => getOrNone(api, 'StatefulMigration', each.metadata.name, each.metadata.namespace)),
    );
    left = left.filter((_, index) => there[index] !== undefined);
    if (performance.now() > until) break;
  }
  for (const each of left) {
    await api
      .call({ verb: 'patch', patch: 'merge', ...at(each), body: { metadata: { finalizers: null } } })
      .catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
  }
};
