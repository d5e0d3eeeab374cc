/** What a leader runs: mirrors, hub, queue. Built anew at each leadership, which a process has once. */
import type { V1Pod } from '@kubernetes/client-node';
import { isEnded, type StatefulMigration } from '../api/migration.ts';
import { LABEL, PORT } from '../api/names.ts';
import type { Log } from '../log.ts';
import type { Agents, Cluster, Context } from './context.ts';
import type { Hub } from './hub/hub.ts';
import { createQueueWork } from './ms2m/work.ts';
import { type Measures, observerOf } from './observer.ts';
import { KeyedQueue } from './queue.ts';
import { reconcile } from './reconcile.ts';
import { keyOf } from './reflector.ts';
import { tracing } from './tracing.ts';

/** Every migration under way is looked at again after this long, whatever was missed. */
const RESYNC_MS = 10_000;

/** Does this pod, by uid or name, belong to what the migration does? */
const concerns = (migration: StatefulMigration, namespace: string, name: string): boolean =>
  migration.metadata.namespace === namespace &&
  (migration.spec.sourcePod === name || migration.status?.targetPod === name);

const mentions = (migration: StatefulMigration, podUid: string): boolean =>
  migration.status?.handoffs?.some(({ source, copy }) => source.uid === podUid || copy.uid === podUid) ?? true;

export const AGENT_SELECTOR = 'app.kubernetes.io/component=agent';

export interface LeadOptions {
  epoch: number;
  cluster: Cluster;
  agents: Agents;
  hub: Hub;
  /** Our namespace. */
  home: string;
  probeImage: string;
  log: Log;
  measures: Measures;
}

export interface Lead {
  onMigration(migration: StatefulMigration): void;
  onPod(pod: V1Pod): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export const lead = ({ epoch, cluster, agents, hub, home, probeImage, log, measures }: LeadOptions): Lead => {
  const traced = tracing(cluster, hub);
  const ctx: Context = {
    now: () => Date.now(),
    epoch,
    cluster,
    agents,
    sidecars: hub,
    home,
    queueWork: createQueueWork(),
    probeImage,
    memory: new Map(),
    seen: traced.seen,
    log: (fields, message) => log.info(fields, message),
  };
  const observer = observerOf(cluster, log, measures);
  /** Keys whose last turn threw: what is known of them may be old. */
  const doubtful = new Set<string>();
  const known = (key: string) =>
    cluster.migrations().find(({ metadata }) => keyOf(metadata.namespace, metadata.name) === key);

  const work = async (key: string): Promise<number | undefined> => {
    const seen = known(key);
    const { namespace, name } = seen?.metadata ?? { namespace: key.split('/')[0] ?? '', name: key.split('/')[1] ?? '' };
    const newest = doubtful.has(key) ? await cluster.readMigration(namespace, name) : seen;
    doubtful.add(key);
    const next = await reconcile(ctx, newest, observer);
    doubtful.delete(key);
    return next;
  };
  const queue = new KeyedQueue(work, (key, error) => log.warn({ err: error, migration: key }, 'turn failed'));

  const addWhere = (matches: (migration: StatefulMigration) => boolean): void => {
    for (const migration of cluster.migrations())
      if (!isEnded(migration) && matches(migration))
        queue.add(keyOf(migration.metadata.namespace, migration.metadata.name));
  };
  let resync: NodeJS.Timeout | undefined;
  let serving = false;
  return {
    onMigration: ({ metadata }) => serving && queue.add(keyOf(metadata.namespace, metadata.name)),
    onPod: ({ metadata }) =>
      serving && addWhere((migration) => concerns(migration, metadata?.namespace ?? '', metadata?.name ?? '')),
    start: async () => {
      hub.onChange((podUid) => {
        addWhere((migration) => mentions(migration, podUid));
        traced.told(podUid);
      });
      await hub.listen(PORT.controller);
      serving = true;
      for (const { metadata } of cluster.migrations()) queue.add(keyOf(metadata.namespace, metadata.name));
      resync = setInterval(() => addWhere(() => true), RESYNC_MS);
      traced.start();
    },
    stop: async () => {
      serving = false;
      clearInterval(resync);
      traced.stop();
      queue.stop();
      await hub.close();
    },
  };
};

/** The Service of the controller selects the leader by its label: ours on, every other pod's off. */
export const takeService = async (
  cluster: Pick<Cluster, 'listPods' | 'patchPod'>,
  namespace: string,
  me: string,
): Promise<void> => {
  const pods = await cluster.listPods(namespace);
  const others = pods.filter(({ metadata }) => metadata?.labels?.[LABEL.leader] !== undefined && metadata.name !== me);
  await Promise.all([
    cluster.patchPod(namespace, me, { labels: { [LABEL.leader]: 'true' } }),
    ...others.map(({ metadata }) =>
      cluster.patchPod(namespace, metadata?.name ?? '', { labels: { [LABEL.leader]: null } }),
    ),
  ]);
};
