/** Who makes the pod again when it goes. Pure. */
import type { V1Deployment, V1Pod, V1ReplicaSet, V1StatefulSet } from '@kubernetes/client-node';
import { ShadowError } from '../../api/errors.ts';

/** What the pod came from, fit to be migrated from now. */
export type Owner =
  | { kind: 'StatefulSet'; set: V1StatefulSet }
  | { kind: 'Deployment'; deployment: V1Deployment; set: V1ReplicaSet };

export const unowned = (detail: string): ShadowError => new ShadowError('SHADOW_E_UNOWNED', detail);

const MADE_BY = ['StatefulSet', 'ReplicaSet'] as const;
type MadeBy = (typeof MADE_BY)[number];

/** Throws SHADOW_E_UNOWNED for any other than a StatefulSet's or a ReplicaSet's pod. */
export const controllerOf = (pod: V1Pod): { kind: MadeBy; name: string } => {
  const owner = pod.metadata?.ownerReferences?.find(({ controller }) => controller === true);
  const kind = MADE_BY.find((one) => one === owner?.kind);
  if (owner === undefined || kind === undefined)
    throw unowned(`${pod.metadata?.name ?? ''} belongs to ${owner?.kind ?? 'nobody'}`);
  return { kind, name: owner.name };
};
