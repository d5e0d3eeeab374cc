/** The Deployment's side: may one of its pods be replaced by a copy that its ReplicaSet adopts? Pure. */
import type { V1Deployment, V1Pod, V1ReplicaSet } from '@kubernetes/client-node';
import { ShadowError } from '../../api/errors.ts';
import { LABEL } from '../../api/names.ts';

/** Of a Deployment's ReplicaSet; undefined: nobody's, or another kind's. */
export const deploymentOf = (set: V1ReplicaSet): string | undefined =>
  set.metadata?.ownerReferences?.find(({ controller, kind }) => controller === true && kind === 'Deployment')?.name;

/** Throws while the Deployment goes from one template to another: the copy would come home to a set that is being emptied. */
export const checkDeployment = (deployment: V1Deployment, set: V1ReplicaSet, pod: V1Pod): void => {
  const name = deployment.metadata?.name ?? '';
  const rollout = (detail: string): ShadowError => new ShadowError('SHADOW_E_ROLLOUT', `Deployment ${name}: ${detail}`);
  const { observedGeneration, replicas = 0, updatedReplicas = 0 } = deployment.status ?? {};
  const wanted = deployment.spec?.replicas ?? 1;
  if (observedGeneration !== deployment.metadata?.generation)
    throw rollout('its controller has not seen the last change');
  if (replicas !== wanted || updatedReplicas !== wanted)
    throw rollout(`${updatedReplicas} of ${wanted} replicas are of its template, ${replicas} there in all`);
  const hash = pod.metadata?.labels?.[LABEL.templateHash];
  if (hash === undefined || hash !== set.metadata?.labels?.[LABEL.templateHash])
    throw rollout(`the pod's ${LABEL.templateHash} is not that of ReplicaSet ${set.metadata?.name ?? ''}`);
  // A ReplicaSet that is scaled to nothing would drop the copy with the source.
  if ((set.spec?.replicas ?? 1) < 1) throw rollout(`ReplicaSet ${set.metadata?.name ?? ''} is scaled to 0`);
};
