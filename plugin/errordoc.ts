/** docs/errors.md from the catalogue: `node plugin/errordoc.ts` writes it; a test fails when it is stale. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CATALOGUE, type ErrorCode, reasonOf, ShadowError } from '../webhook/api/errors.ts';

/** What message and hint have no room for. Codes without an entry need none. */
const MORE: Partial<Record<ErrorCode, string>> = {
  SHADOW_E_USAGE: 'Nothing was sent to the cluster. `kubectl shadow COMMAND --help` lists the flags of a command.',
  SHADOW_E_TIMEOUT:
    'Only the waiting ended, with exit code 124. A migration that was waited for goes on in the cluster, and so does an installation; the same command, or `kubectl shadow status`, shows how it ended.',
  SHADOW_E_FORBIDDEN:
    'The message names the verb, the resource and the namespace that were refused. The ClusterRole `shadow-migrate` has what `migrate`, `abort`, `status` and `list` need: bind it in the namespaces of the pods, e.g. `kubectl create rolebinding shadow --clusterrole=shadow-migrate --user=NAME -n NAMESPACE`. Who names a set, a selector or `--from-node` must list pods there as well, and get StatefulSets, or Deployments and ReplicaSets: the ClusterRoles `view` and `edit` may. `install` and `uninstall` need cluster-admin; `inject` reads the image of the sidecar from Deployment `shadow-webhook` unless `--image` names it.',
  SHADOW_E_API:
    'Either the API server was not reached (the message says how that failed: no kubeconfig, connection refused, unknown name, no answer in `--request-timeout`), or it refused the call for the reason given.',
  SHADOW_E_NOT_INSTALLED:
    'The kind StatefulMigration is unknown to the cluster. It may be another cluster than you think: see `kubectl config current-context`.',
  SHADOW_E_NOT_INJECTED:
    'Only pods created after their namespace (or pod template) was labelled have the sidecar. The annotation `shadow.ms2m.io/status` of a pod says why it was passed over; a pod created while the webhook was down has none: delete it once and it comes back with the sidecar.',
  SHADOW_E_NODE_UNFIT:
    'The message names what the node lacks: the agent (is its pod running there?), the runtime handler, a version of CRIU, runc or containerd that fits the source node, a CPU feature the process may use, room for the checkpoint, or resources for the pod.',
  SHADOW_E_NODE_SETUP:
    "Said by the agent's init container `node-setup` (see `kubectl -n shadow-system describe pod`), and by `install` when it gives up waiting. The message names what is in the way: a read-only system, a distribution that writes containerd's configuration itself, a containerd that systemd does not keep, or one that did not come up with the handler; then its files were put back and it was started as it was. More in [install.md](install.md).",
  SHADOW_E_BUSY: 'A pod, and a StatefulSet that starts its pods in order, can be in one migration at a time.',
  SHADOW_E_UNSUPPORTED:
    'Some things belong to one node or one instance and cannot be taken along: host namespaces (hostPID, hostIPC, hostNetwork), a process namespace shared by the containers, user namespaces (`hostUsers: false`), privileged containers and devices, a runtimeClassName of its own, local PersistentVolumes, sockets bound to the pod IP, unix sockets between containers, MPTCP and io_uring. For io_uring let the container run under `seccompProfile: RuntimeDefault`, which makes Node.js and others fall back to epoll. A postStart hook would run again in the copy: annotate the pod `shadow.ms2m.io/post-start: allow` if it may.',
  SHADOW_E_SESSION:
    'The message names connection, channel and queue. Give the queue a name and make it durable, not exclusive and not auto-delete; answer to a named queue instead of amq.rabbitmq.reply-to. A queue with `x-expires` of less than a minute could be gone before the copy consumes from it. A consumer of a stream that began at `next` or `last` and has had nothing yet would miss what is published meanwhile: begin at `first`, an offset or a time, or wait for the first message. AMQP 1.0, the stream protocol, MQTT, STOMP and TLS that the app speaks itself are relayed blind: the app works, but a connection that the sidecar cannot read cannot be handed over.',
  SHADOW_E_WEBHOOK:
    'The successor of a pod is restored only if the webhook answers, so this is proven by a dry run before the source is touched.',
  SHADOW_E_MUTE:
    'Before the source is muted, the outcome of every publish it has begun must be known and every consumer cancelled. A broker that is blocked (memory or disk alarm) or very slow does not answer in time. Nor is it tried while a lost broker connection is sought anew, or an app holds deliveries that came over one ([ADR 10](adr/0010-reattach.md)): it can be once they are settled.',
  SHADOW_E_CHECKPOINT:
    "Nothing was given up: the source was resumed with its connections. The message ends with the line of CRIU's log that names the cause.",
  SHADOW_E_REPOSITORY:
    'transferMode Registry puts checkpoints at `<checkpointImageRepository>/<pod>:checkpoint`. The host must be named (also `docker.io`); TLS is spoken unless `http://` stands before it, or the `hosts.toml` of the node has it so. See [transfers.md](transfers.md).',
  SHADOW_E_REGISTRY:
    'The message names node and registry and says how it failed: no answer, a certificate that nobody trusts, or what the registry itself says. Both nodes must reach it: before anything is touched, the source begins an upload and calls it off, the target asks for an image. The CA of a private registry goes into ConfigMap `shadow-registry-ca`, key `ca.crt`, beside the migration. See [transfers.md](transfers.md).',
  SHADOW_E_REGISTRY_ACCESS:
    'The registry answered 401 or 403, or the credentials could not be read. They must allow pull and push in the repository, and delete if the image is to be removed afterwards. A Secret of another name is named by the annotation `shadow.ms2m.io/registry-secret` of the migration, and the controller must be given the right to read it: see [transfers.md](transfers.md).',
  SHADOW_E_RESTORE:
    'Before the commit the copy is removed and the source resumed. In the second half of a migration (the shadow becomes the new pod of the old name) the shadow goes on serving and the restore is tried again, three times in all.',
  SHADOW_E_RECORD:
    'While the copy catches up, the source keeps what the copy has not received yet, up to 64 MiB, and the copy has two minutes. An app that takes everything at once (no prefetch limit, no_ack) at a high rate, a connection of the app that ended, or a lost broker connection make a record that cannot be played. Chosen by Auto, the migration goes on with StopAndCopy by itself; else ask for it with `--strategy StopAndCopy`.',
  SHADOW_E_DIVERGED:
    'Fed the very same deliveries, the copy published something else, settled otherwise or did nothing for five seconds: the app depends on time, chance, HTTP requests or another service, which a copy behind its fence cannot reach. Nothing of the copy went out. `--on-divergence Report` lets the word of the source stand and counts the differences instead; StopAndCopy does not compare.',
  SHADOW_E_ROLLOUT:
    'A StatefulSet or Deployment that goes from one template to another would make, or drop, the wrong pod. A StatefulSet that makes its pods in order must also have all lower ordinals Ready.',
  SHADOW_E_SOURCE_LOST:
    'The source was deleted, evicted, its sidecar was started anew or its node died. Before the commit that is an ordinary loss of a pod: its controller makes a new one, and the broker delivers again what was not settled.',
  SHADOW_E_COMMITTED:
    'From the commit on the copy serves; going back would be another migration. When it has completed, migrate the pod back with `--to`.',
  SHADOW_E_INJECT:
    'Only an explicit `shadow.ms2m.io/inject=true` makes this an error. Under a namespace label such a pod is admitted as it is, with the reason in its annotation `shadow.ms2m.io/status`.',
  SHADOW_E_TLS:
    'The sidecar must read what app and broker say, so it speaks TLS to the broker itself, and the app speaks `amqp://` to it, over loopback. For that the URL must stand in env or args (its password may come from a Secret: `amqps://user:$(PASSWORD)@host`), and the annotation `shadow.ms2m.io/broker-tls` must name a Secret with the CA of the broker (`ca.crt`; `tls.crt` and `tls.key` where the broker asks for a client certificate, also for SASL EXTERNAL), or be `Public` for the well-known CAs. The name in the URL must be in the certificate of the broker: it is always verified. An app that is told of TLS apart from the URL (a port 5671, a setting like `RABBITMQ_USE_SSL=true`, `ssl_…` parameters in the URL) would go on speaking it: switch that off and annotate `shadow.ms2m.io/brokers=amqps://HOST`. For a URL that is in a Secret, annotate the same, put the URL into the Secret once more as `amqp://…@HOST:5671` under another key, and annotate `shadow.ms2m.io/keys=ENV=KEY`: a pod with the sidecar takes that key, one without it the old one. As with SHADOW_E_INJECT, only an explicit `shadow.ms2m.io/inject=true` makes this an error.',
  SHADOW_E_UNINJECT:
    '`kubectl shadow inject` keeps what it replaces in the annotation `shadow.ms2m.io/before` of the template. Without it (a manifest written by hand, or a pod as the webhook left it) an env or argument that leads to the sidecar cannot be led back. Pods that the webhook injected need no uninjection: take the label away and restart them.',
  SHADOW_E_IN_USE:
    '`kubectl shadow uninstall --force` removes everything all the same: running migrations are aborted where they can be, injected pods keep their sidecar and run on, and new pods are no longer injected.',
  SHADOW_E_INTERNAL: '`SHADOW_DEBUG=1` before the command adds the stack to the message.',
};

const section = (code: ErrorCode): string =>
  [
    `## ${code}`,
    `${CATALOGUE[code].message}.`,
    `- Exit code: ${new ShadowError(code).exit}`,
    `- Condition reason: \`${reasonOf(code)}\``,
    `- What to do: ${CATALOGUE[code].hint}.`,
    ...(MORE[code] ? ['', MORE[code]] : []),
  ].join('\n');

export const errorDoc = (): string =>
  [
    '<!-- Written by plugin/errordoc.ts from webhook/api/errors.ts. Change those, then run: node plugin/errordoc.ts -->',
    '# Errors',
    'Each error has a code. It stands in brackets behind the message of `kubectl shadow`, and the condition and the event of a migration that failed by it have its reason.',
    '',
    ...(Object.keys(CATALOGUE) as ErrorCode[]).map((code) => `${section(code)}\n`),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');

export const ERROR_DOC = join(import.meta.dirname, '..', 'docs', 'errors.md');

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(ERROR_DOC, errorDoc());
