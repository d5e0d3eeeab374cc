/** Acts the moment a migration reaches a step. */
import { Watch } from '@kubernetes/client-node';
import {
  GROUP,
  type Handoff,
  isEnded,
  PLURAL,
  type StatefulMigration,
  type Step,
  VERSION,
} from '../../../webhook/api/migration.ts';
import type { Bed } from './bed.ts';

export interface Moment {
  pod: string;
  handoff: number;
  step: Step;
}

/** A step too short to be seen is taken for reached when it was entered. */
const reached = (migration: StatefulMigration, { pod, handoff, step }: Moment): Handoff | undefined => {
  const record = migration.status?.handoffs?.[handoff];
  if (migration.spec.sourcePod !== pod || isEnded(migration)) return undefined;
  return record?.entered[step] === undefined ? undefined : record;
};

export interface Armed {
  /** The migration as it was when `act` was called; undefined: it never came to that. */
  fired(): StatefulMigration | undefined;
  disarm(): void;
}

/** Calls `act` once, in the callback of the watch itself. Only migrations made after the call count. */
export const atMoment = async (
  bed: Bed,
  moment: Moment,
  act: (migration: StatefulMigration) => void,
): Promise<Armed> => {
  const known = new Set<string>();
  let fired: StatefulMigration | undefined;
  const path = `/apis/${GROUP}/${VERSION}/namespaces/${bed.namespace}/${PLURAL}`;
  const see = (migration: StatefulMigration): void => {
    if (fired || known.has(migration.metadata.uid) || !reached(migration, moment)) return;
    fired = migration;
    act(migration);
  };
  const listed = async () =>
    (await bed.kube.custom.listNamespacedCustomObject({
      group: GROUP,
      version: VERSION,
      namespace: bed.namespace,
      plural: PLURAL,
    })) as { metadata: { resourceVersion: string }; items: StatefulMigration[] };
  let over = false;
  let controller: AbortController | undefined;
  const watch = async (resourceVersion: string): Promise<void> => {
    // An error is no migration; the watch ends after it.
    const onEvent = (type: string, object: StatefulMigration) => (type === 'ERROR' ? undefined : see(object));
    controller = await new Watch(bed.kube.config).watch(path, { resourceVersion }, onEvent, () => void again());
  };
  // The API server ends watches as it likes.
  const again = async (): Promise<void> => {
    if (over || fired) return;
    console.error(`the watch for ${moment.step} ended, and is begun again`);
    const { metadata, items } = await listed();
    for (const item of items) see(item);
    await watch(metadata.resourceVersion);
  };
  const { metadata, items } = await listed();
  for (const item of items) known.add(item.metadata.uid);
  await watch(metadata.resourceVersion);
  return {
    fired: () => fired,
    disarm: () => {
      over = true;
      controller?.abort();
    },
  };
};

/** As `kubectl shadow abort` does, without its start-up time. */
export const askAbort = (bed: Bed, migration: StatefulMigration): Promise<unknown> =>
  bed.kube.custom.patchNamespacedCustomObject({
    group: GROUP,
    version: VERSION,
    namespace: bed.namespace,
    plural: PLURAL,
    name: migration.metadata.name,
    body: [{ op: 'add', path: '/spec/abort', value: true }],
  });
