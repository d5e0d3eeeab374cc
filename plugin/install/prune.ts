/** Objects of ours that a new version has no more. */
import { type Api, ApiError, listAll } from '../api.ts';
import { OURS } from '../installation.ts';
import { type Kind, type Meta, type Obj, RESOURCE } from '../kinds.ts';
import { FIELD_MANAGER } from './apply.ts';

/** Kinds that a base has had or may have. Never namespaces, CRDs and Secrets: with them goes what is not ours. */
const KINDS: readonly Kind[] = [
  ...(['PriorityClass', 'ServiceAccount', 'ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding'] as const),
  ...(['ConfigMap', 'Service', 'NetworkPolicy', 'RuntimeClass', 'PodDisruptionBudget'] as const),
  ...(['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'] as const),
  ...(['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration', 'Deployment', 'DaemonSet'] as const),
];

const keyOf = (kind: string, { namespace = '', name }: Meta): string => `${kind} ${namespace} ${name}`;

/** Put there by `install`: others of our label are made by our components (CA, restore webhook), or by somebody else. */
const wasApplied = ({ managedFields = [] }: Meta): boolean =>
  managedFields.some(({ manager, operation }) => manager === FIELD_MANAGER && operation === 'Apply');

export interface Superfluous {
  kind: Kind;
  name: string;
  namespace?: string | undefined;
}

/** `namespace`: ours; objects with our label in others are not looked at. What the cluster does not know there is none of. */
export const superfluous = async (api: Api, wanted: readonly Obj[], namespace: string): Promise<Superfluous[]> => {
  const keep = new Set(wanted.map(({ kind, metadata }) => keyOf(kind, metadata)));
  const found = await Promise.all(
    KINDS.map(async (kind) => {
      const where = RESOURCE[kind].namespaced ? { namespace } : {};
      const query = { labelSelector: OURS };
      const items = await listAll<{ metadata: Meta }>(api, { kind, ...where, query }).catch((error: unknown) => {
        if (error instanceof ApiError && error.status === 404) return [];
        throw error;
      });
      return items
        .filter(({ metadata }) => wasApplied(metadata) && !keep.has(keyOf(kind, metadata)))
        .map(({ metadata }) => ({ kind, name: metadata.name, ...where }));
    }),
  );
  return found.flat();
};
