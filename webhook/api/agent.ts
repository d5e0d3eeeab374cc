/**
 * The agent's API: HTTPS with mTLS (certificates of our CA; callers are CN shadow-controller or shadow-agent), JSON in and
 * out, on PORT.agent of the agent's pod. All calls are POST /v1/<name> with the request below as body, and idempotent.
 * Errors: status 4xx/5xx with {code, message, retryable}. `epoch` is the leader's; a lower one than seen for the claim is
 * refused with SHADOW_E_STALE.
 */
import * as z from 'zod';

const PodId = z.object({ namespace: z.string(), name: z.string(), uid: z.string() });
export type PodId = z.infer<typeof PodId>;
/** `sidecar` marks ours; `restored` ones are cloned, others (mesh) are left alone. In start order. */
const Container = z.object({ name: z.string(), sidecar: z.boolean() });

/** Where a checkpoint's image is put, and how to get there. `name`: the repository on that host; `ca`: PEM, trusted too. */
const Image = z.object({
  /** Absent: https, unless the node's administrator has said otherwise of the host. */
  scheme: z.enum(['https', 'http']).optional(),
  host: z.string(),
  name: z.string(),
  tag: z.string(),
  /** Both or none. */
  username: z.string().optional(),
  password: z.string().optional(),
  ca: z.string().optional(),
});
export type Image = z.infer<typeof Image>;
const Digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);

const claimed = { claim: z.string(), epoch: z.number().int() };

const NodeFacts = z.object({
  node: z.string(),
  arch: z.string(),
  kernel: z.string(),
  containerd: z.string(),
  runc: z.string(),
  criu: z.string(),
  cpuFlags: z.array(z.string()),
  /** Bytes free under /var/lib/shadow. */
  freeBytes: z.number(),
  handlerInstalled: z.boolean(),
});

export const AGENT_CALLS = {
  /** What this node is. */
  node: { request: z.object({}), response: NodeFacts },
  /** The same and what takes longer to find out, for `kubectl shadow check`. Of the texts an empty one is good. */
  examine: {
    request: z.object({}),
    response: NodeFacts.extend({
      /** What `criu check` complains of. */
      criuCheck: z.string(),
      /** Whether containerd's configuration on the disk names the runtime handler; absent: it could not be read. */
      handlerConfigured: z.boolean().optional(),
      /** Why the kubelet's checkpoint API can't be used. */
      checkpointApi: z.string(),
      /** Claims that have files here. Absent: an agent of 0.1. */
      claims: z.array(z.string()).optional(),
      /** The node's clock when it had all of this, milliseconds since 1970. */
      now: z.number(),
    }),
  },
  /** What the processes of a pod hold, for preflight. */
  inspect: {
    request: z.object({ pod: PodId, podIP: z.string(), containers: z.array(Container) }),
    response: z.object({
      /** What can't be checkpointed or restored, one line each. */
      hazards: z.array(z.string()),
      /** TCP peers of app containers other than loopback: "10.0.0.5:5432". */
      peers: z.array(z.string()),
      /** Estimated checkpoint size: anonymous memory plus changed files and emptyDirs, bytes. */
      estimatedBytes: z.number(),
    }),
  },
  /** Target: makes the claim directory, before the copy's pod is created. `copy` is its namespace and name. */
  prepare: {
    request: z.object({
      ...claimed,
      copy: z.object({ namespace: z.string(), name: z.string() }),
      containers: z.array(Container),
      /** Images the copy will run, digest-pinned; pulled now. */
      images: z.array(z.string()),
      /** The source's, if it is known: the handler readies the pod's network by it. Only where all of its containers are restored. */
      oldIP: z.string().optional(),
      /** false: no fence round the copy, the app's calls to the outside are idempotent. Absent: true. */
      fence: z.boolean().optional(),
    }),
    /** `present`: all of the images are here now. */
    response: z.object({ present: z.boolean().optional() }),
  },
  /**
   * Source, before anything is touched: the pod's memory as it lies, read while the app runs, goes the way the checkpoint will
   * go. A road that is closed is found here; and of the checkpoint, which an app waits for, only the pages that differ by then
   * have to travel. Same node: nothing. `bytes`: how much went.
   * Of a pod that holds less than `atLeast` bytes nothing goes: the road is tried, no more.
   */
  precopy: {
    request: z.object({
      ...claimed,
      pod: PodId,
      containers: z.array(Container),
      target: z.object({ url: z.string(), node: z.string() }),
      atLeast: z.number().int().optional(),
    }),
    response: z.object({ bytes: z.number(), ms: z.number() }),
  },
  /** Target: is the first container of the copy waiting in the handler? Answers at once. */
  waiting: {
    request: z.object({ ...claimed }),
    response: z.object({ waiting: z.boolean() }),
  },
  /**
   * Source, while its app runs: all of the cut that can be done by now (volumes packed, tools started), kept for 15 s. A cut
   * without it does it itself, within the freeze.
   */
  arm: {
    request: z.object({ ...claimed, pod: PodId, containers: z.array(Container), driver: z.enum(['runc', 'kubelet']) }),
    response: z.object({}),
  },
  /**
   * Source: waits for the freeze marker (3 s at most), pauses all containers, checks it again, dumps them in parallel; then resumes the sidecar (thaw file) and
   * leaves the app paused, its network fenced; with `resume` the app goes on too, unfenced. Failing, it undoes all of that first.
   */
  cut: {
    request: z.object({
      ...claimed,
      pod: PodId,
      podIP: z.string(),
      containers: z.array(Container),
      freezeGeneration: z.number().int(),
      driver: z.enum(['runc', 'kubelet']),
      resume: z.boolean().optional(),
    }),
    response: z.object({ bytes: z.number(), pausedAt: z.string(), pauseMs: z.number(), dumpMs: z.number() }),
  },
  /**
   * Source: sends the checkpoint of the claim to the target's agent (https URL), digest per file; same node: moves it. `sent`:
   * bytes that travelled, of `bytes`.
   */
  send: {
    request: z.object({ ...claimed, pod: PodId, target: z.object({ url: z.string(), node: z.string() }) }),
    response: z.object({ bytes: z.number(), sent: z.number(), files: z.number(), ms: z.number() }),
  },
  /**
   * transferMode Registry, before anything is touched: could this node push (an upload is begun and called off), or pull?
   * SHADOW_E_REGISTRY, SHADOW_E_REGISTRY_ACCESS.
   */
  tryRegistry: {
    request: z.object({ image: Image, push: z.boolean() }),
    response: z.object({}),
  },
  /** Source: the checkpoint of the claim as an image; asked again, the one that is there already. `digest`: of its manifest. */
  push: {
    request: z.object({ ...claimed, image: Image, container: z.string() }),
    response: z.object({ digest: Digest, bytes: z.number(), ms: z.number() }),
  },
  /** Target: by digest from the registry, verified, then staged as after `send`. */
  pull: {
    request: z.object({ ...claimed, image: Image, digest: Digest }),
    response: z.object({ bytes: z.number(), files: z.number(), ms: z.number() }),
  },
  /** Either: out of the registry again. `digest` absent: whatever `push` of the claim has left. `left`: why it is still there; empty: it is not. */
  unpush: {
    request: z.object({ ...claimed, image: Image, digest: Digest.optional() }),
    response: z.object({ left: z.string() }),
  },
  /** transferMode Direct, before anything is touched: can the image store of this node be reached? SHADOW_E_NODE_UNFIT. */
  tryImageStore: { request: z.object({}), response: z.object({}) },
  /** Source: the checkpoint of the claim as an image into the target's image store (by its agent), and from there as after `send`. */
  sendImage: {
    request: z.object({ ...claimed, container: z.string(), target: z.object({ url: z.string(), node: z.string() }) }),
    response: z.object({ bytes: z.number(), files: z.number(), ms: z.number() }),
  },
  /** Target: emptyDirs into the copy's volumes, then READY: the handler restores. Waits (≤ timeoutMs) for all containers, thaws. */
  restore: {
    request: z.object({
      ...claimed,
      copy: PodId,
      /** IP of the source pod at the cut: the loopback sockets are not bound to it, others are. */
      oldIP: z.string(),
      freezeGeneration: z.number().int(),
      timeoutMs: z.number().int(),
      /** What gethostname() is to answer; absent: as in the checkpoint. */
      hostname: z.string().max(63).optional(),
    }),
    response: z.object({ containers: z.array(z.object({ name: z.string(), id: z.string() })), ms: z.number() }),
  },
  /** Target: CANCEL; the handler's wait ends and the create fails. Before the pod is deleted. */
  cancel: { request: z.object({ ...claimed }), response: z.object({}) },
  /** Target, after the commit: opens the fence of the copy. */
  unfence: { request: z.object({ ...claimed, pod: PodId }), response: z.object({}) },
  /** Source, mute while its app runs on: nothing of the app leaves the pod but replies (invariant 4). Not called where `prepare` had no fence. */
  fence: { request: z.object({ ...claimed, pod: PodId }), response: z.object({}) },
  /**
   * Source, after the commit: new connections from outside to each `port` are turned to `to`, where its sidecar passes them on.
   * Instead of those of an earlier call. Refused (SHADOW_E_UNSUPPORTED) where somebody else's rules may turn them, too. Gone with the pod's network.
   */
  forward: {
    request: z.object({
      ...claimed,
      pod: PodId,
      forwards: z.array(z.object({ port: z.number().int(), to: z.number().int() })),
    }),
    response: z.object({
      /** Connections that the app itself still has at these ports. Not told by agents before 0.2. */
      open: z.number().int().optional(),
    }),
  },
  /**
   * Source without our sidecar, after the commit: the kernel sends new connections from outside to the TCP `ports` at its own
   * addresses (`at`) on to the copy's (`to`), family by family. Proven from the node before it counts; if it does not come through, no rule is left
   * (SHADOW_E_UNSUPPORTED). Gone with the pod's network.
   */
  divert: {
    request: z.object({
      ...claimed,
      pod: PodId,
      at: z.array(z.string()),
      to: z.array(z.string()),
      ports: z.array(z.number().int()).min(1),
    }),
    response: z.object({}),
  },
  /**
   * Source after `divert`, before its pod is deleted: the app does not run one more instruction, each TCP connection of the pod
   * is ended as by a kill, but its network stays until the kubelet ends the pod. `still` false: it can't be, or was not diverted; `kill` it.
   */
  still: {
    request: z.object({ ...claimed, pod: PodId, containers: z.array(Container) }),
    response: z.object({ still: z.boolean() }),
  },
  /** Source, abort: resumes the app, lifts the fence. */
  resume: { request: z.object({ ...claimed, pod: PodId, containers: z.array(Container) }), response: z.object({}) },
  /** Source, after the commit, when its pod is being deleted: SIGKILL to the app, then thaw. */
  kill: { request: z.object({ ...claimed, pod: PodId, containers: z.array(Container) }), response: z.object({}) },
  /** Either: removes every file, rule and address of the claim. The record of taken containers stays until the pod is gone. */
  clean: { request: z.object({ ...claimed }), response: z.object({}) },
} as const;

export type AgentCall = keyof typeof AGENT_CALLS;
export type AgentRequest<C extends AgentCall> = z.infer<(typeof AGENT_CALLS)[C]['request']>;
export type AgentResponse<C extends AgentCall> = z.infer<(typeof AGENT_CALLS)[C]['response']>;
/** What the controller calls; one method per call. A test's stand-in implements the few it needs. */
export type AgentClient = { [C in AgentCall]: (request: AgentRequest<C>) => Promise<AgentResponse<C>> };
