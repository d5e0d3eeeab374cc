/** What docs/errors.md says of each code beside the catalogue's message and hint. */
import type { ErrorCode } from '../webhook/api/errors.ts';

interface Page {
  /** What happened: the cause behind the message. */
  happened: string;
  /** What was put back, or that nothing had to be. */
  putBack: string;
  /** What can be done beside the hint. */
  more?: string;
}

const NOT_SENT = 'Nothing had to be: nothing was sent to the cluster.';
const NOT_BEGUN = 'Nothing had to be: it is refused before anything is touched, and the pod runs on.';
const UNDONE =
  'All of it: the copy and its traces are removed, and the source serves with the memory and the broker connections it had. In the second half of a migration (the shadow becomes the new pod of the old name) the shadow goes on serving, and it is tried again.';
/** Of what preflight asks, and a later step may meet all the same. */
const BY_THEN = `In preflight: nothing had to be. Later: ${UNDONE[0]!.toLowerCase()}${UNDONE.slice(1)}`;
const NO_POD = 'Nothing had to be: no pod of yours was touched.';

export const PAGE: Record<ErrorCode, Page> = {
  SHADOW_E_USAGE: {
    happened: 'The command line names a flag, a value or a combination that there is not.',
    putBack: NOT_SENT,
    more: '`kubectl shadow COMMAND --help` lists the flags of a command.',
  },
  SHADOW_E_TIMEOUT: {
    happened: 'Only the waiting ended, after the time that `--timeout` gives it.',
    putBack:
      'Nothing: a migration that was waited for goes on in the cluster, and so does an installation. A rehearsal is the exception: it is broken off and put back.',
    more: 'The same command shows it, too, or goes on waiting. To undo a migration: `kubectl shadow abort NAME`.',
  },
  SHADOW_E_FORBIDDEN: {
    happened:
      'The API server refused a verb on a resource in a namespace; the message names the three, and who you are.',
    putBack: 'Nothing had to be: a request that is refused changes nothing.',
    more: 'The ClusterRole `shadow-migrate` has what `migrate`, `abort`, `status` and `list` need: bind it in the namespaces of the pods, e.g. `kubectl create rolebinding shadow --clusterrole=shadow-migrate --user=NAME -n NAMESPACE`. Who names a set, a selector or `--from-node` must list pods there as well, and get StatefulSets, or Deployments and ReplicaSets: the ClusterRoles `view` and `edit` may. `install` and `uninstall` need cluster-admin; `inject` reads the image of the sidecar from Deployment `shadow-webhook` unless `--image` names it.',
  },
  SHADOW_E_API: {
    happened:
      'Either the API server was not reached (the message says how that failed: no kubeconfig, connection refused, unknown name, no answer in `--request-timeout`), or it refused the call for the reason given.',
    putBack:
      'Nothing: the call itself changed nothing. A migration that was begun goes on, and `install` and `uninstall` take up what they left when they are run again.',
  },
  SHADOW_E_API_VERSION: {
    happened:
      'The API server is older than native sidecars and the match conditions of webhooks. It would drop them in silence, and injected pods would never start.',
    putBack: 'Nothing had to be: nothing was applied.',
    more: '`kubectl shadow check` says it as well, as [api-version](check.md#api-version).',
  },
  SHADOW_E_NOT_INSTALLED: {
    happened: 'The kind StatefulMigration is unknown to the cluster.',
    putBack: NO_POD,
    more: 'It may be another cluster than you think: see `kubectl config current-context`.',
  },
  SHADOW_E_POD_NOT_FOUND: {
    happened:
      'No pod has that name in that namespace, or none has the labels of the selector. What it may have been is in the hint.',
    putBack: NOT_BEGUN,
  },
  SHADOW_E_OWNER_NOT_FOUND: {
    happened: 'No StatefulSet or Deployment has that name in that namespace.',
    putBack: NOT_BEGUN,
  },
  SHADOW_E_POD_NOT_RUNNING: {
    happened: 'The pod starts, ends, has failed, or says by its readiness probes that it is not ready.',
    putBack: NOT_BEGUN,
    more: '`kubectl describe pod` tells which of its containers is not ready.',
  },
  SHADOW_E_NOT_INJECTED: {
    happened:
      'Only pods created after their namespace (or pod template) was labelled have the sidecar. The annotation `shadow.ms2m.io/status` of a pod says why it was passed over; a pod created while the webhook was down has none.',
    putBack: NOT_BEGUN,
    more: 'Deleted once, the pod comes back with the sidecar.',
  },
  SHADOW_E_UNOWNED: {
    happened: 'Nobody would make the pod again, so nobody would take its copy for it.',
    putBack: NOT_BEGUN,
    more: 'Let a StatefulSet or a Deployment make it.',
  },
  SHADOW_E_NODE_NOT_FOUND: { happened: 'No node has the name that `--to` gives.', putBack: NOT_BEGUN },
  SHADOW_E_NODE_UNFIT: {
    happened:
      'The message names what the node lacks: it is not Ready, is cordoned or has a taint; the agent (is its pod running there?), the runtime handler, a version of CRIU, runc or containerd that fits the source node, a CPU feature the process may use, room for the checkpoint, or resources for the pod.',
    putBack: NOT_BEGUN,
    more: '`kubectl shadow check pod/NAME` says which nodes can take the pod, and why the others cannot.',
  },
  SHADOW_E_SAME_NODE: { happened: '`--to` names the node of the pod.', putBack: NOT_BEGUN },
  SHADOW_E_NODE_SETUP: {
    happened:
      "Said by the agent's init container `node-setup` (see `kubectl describe pod` of the agent), and by `install` when it gives up waiting. The message names what is in the way: a read-only system, a distribution that writes containerd's configuration itself, a containerd that systemd does not keep, or one that did not come up with the handler.",
    putBack: "The node's files, and containerd, which was started as it was. Its pods ran on.",
    more: 'More in [install.md](install.md).',
  },
  SHADOW_E_NO_NODE: {
    happened: 'Every other node is unfit; the message says why, node by node.',
    putBack: NOT_BEGUN,
  },
  SHADOW_E_BUSY: {
    happened: 'A pod, and a StatefulSet that starts its pods in order, can be in one migration at a time.',
    putBack: `${NOT_BEGUN} The other migration goes on.`,
  },
  SHADOW_E_ROLLOUT: {
    happened:
      'A StatefulSet or Deployment that goes from one template to another would make, or drop, the wrong pod. A StatefulSet that makes its pods in order must also have all lower ordinals Ready.',
    putBack: NOT_BEGUN,
  },
  SHADOW_E_UNSUPPORTED: {
    happened:
      'Some things belong to one node or one instance and cannot be taken along: host namespaces (hostPID, hostIPC, hostNetwork), a process namespace shared by the containers, user namespaces (`hostUsers: false`), privileged containers and devices, a runtimeClassName of its own, local PersistentVolumes, sockets bound to the pod IP, unix sockets between containers, MPTCP and io_uring.',
    putBack: NOT_BEGUN,
    more: 'For io_uring let the container run under `seccompProfile: RuntimeDefault`, which makes Node.js and others fall back to epoll. A postStart hook would run again in the copy: annotate the pod `shadow.ms2m.io/post-start: allow` if it may.',
  },
  SHADOW_E_SESSION: {
    happened:
      'The message names connection, channel and queue. A queue with `x-expires` of less than a minute could be gone before the copy consumes from it. A consumer of a stream that began at `next` or `last` and has had nothing yet would miss what is published meanwhile. AMQP 1.0, the stream protocol, MQTT, STOMP and TLS that the app speaks itself are relayed blind: the app works, but a connection that the sidecar cannot read cannot be handed over.',
    putBack: `${NOT_BEGUN} Where the app begins to use such a thing during a migration, all is undone before the commit.`,
    more: 'Give the queue a name and make it durable, not exclusive and not auto-delete; answer to a named queue instead of amq.rabbitmq.reply-to. Let a consumer of a stream begin at `first`, an offset or a time, or wait for the first message.',
  },
  SHADOW_E_SIDECAR_UNREACHABLE: {
    happened:
      'Every sidecar keeps a connection to the leading controller. There was none, or no answer came over it: the pod, its node or the way between was lost.',
    putBack: UNDONE,
    more: 'A NetworkPolicy that closes the way from the pod to the controller in `shadow-system`, port 8444, does this.',
  },
  SHADOW_E_AGENT_UNREACHABLE: {
    happened:
      'The controller calls the agents of both nodes. One did not answer: it does not run, its node is down, or the way is closed.',
    putBack: UNDONE,
    more: 'An agent that was away removes what is left on its node when it is back.',
  },
  SHADOW_E_WEBHOOK: {
    happened:
      'The successor of a pod is restored only if the webhook answers, so this is proven by a dry run before the source is touched.',
    putBack: UNDONE,
  },
  SHADOW_E_MUTE: {
    happened:
      'Before the source is muted, the outcome of every publish it has begun must be known and every consumer cancelled. A broker that is blocked (memory or disk alarm) or very slow does not answer in time. Nor is it tried while a lost broker connection is sought anew, or an app holds deliveries that came over one ([ADR 10](adr/0010-reattach.md)): it can be once they are settled.',
    putBack: UNDONE,
  },
  SHADOW_E_FREEZE: {
    happened:
      'The processes of the pod were paused, and its sidecar was not at the boundary at which it has to be then.',
    putBack: UNDONE,
  },
  SHADOW_E_CHECKPOINT: {
    happened: "CRIU could not dump the processes. The message ends with the line of CRIU's log that names the cause.",
    putBack: UNDONE,
    more: '`kubectl shadow check` says whether the CRIU of the node is content with its kernel.',
  },
  SHADOW_E_TRANSFER: {
    happened: "The source node's agent could not send the checkpoint to the target's, or not in 60 s.",
    putBack: UNDONE,
  },
  SHADOW_E_RESTORE: {
    happened:
      "The copy's pod did not come up, or CRIU could not restore the processes in it; the message says which, with the line of CRIU's log that names the cause.",
    putBack: UNDONE,
    more: 'In the second half of a migration it is tried three times at once, then every minute.',
  },
  SHADOW_E_ATTACH: {
    happened:
      "The copy's sidecar opens the app's connections anew, with what the app itself said when it connected. The broker did not answer, or refused: `403 ACCESS_REFUSED` when the password was changed or the user deleted since, `530 NOT_ALLOWED` when the user's permissions in the vhost were taken away. A right to read a single queue that was taken away shows only when the copy consumes, after the commit: there the app sees its channel closed with 403, as after any reconnect.",
    putBack: UNDONE,
    more: 'What the broker said is in the message. Where credentials were changed, restart the pod so that the app connects with the new ones, and migrate it then.',
  },
  SHADOW_E_RECORD: {
    happened:
      'While the copy catches up, the source keeps what the copy has not received yet, up to 64 MiB, and the copy has two minutes. An app that takes everything at once (no prefetch limit, no_ack) at a high rate, a connection of the app that ended, or a lost broker connection make a record that cannot be played.',
    putBack: UNDONE,
    more: 'Chosen by Auto, the migration goes on with StopAndCopy by itself; else ask for it with `--strategy StopAndCopy`.',
  },
  SHADOW_E_DIVERGED: {
    happened:
      'Fed the very same deliveries, the copy published something else, settled otherwise or did nothing for five seconds: the app depends on time, chance, HTTP requests or another service, which a copy behind its fence cannot reach.',
    putBack: `${UNDONE} Nothing of the copy went out.`,
    more: '`--on-divergence Report` lets the word of the source stand and counts the differences instead; StopAndCopy does not compare.',
  },
  SHADOW_E_QUEUE: {
    happened:
      'Of a pod without the sidecar. The message says which queue is not as it must be: it is not there, has other consumers, is a quorum or an exclusive one, or the broker refuses what the migration needs to do with it.',
    putBack: `${BY_THEN} The queues are as they were.`,
    more: 'What the app and its queue must be like: [ms2m.md](ms2m.md). With the sidecar none of it is asked.',
  },
  SHADOW_E_CONTROL: {
    happened:
      'Of a pod without the sidecar: the app did not do what START_REPLAY or END_REPLAY on its control queue told it to, in the time it has.',
    putBack: `${UNDONE} The queues are as they were.`,
    more: 'The protocol: [ms2m.md](ms2m.md). With the sidecar an app needs to follow none.',
  },
  SHADOW_E_REPOSITORY: {
    happened:
      'transferMode Registry puts checkpoints at `<checkpointImageRepository>/<pod>:checkpoint`. The host must be named (also `docker.io`); TLS is spoken unless `http://` stands before it, or the `hosts.toml` of the node has it so.',
    putBack: NOT_BEGUN,
    more: 'See [transfers.md](transfers.md).',
  },
  SHADOW_E_REGISTRY: {
    happened:
      'The message names node and registry and says how it failed: no answer, a certificate that nobody trusts, or what the registry itself says. Both nodes must reach it: before anything is touched, the source begins an upload and calls it off, the target asks for an image.',
    putBack: BY_THEN,
    more: 'The CA of a private registry goes into ConfigMap `shadow-registry-ca`, key `ca.crt`, beside the migration. See [transfers.md](transfers.md).',
  },
  SHADOW_E_REGISTRY_ACCESS: {
    happened: 'The registry answered 401 or 403, or the credentials could not be read.',
    putBack: BY_THEN,
    more: 'They must allow pull and push in the repository, and delete if the image is to be removed afterwards. A Secret of another name is named by the annotation `shadow.ms2m.io/registry-secret` of the migration, and the controller must be given the right to read it: see [transfers.md](transfers.md).',
  },
  SHADOW_E_REHEARSAL: {
    happened:
      'A rehearsal runs a copy beside its source, fenced off from the network ([check.md](check.md#rehearsal)). The fence does not hold volumes: where the app may write to one that others see, the copy would write there too.',
    putBack: NOT_BEGUN,
    more: 'A migration by StopAndCopy is not concerned, since there the source stands still. If what the app does there may be done twice, say so by the annotation `shadow.ms2m.io/effects: messages` (or `idempotent`) in the pod template.',
  },
  SHADOW_E_SOURCE_LOST: {
    happened: 'The source was deleted, evicted, its sidecar was started anew or its node died.',
    putBack:
      'What can be: the copy, which never had a voice, is removed. Before the commit it is an ordinary loss of a pod: its memory is gone with it, its controller makes a new one, and the broker delivers again what was not settled.',
  },
  SHADOW_E_COPY_LOST: {
    happened: 'After the commit the copy was deleted, evicted, or its node died.',
    putBack:
      'Nothing: the source is gone. The set makes a fresh pod, and the broker delivers again what was not settled.',
  },
  SHADOW_E_ABORTED: {
    happened: '`kubectl shadow abort`, Ctrl-C, or the deletion of the migration came before its commit.',
    putBack: UNDONE,
  },
  SHADOW_E_COMMITTED: {
    happened: 'From the commit on the copy serves; going back would be another migration.',
    putBack: 'Nothing: the migration goes on to its end.',
    more: 'When it has completed, migrate the pod back with `--to`.',
  },
  SHADOW_E_FINISHED: {
    happened: 'What has ended cannot be aborted.',
    putBack: 'Nothing: it stays as it ended.',
    more: 'To move the pod back, migrate it with `--to`.',
  },
  SHADOW_E_MIGRATION_NOT_FOUND: {
    happened: 'No migration has that name in that namespace, and none is of a pod of that name.',
    putBack: NO_POD,
    more: 'Mind the namespace (`-n`, or `list -A`).',
  },
  SHADOW_E_CLAIM: {
    happened:
      'A pod was to be created with the annotation by which a copy finds its checkpoint, and no migration that runs has such a copy. The webhook refuses it.',
    putBack: 'Nothing had to be: the pod was not created.',
  },
  SHADOW_E_INVALID: {
    happened:
      'The API server, or our webhook, refused an object; the message names the field and what is wrong with it.',
    putBack: 'Nothing had to be: the object was not created.',
  },
  SHADOW_E_NO_BROKER: {
    happened: 'Neither env nor args of the containers name an AMQP broker, nor does an annotation.',
    putBack:
      'Nothing had to be. Under a namespace label the pod is admitted as it is; with `shadow.ms2m.io/inject=true` it is not created.',
  },
  SHADOW_E_TLS: {
    happened:
      'The sidecar must read what app and broker say, so it speaks TLS to the broker itself, and the app speaks `amqp://` to it, over loopback. For that the URL must stand in env or args, and the CA of the broker be known. An app that is told of TLS apart from the URL (a port 5671, a setting like `RABBITMQ_USE_SSL=true`, `ssl_…` parameters in the URL) would go on speaking it.',
    putBack:
      'Nothing had to be. As with SHADOW_E_INJECT, only an explicit `shadow.ms2m.io/inject=true` makes this an error; else the pod is admitted as it is.',
    more: 'The password of the URL may come from a Secret (`amqps://user:$(PASSWORD)@host`). The annotation `shadow.ms2m.io/broker-tls` names a Secret with the CA of the broker (`ca.crt`; `tls.crt` and `tls.key` where the broker asks for a client certificate, also for SASL EXTERNAL), or is `Public` for the well-known CAs. The name in the URL must be in the certificate of the broker: it is always verified. Where TLS is told apart from the URL, switch that off and annotate `shadow.ms2m.io/brokers=amqps://HOST`. For a URL that is in a Secret, annotate the same, put the URL into the Secret once more as `amqp://…@HOST:5671` under another key, and annotate `shadow.ms2m.io/keys=ENV=KEY`: a pod with the sidecar takes that key, one without it the old one.',
  },
  SHADOW_E_INJECT: {
    happened:
      'Only an explicit `shadow.ms2m.io/inject=true` makes this an error. Under a namespace label such a pod is admitted as it is, with the reason in its annotation `shadow.ms2m.io/status`.',
    putBack: 'Nothing had to be: the pod was not created.',
  },
  SHADOW_E_UNINJECT: {
    happened:
      '`kubectl shadow inject` keeps what it replaces in the annotation `shadow.ms2m.io/before` of the template. Without it (a manifest written by hand, or a pod as the webhook left it) an env or argument that leads to the sidecar cannot be led back.',
    putBack: NOT_SENT,
    more: 'Pods that the webhook injected need no uninjection: take the label away and restart them.',
  },
  SHADOW_E_STALE: {
    happened:
      'A sidecar or an agent was told something by a controller that does not lead any more, or for a claim that is over.',
    putBack: 'Nothing had to be: such a command is not obeyed.',
  },
  SHADOW_E_FILE: {
    happened: '`kubectl shadow report` could not write its page; the message says why.',
    putBack: NO_POD,
  },
  SHADOW_E_SKEW: {
    happened:
      'A sidecar is as old as its pod. One that is a minor version before the controller is migrated like any other; one that is older, or newer, is refused. `kubectl shadow upgrade` and `install` refuse to go back, or to skip a minor version, since they would leave such pods behind.',
    putBack: 'Nothing had to be: it is refused before anything is touched, and the pod serves on.',
    more: '`kubectl rollout restart` of its owner gives a pod the installed version. `--force` upgrades all the same. What goes with what: [operations.md](operations.md#versions).',
  },
  SHADOW_E_NAMESPACE: {
    happened:
      'The namespace of an installation is deleted with it, so it must be its own: one that exists already is taken only with the label `app.kubernetes.io/name=kubectl-shadow`. And a cluster has one installation: in another namespace it would take over the webhooks of the first.',
    putBack: 'Nothing had to be: nothing was installed.',
  },
  SHADOW_E_IN_USE: {
    happened: 'Migrations run, or pods have our sidecar; the message names them.',
    putBack: 'Nothing had to be: nothing was removed or changed.',
    more: '`kubectl shadow upgrade` begins when no migration runs (`--wait-for-migrations` waits for that, `--force` does not). `kubectl shadow uninstall --force` removes everything all the same: running migrations are aborted where they can be, injected pods keep their sidecar and run on, and new pods are no longer injected.',
  },
  SHADOW_E_ROOT: {
    happened: 'The playground makes network namespaces, mounts and cgroups.',
    putBack: 'Nothing had to be: nothing was begun.',
  },
  SHADOW_E_HOST: {
    happened: 'The message names what the machine lacks: a program, memory, disk space, or a port that is in use.',
    putBack: 'Nothing had to be: the playground is not begun, and a release not made.',
  },
  SHADOW_E_BUILD: {
    happened: 'A part of the playground or of a release could not be fetched, built or put together.',
    putBack: 'Nothing: what was built before it stays in the cache and is not built again.',
  },
  SHADOW_E_INTERNAL: {
    happened: 'Something that we did not foresee.',
    putBack:
      'As after any other error: of a migration before its commit all, and the source goes on; after it, it goes on to its end.',
    more: '`SHADOW_DEBUG=1` before the command adds the stack to the message.',
  },
};
