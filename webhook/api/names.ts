/** Names shared by all parts: labels, annotations, objects, ports, and paths. No I/O here; everyone imports it. */

export const DOMAIN = 'shadow.ms2m.io';

export const LABEL = {
  /** On a namespace: `enabled` opts all its pods in. */
  injection: `${DOMAIN}/injection`,
  /** On a pod: `true` opts in (and injection failure then denies), `false` opts out. */
  inject: `${DOMAIN}/inject`,
  /** On a pod the webhook injected: `true`. */
  injected: `${DOMAIN}/injected`,
  /** On the leading controller pod: `true`; the controller's Service selects by it. */
  leader: `${DOMAIN}/leader`,
  /** On pods a migration made and objects that carry the CA: uid of the StatefulMigration / `true`. */
  migration: `${DOMAIN}/migration`,
  ca: `${DOMAIN}/ca`,
  /** The reference implementation's label on target pods: `target`. */
  role: 'migration.ms2m.io/role',
  /** Set by the StatefulSet controller (Kubernetes). */
  statefulSetPod: 'statefulset.kubernetes.io/pod-name',
  /** Set by the Deployment controller (Kubernetes): by it a ReplicaSet knows its pods. */
  templateHash: 'pod-template-hash',
} as const;

export const ANNOTATION = {
  /** Set by the webhook: `injected` or `skipped: <reason>`. Its presence makes injection idempotent. */
  status: `${DOMAIN}/status`,
  /** Set by the webhook: version of the sidecar. A copy has its source's. None: it is of a version before 0.2. */
  version: `${DOMAIN}/version`,
  /** Set by `kubectl shadow inject` on templates: what it replaced (plugin/inject/undo.ts), for `uninject` to put back. */
  before: `${DOMAIN}/before`,
  /**
   * User: brokers of this pod, where env does not tell: `[scheme://]host[:port]`, several with commas between them. Hosts of
   * one cluster have `|` between them. `amqps://`: the sidecar speaks TLS to it, and the app none.
   */
  brokers: `${DOMAIN}/brokers`,
  /** User: what the sidecar trusts an `amqps` broker by: the name of a Secret (see TLS_FILE), or `Public` for the well-known CAs. */
  brokerTls: `${DOMAIN}/broker-tls`,
  /** User: `NAME=key[,NAME=key]`: env NAME, from a Secret or ConfigMap, takes that key of it in an injected pod. */
  keys: `${DOMAIN}/keys`,
  /** User: `true` has the first broker's name lead to ::1 as well, for apps that look for IPv6 alone. */
  ipv6: `${DOMAIN}/ipv6`,
  /** User: `messages` (all effects are broker messages) or `idempotent`. */
  effects: `${DOMAIN}/effects`,
  /** User: `false` keeps the webhook from setting seccompProfile RuntimeDefault. */
  seccomp: `${DOMAIN}/seccomp`,
  /** User: seconds for which a lost broker connection is kept from the app while the sidecar seeks another; `off`, or 0: it is not. */
  reattach: `${DOMAIN}/reattach`,
  /** User: `allow` lets containers with postStart hooks migrate (the hook runs again). */
  postStart: `${DOMAIN}/post-start`,
  /** Only our controller or webhook may set it. Claim of the checkpoint this pod restores from: `<migration uid>-<handoff index>`. */
  restore: `${DOMAIN}/restore`,
  /** On the copy's pod: the commit, copied from the migration's status (JSON of Decision). Removed at the end. */
  commit: `${DOMAIN}/commit`,
  /** On the copy's pod: changed to have the kubelet look at it. Removed at the end. */
  look: `${DOMAIN}/look`,
  /** On the dry-run pod that proves the restore webhook live. */
  probe: `${DOMAIN}/probe`,
  /** User, on a migration: the Secret with credentials for its registry, in its namespace; default REGISTRY.secret. */
  registrySecret: `${DOMAIN}/registry-secret`,
  /** Kubernetes: of two pods a ReplicaSet drops the one with the lower number. */
  deletionCost: 'controller.kubernetes.io/pod-deletion-cost',
} as const;

export const FINALIZER = `${DOMAIN}/cleanup`;

/** Where our components run unless `install --namespace` says otherwise; they are told by SHADOW_NAMESPACE. */
export const NAMESPACE = 'shadow-system';
export const WEBHOOK = 'shadow-webhook';
export const CONTROLLER = 'shadow-controller';
export const AGENT = 'shadow-agent';
/** RuntimeClass and its containerd handler share this name. */
export const RUNTIME_CLASS = 'shadow';
/** Secret with the CA key (in our namespace), and ConfigMap with `ca.crt` (there and in every namespace with injected pods). */
export const CA = 'shadow-ca';
/** Secrets of type kubernetes.io/tls (tls.crt, tls.key, ca.crt) in our namespace. */
export const TLS_SECRET = {
  webhook: 'shadow-webhook-tls',
  controller: 'shadow-controller-tls',
  agent: 'shadow-agent-tls',
} as const;
/** The name by which a pod of the cluster reaches a Service of ours, and which its certificate has. */
export const serviceHost = (service: string, namespace: string): string => `${service}.${namespace}.svc`;

export const LEASE = 'shadow-controller';
/** ConfigMap in our namespace: what the controller has heard of every node (node-reports.ts). */
export const NODE_REPORTS = 'shadow-nodes';
/**
 * Beside a migration with transferMode Registry, both optional: a Secret of type kubernetes.io/dockerconfigjson, and a ConfigMap
 * whose `ca.crt` (PEM) is trusted too. RBAC lets the controller read these names in every namespace, and no others.
 */
export const REGISTRY = { secret: 'shadow-registry', ca: 'shadow-registry-ca' } as const;
export const INJECT_WEBHOOK_CONFIG = 'shadow-inject';
export const RESTORE_WEBHOOK_CONFIG = 'shadow-restore';
export const VALIDATE_WEBHOOK_CONFIG = 'shadow-validate';
/** Audience of the sidecar's projected ServiceAccount token. */
export const TOKEN_AUDIENCE = DOMAIN;

/** The name of the copy of a StatefulSet's pod: never one the StatefulSet controller takes for its own (it parses `-<ordinal>$`). */
export const shadowName = (pod: string): string => `${pod}-shadow`;

/** The name of the copy of a Deployment's pod, which keeps it: as the ReplicaSet would have made one. */
export const replicaName = (replicaSet: string, migrationUid: string): string =>
  `${`${replicaSet}-`.slice(0, 58)}${migrationUid.replaceAll(/[^0-9a-z]/g, '').slice(0, 5)}`;

export const PORT = {
  webhook: 8443,
  controller: 8444,
  agent: 9443,
  /** Sidecar, in the pod: GET /started, /ready, /healthz, /metrics (plain HTTP). */
  health: 15055,
  /** Metrics and health of webhook, controller and agent. */
  metrics: 9464,
} as const;

/** Broker ports relayed as AMQP 0-9-1 (the second where the URL says so), and those relayed blind. */
export const AMQP_PORT = 5672;
export const AMQPS_PORT = 5671;
export const BLIND_PORTS: readonly number[] = [15672, 5552, 1883, 61613];
/** The same and AMQP over TLS: an app that speaks TLS itself to a broker whose name is led to the sidecar must reach it. */
export const BLIND_TLS_PORTS: readonly number[] = [AMQPS_PORT, 15671, 5551, 8883, 61614];
/** The value of ANNOTATION.brokerTls that is no Secret: none has upper-case letters. */
export const PUBLIC_CAS = 'Public';

export const SIDECAR = {
  container: 'shadow-sidecar',
  /** uid the sidecar runs as; the fence lets its sockets pass. */
  uid: 64646,
  /** emptyDir mounted in the sidecar only. */
  runVolume: 'shadow-run',
  runDir: '/shadow/run',
  /** Projected volume mounted in the sidecar only: files uid, name, namespace, token, ca.crt (optional). */
  idVolume: 'shadow-id',
  idDir: '/shadow/id',
  /** The Secret that ANNOTATION.brokerTls names, mounted in the sidecar only. */
  tlsVolume: 'shadow-tls',
  tlsDir: '/shadow/tls',
} as const;

/**
 * Keys of that Secret, PEM; those of a kubernetes.io/tls Secret as cert-manager makes it. No `ca`: the well-known CAs count.
 * `cert` and `key`: the client's, both or none.
 */
export const TLS_FILE = { ca: 'ca.crt', cert: 'tls.crt', key: 'tls.key' } as const;

/**
 * Files in the sidecar's run directory; the agent sees them on the node under
 * `/var/lib/kubelet/pods/<uid>/volumes/kubernetes.io~empty-dir/shadow-run/`.
 */
export const RUN_FILE = {
  /** Written by the sidecar right before it stops all I/O; content: the freeze generation, decimal. Removed when it thaws. */
  frozen: 'frozen',
  /** Written by the agent; content: the freeze generation to thaw. */
  thaw: 'thaw',
  /** Written and synced by the sidecar before it calls itself mute: JSON {podUid, claim}. Removed on unmute. */
  mute: 'mute',
} as const;

/** On the node. Claim directories of targets, of sources, and the record of restored containers. See staging.ts. */
export const NODE_DIR = {
  staged: '/var/lib/shadow/staged',
  checkpoints: '/var/lib/shadow/checkpoints',
  taken: '/var/lib/shadow/taken',
  bin: '/opt/shadow/bin',
  kubeletPods: '/var/lib/kubelet/pods',
} as const;

/**
 * The claim of handoff `index` (0: pod → shadow, 1: shadow → successor) of a migration. A further attempt has a claim of its
 * own, so that nothing an earlier one left can be taken for its checkpoint.
 */
export const claimOf = (migrationUid: string, index: number, attempt = 1): string =>
  attempt === 1 ? `${migrationUid}-${index}` : `${migrationUid}-${index}-${attempt}`;
