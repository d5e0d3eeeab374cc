/**
 * The one catalogue of errors. A code is at once condition reason (in CamelCase, see reasonOf), exit text of the plugin
 * and heading of docs/errors.md.
 */
interface Entry {
  /** What is wrong, one line; the instance's detail follows it after a colon. */
  readonly message: string;
  /** What the user does about it. */
  readonly hint: string;
  /** Exit code of the plugin: 1, 2 for usage, 124 for a timeout. */
  readonly exit?: 2 | 124;
}

export const CATALOGUE = {
  SHADOW_E_USAGE: { message: 'wrong usage', hint: 'see kubectl shadow --help', exit: 2 },
  SHADOW_E_TIMEOUT: {
    message: 'timed out waiting',
    hint: 'the migration goes on; kubectl shadow status shows it',
    exit: 124,
  },
  SHADOW_E_FORBIDDEN: {
    message: 'no permission',
    hint: 'ask for a role that may create statefulmigrations in this namespace',
  },
  SHADOW_E_API: {
    message: 'the Kubernetes API refused',
    hint: 'see the reason given; check the context with kubectl config current-context',
  },
  SHADOW_E_API_VERSION: {
    message: 'the cluster is too old',
    hint: 'upgrade it to Kubernetes 1.30 or later',
  },
  SHADOW_E_NOT_INSTALLED: {
    message: 'kubectl-shadow is not installed in this cluster',
    hint: 'run kubectl shadow install',
  },
  SHADOW_E_POD_NOT_FOUND: { message: 'no such pod', hint: 'kubectl get pods lists them; mind the namespace (-n)' },
  SHADOW_E_OWNER_NOT_FOUND: {
    message: 'no such StatefulSet or Deployment',
    hint: 'kubectl get sts,deploy lists them; mind the namespace (-n)',
  },
  SHADOW_E_POD_NOT_RUNNING: { message: 'the pod is not running and ready', hint: 'migrate it once it is ready' },
  SHADOW_E_NOT_INJECTED: {
    message: 'the pod has no shadow sidecar',
    hint: 'label its namespace shadow.ms2m.io/injection=enabled (or the pod template shadow.ms2m.io/inject=true) and restart it once',
  },
  SHADOW_E_UNOWNED: {
    message: 'the pod belongs to no StatefulSet and no Deployment',
    hint: 'only pods that one of them would make again are moved',
  },
  SHADOW_E_NODE_NOT_FOUND: { message: 'no such node', hint: 'kubectl get nodes lists them' },
  SHADOW_E_NODE_UNFIT: { message: 'the target node is unfit', hint: 'choose another node, or mend what is named' },
  SHADOW_E_SAME_NODE: { message: 'the pod already runs on that node', hint: 'choose another node with --to' },
  SHADOW_E_NODE_SETUP: {
    message: 'the node could not be set up',
    hint: 'it is as it was; mend what is named, or set it up by hand: docs/install.md',
  },
  SHADOW_E_NO_NODE: {
    message: 'no node is fit to take the pod',
    hint: 'add a node, or name one with --to to see why it is unfit',
  },
  SHADOW_E_BUSY: {
    message: 'another migration of this pod or set is running',
    hint: 'wait for it, or abort it with kubectl shadow abort',
  },
  SHADOW_E_ROLLOUT: {
    message: 'the set is being rolled out or is not fully ready',
    hint: 'wait until kubectl rollout status says it is done',
  },
  SHADOW_E_UNSUPPORTED: {
    message: 'the pod uses something that cannot be moved',
    hint: 'see what is named; docs/errors.md says what can be done',
  },
  SHADOW_E_SESSION: {
    message: 'the pod uses an AMQP feature that cannot be handed over',
    hint: 'exclusive, server-named, auto-delete and reply-to queues, single active consumers and transactions live with one connection only; other protocols than AMQP 0-9-1 pass, unread',
  },
  SHADOW_E_SIDECAR_UNREACHABLE: {
    message: 'the sidecar does not answer the controller',
    hint: 'look at kubectl logs POD -c shadow-sidecar',
  },
  SHADOW_E_AGENT_UNREACHABLE: {
    message: 'the agent of a node does not answer',
    hint: 'look at kubectl get pods -A -o wide -l app.kubernetes.io/name=kubectl-shadow',
  },
  SHADOW_E_WEBHOOK: {
    message: 'the restore webhook does not answer',
    hint: 'look at kubectl get pods -A -l app.kubernetes.io/name=kubectl-shadow; nothing was touched',
  },
  SHADOW_E_MUTE: {
    message: 'the source could not be muted in time',
    hint: 'it goes on as before; try again when the broker is less loaded',
  },
  SHADOW_E_FREEZE: {
    message: 'the sidecar was not frozen when its pod was paused',
    hint: 'it goes on as before; try again',
  },
  SHADOW_E_CHECKPOINT: {
    message: 'the checkpoint failed',
    hint: 'the source goes on; the CRIU log line names the cause',
  },
  SHADOW_E_TRANSFER: {
    message: 'the checkpoint could not be moved to the target node',
    hint: 'the source goes on; check the network between the agents',
  },
  SHADOW_E_REPOSITORY: {
    message: 'spec.checkpointImageRepository names no repository that could be used',
    hint: 'name it as [http://]HOST[:PORT]/PATH, without tag or digest',
  },
  SHADOW_E_REGISTRY: {
    message: 'the registry for checkpoint images cannot be used',
    hint: 'check its address, its certificate and the network between nodes and registry; or take transferMode Agent',
  },
  SHADOW_E_REGISTRY_ACCESS: {
    message: 'the registry refused access to the repository for checkpoint images',
    hint: 'put credentials that may pull and push into Secret shadow-registry (type kubernetes.io/dockerconfigjson) beside the migration',
  },
  SHADOW_E_RESTORE: { message: 'the restore failed', hint: 'the source goes on; the CRIU log line names the cause' },
  SHADOW_E_ATTACH: {
    message: 'the copy could not attach to the broker',
    hint: "the source goes on; look at the log of the copy's sidecar",
  },
  SHADOW_E_QUEUE: {
    message: 'the queues of an app without the sidecar are not as they must be',
    hint: 'see what is named, and spec.messageQueueConfig; docs/ms2m.md says what the app and its queue must be like',
  },
  SHADOW_E_CONTROL: {
    message: 'the app does not follow the MS2M control protocol',
    hint: 'see docs/ms2m.md; with the sidecar an app needs to follow none',
  },
  SHADOW_E_RECORD: {
    message: "the source's record could not be kept or brought to the copy",
    hint: 'the source goes on; StopAndCopy needs no record',
  },
  SHADOW_E_DIVERGED: {
    message: "the copy's app did otherwise than the source's",
    hint: 'the source goes on; StopAndCopy is exact for every app',
  },
  SHADOW_E_REHEARSAL: {
    message: 'the pod cannot be rehearsed',
    hint: 'see what is named; it may be migrated all the same: kubectl shadow check pod/NAME without --rehearse says so',
  },
  SHADOW_E_SOURCE_LOST: { message: 'the source was lost during the handoff', hint: 'see the events of the pod' },
  SHADOW_E_COPY_LOST: {
    message: 'the copy was lost after it had taken over',
    hint: 'as after any crash the set starts a fresh pod; see the events of the pod',
  },
  SHADOW_E_ABORTED: { message: 'aborted by request', hint: 'the source goes on as before' },
  SHADOW_E_COMMITTED: {
    message: 'the migration is committed and cannot be aborted',
    hint: 'it finishes by itself; kubectl shadow status shows it',
  },
  SHADOW_E_FINISHED: { message: 'the migration has ended already', hint: 'kubectl shadow list shows them all' },
  SHADOW_E_MIGRATION_NOT_FOUND: { message: 'no such migration', hint: 'kubectl shadow list shows them all' },
  SHADOW_E_CLAIM: {
    message: 'the pod claims a checkpoint that is not for it',
    hint: 'only the controller may set shadow.ms2m.io/restore',
  },
  SHADOW_E_INVALID: { message: 'the object is invalid', hint: 'mend the named field' },
  SHADOW_E_NO_BROKER: {
    message: 'no broker was found in the pod',
    hint: 'name it by the annotation shadow.ms2m.io/brokers=host:port',
  },
  SHADOW_E_TLS: {
    message: 'the broker is reached over TLS in a way the sidecar cannot take over',
    hint: 'give the app an amqps:// URL in env or args, and annotate its pod template shadow.ms2m.io/broker-tls=SECRET',
  },
  SHADOW_E_INJECT: {
    message: 'the pod cannot be injected',
    hint: 'see the reason; remove shadow.ms2m.io/inject=true to run it without',
  },
  SHADOW_E_UNINJECT: {
    message: 'the sidecar cannot be taken out of the manifest',
    hint: 'apply the manifest as it was before it was injected',
  },
  SHADOW_E_SKEW: {
    message: 'the versions do not go together',
    hint: 'restart the pod once, so that it comes back with the sidecar of the installed version',
  },
  SHADOW_E_NAMESPACE: {
    message: 'kubectl-shadow cannot be installed in this namespace',
    hint: 'choose another namespace, or see the reason',
  },
  SHADOW_E_STALE: {
    message: 'a command of an older controller or another migration',
    hint: 'none needed; the leader repeats its own',
  },
  SHADOW_E_FILE: {
    message: 'the file could not be written',
    hint: 'name a file in a directory that is there and yours to write',
  },
  SHADOW_E_IN_USE: { message: 'kubectl-shadow is in use', hint: 'finish or abort the migrations, or use --force' },
  SHADOW_E_ROOT: { message: 'the playground needs root', hint: 'run it with sudo' },
  SHADOW_E_HOST: {
    message: 'this machine lacks something the playground or a release needs',
    hint: 'install or free what is named',
  },
  SHADOW_E_BUILD: {
    message: 'a part could not be built',
    hint: 'the last lines of its log are above, or the cause is named; run it again to retry',
  },
  SHADOW_E_INTERNAL: { message: 'unexpected error', hint: 'please report it with the output' },
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof CATALOGUE;

/** An error a user may see. `retryable`: the same call may go through later, as is. */
export class ShadowError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  /** Where the catalogue's does not fit the instance. */
  readonly #hint: string | undefined;
  constructor(code: ErrorCode, detail = '', options: { cause?: unknown; retryable?: boolean; hint?: string } = {}) {
    super(detail ? `${CATALOGUE[code].message}: ${detail}` : CATALOGUE[code].message, { cause: options.cause });
    this.name = 'ShadowError';
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.#hint = options.hint;
  }
  get hint(): string {
    return this.#hint ?? CATALOGUE[this.code].hint;
  }
  get exit(): 1 | 2 | 124 {
    const entry: Entry = CATALOGUE[this.code];
    return entry.exit ?? 1;
  }
}

/** Any thrown thing as a ShadowError; what we did not foresee is SHADOW_E_INTERNAL. */
export const asShadowError = (error: unknown, code: ErrorCode = 'SHADOW_E_INTERNAL'): ShadowError =>
  error instanceof ShadowError
    ? error
    : new ShadowError(code, error instanceof Error ? error.message : String(error), { cause: error });

/** Condition reason of a code: SHADOW_E_NODE_UNFIT → NodeUnfit (reasons are CamelCase by API convention). */
export const reasonOf = (code: ErrorCode): string =>
  code
    .slice('SHADOW_E_'.length)
    .split('_')
    .map((word) => word[0] + word.slice(1).toLowerCase())
    .join('');

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(CATALOGUE, text);
