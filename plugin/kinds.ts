/** The few fields of Kubernetes objects the plugin reads, and how each kind is addressed. No I/O. */

export interface Meta {
  name: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  generation?: number;
  resourceVersion?: string;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  managedFields?: { manager?: string; operation?: string }[];
  ownerReferences?: { kind: string; name: string; uid: string; controller?: boolean }[];
}

/** Any object, as read from a manifest or the API. */
export interface Obj {
  apiVersion: string;
  kind: string;
  metadata: Meta;
  [field: string]: unknown;
}

export interface List<T> {
  metadata: { resourceVersion?: string; continue?: string };
  items: T[];
}

export interface Pod {
  metadata: Meta;
  spec: { nodeName?: string };
  status?: { phase?: string; conditions?: { type: string; status: string; message?: string }[] };
}

/** Of our own pods. */
export interface PodSpec {
  initContainers?: { name: string }[];
  imagePullSecrets?: { name: string }[];
  containers: { name: string; image: string; imagePullPolicy?: string; env?: { name: string; value?: string }[] }[];
}

export interface Deployment {
  metadata: Meta;
  spec: {
    replicas?: number;
    template: { spec: PodSpec };
  };
  status?: { observedGeneration?: number; replicas?: number; updatedReplicas?: number; availableReplicas?: number };
}

export interface DaemonSet {
  metadata: Meta;
  spec?: { template: { spec: PodSpec } };
  status?: {
    observedGeneration?: number;
    desiredNumberScheduled?: number;
    updatedNumberScheduled?: number;
    numberAvailable?: number;
  };
}

export interface WebhookConfiguration {
  metadata: Meta;
  webhooks?: { name: string; clientConfig: { caBundle?: string; service?: { namespace: string } } }[];
}

export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Of what is no resource: where it is. */
  readonly path?: string;
}

const core = (plural: string, namespaced: boolean): Resource => ({ group: '', version: 'v1', plural, namespaced });
const grouped = (group: string, plural: string, namespaced: boolean, version = 'v1'): Resource => ({
  group,
  version,
  plural,
  namespaced,
});

/**
 * Kinds that may be in manifests/ or that we touch, in the order they are applied: what others need comes first. Webhook
 * configurations come before the workloads, so that a starting webhook finds those it puts its CA into.
 */
export const RESOURCE = {
  Namespace: core('namespaces', false),
  CustomResourceDefinition: grouped('apiextensions.k8s.io', 'customresourcedefinitions', false),
  PriorityClass: grouped('scheduling.k8s.io', 'priorityclasses', false),
  ServiceAccount: core('serviceaccounts', true),
  ClusterRole: grouped('rbac.authorization.k8s.io', 'clusterroles', false),
  ClusterRoleBinding: grouped('rbac.authorization.k8s.io', 'clusterrolebindings', false),
  Role: grouped('rbac.authorization.k8s.io', 'roles', true),
  RoleBinding: grouped('rbac.authorization.k8s.io', 'rolebindings', true),
  ConfigMap: core('configmaps', true),
  Secret: core('secrets', true),
  Service: core('services', true),
  NetworkPolicy: grouped('networking.k8s.io', 'networkpolicies', true),
  RuntimeClass: grouped('node.k8s.io', 'runtimeclasses', false),
  ValidatingAdmissionPolicy: grouped('admissionregistration.k8s.io', 'validatingadmissionpolicies', false),
  ValidatingAdmissionPolicyBinding: grouped('admissionregistration.k8s.io', 'validatingadmissionpolicybindings', false),
  MutatingWebhookConfiguration: grouped('admissionregistration.k8s.io', 'mutatingwebhookconfigurations', false),
  ValidatingWebhookConfiguration: grouped('admissionregistration.k8s.io', 'validatingwebhookconfigurations', false),
  PodDisruptionBudget: grouped('policy', 'poddisruptionbudgets', true),
  Deployment: grouped('apps', 'deployments', true),
  DaemonSet: grouped('apps', 'daemonsets', true),
  StatefulSet: grouped('apps', 'statefulsets', true),
  ReplicaSet: grouped('apps', 'replicasets', true),
  Pod: core('pods', true),
  Node: core('nodes', false),
  Lease: grouped('coordination.k8s.io', 'leases', true),
  StatefulMigration: grouped('migration.ms2m.io', 'statefulmigrations', true, 'v1alpha1'),
  SelfSubjectAccessReview: grouped('authorization.k8s.io', 'selfsubjectaccessreviews', false),
  Version: { group: '', version: '', plural: 'version', namespaced: false, path: '/version' },
} as const satisfies Record<string, Resource>;
export type Kind = keyof typeof RESOURCE;

const ORDER = Object.keys(RESOURCE);
export const isKind = (kind: string): kind is Kind => Object.hasOwn(RESOURCE, kind);
export const rankOf = (kind: string): number => ORDER.indexOf(kind);

/** kubectl's way to name an object: `deployment.apps/shadow-webhook`, `namespace/shadow-system`. */
export const nameOf = (kind: Kind, name: string): string => {
  const { group } = RESOURCE[kind];
  return `${kind.toLowerCase()}${group ? `.${group}` : ''}/${name}`;
};
