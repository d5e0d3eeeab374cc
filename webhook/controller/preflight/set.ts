/** The StatefulSet's side: may one of its pods be swapped now? Pure. */
import type { V1Pod, V1StatefulSet } from '@kubernetes/client-node';
import { ShadowError } from '../../api/errors.ts';
import { isEnded, type StatefulMigration } from '../../api/migration.ts';
import { isReady } from '../pods.ts';

export const ordinalOf = (name: string): number => Number(/-(\d+)$/.exec(name)?.[1] ?? Number.NaN);

const isOrdered = (set: V1StatefulSet): boolean => set.spec?.podManagementPolicy !== 'Parallel';

/** Throws when the set would not make the same pod again at once. */
export const checkSet = (set: V1StatefulSet, pod: V1Pod, pods: readonly V1Pod[]): void => {
  const name = set.metadata?.name ?? '';
  const { currentRevision, updateRevision, observedGeneration } = set.status ?? {};
  if (observedGeneration !== set.metadata?.generation || currentRevision !== updateRevision)
    throw new ShadowError('SHADOW_E_ROLLOUT', `StatefulSet ${name} goes from ${currentRevision} to ${updateRevision}`);
  const revision = pod.metadata?.labels?.['controller-revision-hash'];
  if (revision !== updateRevision)
    throw new ShadowError('SHADOW_E_ROLLOUT', `the pod is of revision ${revision}, the set of ${updateRevision}`);
  const ordinal = ordinalOf(pod.metadata?.name ?? '');
  const start = set.spec?.ordinals?.start ?? 0;
  if (ordinal >= start + (set.spec?.replicas ?? 1))
    throw new ShadowError('SHADOW_E_ROLLOUT', `StatefulSet ${name} is scaled below ${pod.metadata?.name}`);
  if (!isOrdered(set)) return;
  const uid = set.metadata?.uid;
  const behind = pods.find(
    ({ metadata, ...rest }) =>
      metadata?.ownerReferences?.some((owner) => owner.uid === uid) === true &&
      ordinalOf(metadata.name ?? '') < ordinal &&
      !isReady({ metadata, ...rest }),
  );
  if (behind !== undefined)
    throw new ShadowError(
      'SHADOW_E_ROLLOUT',
      `${behind.metadata?.name} is not Ready, and the set makes its pods in order`,
    );
};

const created = ({ metadata }: StatefulMigration): string =>
  `${new Date(metadata.creationTimestamp ?? 0).toISOString()} ${metadata.uid}`;

/** Of two that want the same, the one already under way, else the older, goes first. */
const precedes = (other: StatefulMigration, mine: StatefulMigration): boolean =>
  other.status?.handoffs !== undefined || created(other) < created(mine);

export const checkBusy = (
  migration: StatefulMigration,
  known: readonly StatefulMigration[],
  pod: string,
  set: V1StatefulSet | undefined,
): void => {
  const rival = known.find((other) => {
    if (other.metadata.uid === migration.metadata.uid || isEnded(other) || other.spec.dryRun) return false;
    if (other.metadata.namespace !== migration.metadata.namespace || !precedes(other, migration)) return false;
    const sameSet = set !== undefined && isOrdered(set) && other.status?.statefulSetName === set.metadata?.name;
    return other.spec.sourcePod === pod || sameSet;
  });
  if (rival !== undefined)
    throw new ShadowError(
      'SHADOW_E_BUSY',
      `${rival.metadata.name} ${rival.spec.rehearse ? 'rehearses' : 'moves'} ${rival.spec.sourcePod}`,
    );
};
