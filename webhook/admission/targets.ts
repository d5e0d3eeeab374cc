/** Which restore a pod is meant for, by the record in the migrations' status; who may say so. Pure. */
import type { V1Pod } from '@kubernetes/client-node';
import { ShadowError } from '../api/errors.ts';
import { type Handoff, isEnded, type StatefulMigration } from '../api/migration.ts';
import { ANNOTATION, CONTROLLER, LABEL } from '../api/names.ts';
import type { RestoreTarget } from './restore.ts';

export const isController = (username: string, namespace: string): boolean =>
  username === `system:serviceaccount:${namespace}:${CONTROLLER}`;

interface Waiting {
  migration: StatefulMigration;
  handoff: Handoff;
}

/** The handoff whose successor `pod` is: handoff 1 of a running migration, warming. */
const waitingFor = (migrations: readonly StatefulMigration[], pod: string): Waiting | undefined => {
  for (const migration of migrations) {
    if (isEnded(migration)) continue;
    const handoff = migration.status?.handoffs?.find(({ index }) => index === 1);
    if (handoff?.copy.name === pod && handoff.step === 'Warming') return { migration, handoff };
  }
  return undefined;
};

const denied = (detail: string): ShadowError => new ShadowError('SHADOW_E_CLAIM', detail, { retryable: true });

/**
 * What the successor is to be made into. Throws SHADOW_E_CLAIM, and the StatefulSet's controller tries again: a pod that came
 * up plain here would start with empty memory.
 */
export const restoreTarget = (pod: V1Pod, migrations: readonly StatefulMigration[]): RestoreTarget => {
  const name = pod.metadata?.name ?? '';
  const waiting = waitingFor(migrations, name);
  if (!waiting) throw denied(`no migration waits for pod ${name} at this moment`);
  const { migration, handoff } = waiting;
  const owner = pod.metadata?.ownerReferences?.find(({ controller }) => controller === true);
  const set = migration.status?.statefulSetName;
  if (owner?.kind !== 'StatefulSet' || (set !== undefined && owner.name !== set)) {
    throw denied(`pod ${name} does not come from StatefulSet ${set ?? 'of the source'}`);
  }
  const revision = pod.metadata?.labels?.['controller-revision-hash'];
  if (handoff.revision !== undefined && revision !== handoff.revision) {
    throw denied(`pod ${name} is of revision ${revision ?? 'none'}, the source of ${handoff.revision}`);
  }
  return {
    claim: handoff.claim,
    node: handoff.copy.node,
    sidecarForm: handoff.sidecarForm ?? 'container',
    version: migration.status?.versions?.sidecar,
    bare: migration.status?.strategy === 'Sequential' || handoff.queues !== undefined,
    images: Object.fromEntries((migration.status?.sourceContainers ?? []).map((c) => [c.name, c.image])),
  };
};

export interface ClaimRequest {
  operation: string;
  username: string;
  /** Where our controller runs. */
  namespace: string;
  pod: V1Pod;
  old: V1Pod | undefined;
}

/** Does this request put a claim on a pod that nobody but the controller, or we for a successor, may put there? */
export const claims = ({ operation, username, namespace, pod, old }: ClaimRequest): boolean => {
  const claim = pod.metadata?.annotations?.[ANNOTATION.restore];
  if (claim === undefined || isController(username, namespace)) return false;
  return operation === 'CREATE' || claim !== old?.metadata?.annotations?.[ANNOTATION.restore];
};

/** Throws SHADOW_E_CLAIM unless the claim is the one recorded for this very successor. */
export const checkClaim = (request: ClaimRequest, migrations: readonly StatefulMigration[]): void => {
  if (!claims(request)) return;
  const { metadata } = request.pod;
  if (request.operation !== 'CREATE') throw new ShadowError('SHADOW_E_CLAIM', `pod ${metadata?.name ?? ''}`);
  if (restoreTarget(request.pod, migrations).claim !== metadata?.annotations?.[ANNOTATION.restore]) {
    throw new ShadowError('SHADOW_E_CLAIM', `pod ${metadata?.name ?? ''} is meant for another one`);
  }
};

/** The controller's own shadow carries the label by which the restore webhook selects: it is complete as it is. */
export const isOwnShadow = (pod: V1Pod, username: string, namespace: string): boolean =>
  isController(username, namespace) && pod.metadata?.labels?.[LABEL.migration] !== undefined;
