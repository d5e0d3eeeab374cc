/**
 * The control protocol between sidecar and controller: JSON text messages over one WebSocket, dialled by the sidecar
 * (wss://shadow-controller.<our namespace>.svc:8444/v1/sidecar, `Authorization: Bearer <projected token>`; the controller
 * proves it by TokenReview and takes pod name and uid from its claims).
 *
 * Every command carries the claim and the leader's epoch (Lease transitions); a sidecar refuses a lower epoch than the
 * highest it has seen with SHADOW_E_STALE. All commands are idempotent: asked again in the state they lead to, they
 * answer the same.
 */
import * as z from 'zod';

export const CONTROL_PATH = '/v1/sidecar';

/**
 * idle: relays. recording: relays and records, from the cut on. muting, mute: invariant 4, nothing of the app goes upstream.
 * frozen is never seen over the wire. copy: restored, its app held, upstream not yet open.
 * replaying: a copy whose app is served from the source's record, nothing of it goes upstream. replayed: all up to END is
 * played, every recorded output matched, the upstream open: ready for the commit. attached: connections, channels, qos open,
 * consumes nothing (a copy that replays nothing).
 * live: the copy serves (after its commit; a live copy becomes idle when no carried delivery is left and it consumes).
 * superseded: a source after its commit: heartbeats and settle-through only. closed: a superseded source with all settled.
 */
export const SidecarState = z.enum([
  'idle',
  'recording',
  'muting',
  'mute',
  'copy',
  'replaying',
  'replayed',
  'attached',
  'live',
  'superseded',
  'closed',
]);
export type SidecarState = z.infer<typeof SidecarState>;

export const Hello = z.object({
  type: z.literal('hello'),
  version: z.string(),
  /** See skew.ts. None: 1, as it was before it was told. */
  protocol: z.number().int().optional(),
  /** Random per sidecar process; a restored copy keeps its source's. */
  process: z.string(),
  state: SidecarState,
  /** Claim of the handoff it is in, if any. */
  claim: z.string().optional(),
  /**
   * mute, recording: why its session is gone (broker connection lost, sidecar restarted, record too large): it can't be cut or
   * replayed.
   */
  lost: z.string().optional(),
});
export type Hello = z.infer<typeof Hello>;

/** One AMQP channel of the app as the sidecar knows it. */
export const ChannelReport = z.object({
  channel: z.number().int(),
  consumers: z.array(z.object({ tag: z.string(), queue: z.string(), noAck: z.boolean(), exclusive: z.boolean() })),
  /** Deliveries handed to the app and not settled. */
  unsettled: z.number().int(),
  confirm: z.boolean(),
});
export const ConnectionReport = z.object({
  id: z.number().int(),
  broker: z.string(),
  vhost: z.string(),
  channels: z.array(ChannelReport),
});
export const SessionReport = z.object({
  connections: z.array(ConnectionReport),
  /** What can't be handed over exactly, one line each, naming connection, channel and queue; empty: fit. */
  hazards: z.array(z.string()),
  /** Message counts since the process began. */
  delivered: z.number().int(),
  published: z.number().int(),
});
export type SessionReport = z.infer<typeof SessionReport>;

/** PEM. Made for one handoff; each side trusts the other's very certificate and nothing else. */
export const LinkTls = z.object({ cert: z.string(), key: z.string(), peer: z.string() });
export type LinkTls = z.infer<typeof LinkTls>;
export const DirectLink = z.object({ host: z.string(), port: z.number().int(), tls: LinkTls });
export type DirectLink = z.infer<typeof DirectLink>;

/** How a source's record grows. */
export const RecordReport = z.object({
  /** Bytes kept: recorded and not yet acknowledged by the copy. */
  bytes: z.number(),
  /** Entries recorded since the cut. */
  entries: z.number().int(),
  /** Deliveries handed to the app a second, over the last second or so. */
  rate: z.number(),
  /** Share of the copy's pace at which deliveries are handed to the source's app; 1: not throttled. */
  throttle: z.number(),
});
export type RecordReport = z.infer<typeof RecordReport>;

/** How far a copy has come. */
export const PlayReport = z.object({
  link: z.enum(['direct', 'relay']),
  /** Entries received, and of them those that are played or matched. */
  received: z.number().int(),
  played: z.number().int(),
  /** Recorded outputs (publishes, settlements, requests) the copy's app has not made yet, and deliveries not handed to it. */
  lag: z.number().int(),
  /** Recorded outputs the copy's app made too; it made as many that went nowhere (swallowed). */
  matched: z.number().int(),
  /** Outputs of the copy's app that the source's has not made (yet): they wait for the commit. */
  waiting: z.number().int(),
  /** What was lag and is none any more, a second, over the last second or so. */
  rate: z.number(),
  /** Outputs of either side that the other made differently. */
  diverged: z.number().int(),
  /** The first of them, in words for people. */
  divergence: z.string().optional(),
  /** The upstream connections, channels and qos are open. */
  attached: z.boolean(),
  /** END is here. */
  ended: z.boolean(),
});
export type PlayReport = z.infer<typeof PlayReport>;

const command = { id: z.number().int(), claim: z.string(), epoch: z.number().int() };

/** Controller → sidecar. Each is answered by one Answer with the same id. */
export const Command = z.discriminatedUnion('type', [
  /** → SessionReport. claim is '' outside a handoff. */
  z.object({ ...command, type: z.literal('inspect') }),
  /**
   * idle or recording → mute. Bounded by timeoutMs; on failure it is idle (recording: it records on) again. A source that
   * records ends its record with END. → MuteResult
   */
  z.object({ ...command, type: z.literal('mute'), timeoutMs: z.number().int() }),
  /**
   * mute → frozen → mute, or with `record` idle (or recording: the earlier record is dropped) → frozen → recording: answers {}
   * first, then stops all I/O, at a content boundary of every connection, until thawed or deadlineMs have passed.
   */
  z.object({
    ...command,
    type: z.literal('freeze'),
    generation: z.number().int(),
    deadlineMs: z.number().int(),
    record: z.boolean().optional(),
  }),
  /** mute or recording → idle (abort). → {} */
  z.object({ ...command, type: z.literal('unmute') }),
  /**
   * copy → replaying: asks the source for its record (by `wanted`, over `direct` if that can be reached, else through the
   * controller), serves the app from it, and opens the upstream connections meanwhile. Reports by `state` (PlayReport). → {}
   */
  z.object({
    ...command,
    type: z.literal('replay'),
    onDivergence: z.enum(['Abort', 'Report']),
    /** Longest time without progress while something is owed, milliseconds: then it is divergence. */
    stallMs: z.number().int(),
    attachMs: z.number().int(),
    direct: DirectLink.optional(),
  }),
  /** recording: serves its record over mTLS to the one peer named, too. Answers the port it listens on. → ServeResult */
  z.object({ ...command, type: z.literal('serve'), tls: LinkTls }),
  /** copy → attached. → {} */
  z.object({ ...command, type: z.literal('attach'), timeoutMs: z.number().int() }),
  /** attached or replayed → live, only after the commit. Its consumers wait until the source is closed (see Settled). → {} */
  z.object({ ...command, type: z.literal('live') }),
  /** mute → superseded, only after the commit. → SettleStatus */
  z.object({ ...command, type: z.literal('supersede') }),
  /** superseded → closed: closes its upstream connections once all is settled. → SettleStatus */
  z.object({ ...command, type: z.literal('settleStatus') }),
  /**
   * superseded or closed, of a source that recorded: its pod is not ready from now on (it stays ready so long, since its copy
   * must be first). With `forward` it opens a listener for each port its app serves, whose connections it passes on to that
   * host, and on SIGTERM it stays for lingerMs; with `stay` it does only that, and stays ready for now. → RetireResult
   */
  z.object({
    ...command,
    type: z.literal('retire'),
    forward: z.object({ host: z.string(), dialMs: z.number().int(), lingerMs: z.number().int() }).optional(),
    stay: z.boolean().optional(),
  }),
]);
export type Command = z.infer<typeof Command>;
export type CommandType = Command['type'];

export const MuteResult = z.object({
  /** Unsettled deliveries that travel with the copy, over all channels (no_ack ones do not count). */
  carried: z.number().int(),
});
export type MuteResult = z.infer<typeof MuteResult>;

export const ServeResult = z.object({ port: z.number().int() });
export type ServeResult = z.infer<typeof ServeResult>;

/** Whoever connects to `port` is to be turned to `to`, a listener of the sidecar in the same network namespace. */
export const Forward = z.object({ port: z.number().int(), to: z.number().int() });
export type Forward = z.infer<typeof Forward>;

/** No `forwards`: it passes nothing on, and `why`. Empty: its app serves no port. */
export const RetireResult = z.object({ forwards: z.array(Forward).optional(), why: z.string().optional() });
export type RetireResult = z.infer<typeof RetireResult>;

export const SettleStatus = z.object({
  /** Carried deliveries the copy's app has not settled yet. 0: all settled upstream, proven by a barrier. */
  outstanding: z.number().int(),
});
export type SettleStatus = z.infer<typeof SettleStatus>;

export const Answer = z.object({
  type: z.literal('answer'),
  id: z.number().int(),
  ok: z.boolean(),
  result: z.unknown().optional(),
  /** retryable: the same command may go through later. */
  error: z.object({ code: z.string(), message: z.string(), retryable: z.boolean().default(false) }).optional(),
});
export type Answer = z.infer<typeof Answer>;

/** One settlement of a carried delivery, in the app's tag numbering. Never `multiple`: the copy lists each tag. */
export const Settlement = z.object({
  connection: z.number().int(),
  channel: z.number().int(),
  tag: z.number().int(),
  kind: z.enum(['ack', 'nack', 'reject']),
  requeue: z.boolean(),
});
export type Settlement = z.infer<typeof Settlement>;

/**
 * Copy → controller → source. `seq` counts the copy's batches from 1; the source applies each once, in order, and answers
 * `settled` with the highest seq proven by a barrier. The copy repeats what is not answered after a reconnect.
 */
export const Settle = z.object({
  type: z.literal('settle'),
  claim: z.string(),
  seq: z.number().int(),
  settlements: z.array(Settlement),
});
export type Settle = z.infer<typeof Settle>;

/** Source → controller → copy. */
export const Settled = z.object({
  type: z.literal('settled'),
  claim: z.string(),
  /** 0: no batch is answered by it. */
  seq: z.number().int(),
  outstanding: z.number().int(),
  /**
   * The source's upstream connections are closed, or gone with it: only now does the copy consume (invariant 3). The hub says
   * so, by seq 0, as soon as the source's state is closed, and again whenever the copy connects.
   */
  closed: z.boolean().default(false),
});
export type Settled = z.infer<typeof Settled>;

/**
 * Copy → (controller →) source, while the copy replays: it has the record up to `received` (bytes, from 0) and wants what
 * follows; and how far it has come, by which the source throttles itself. Sent again after a reconnect, and every 40 ms or so.
 */
export const Wanted = z.object({
  type: z.literal('wanted'),
  claim: z.string(),
  received: z.number().int(),
  /** Something sent beyond `received` is lost: it is to be sent again. */
  again: z.boolean().optional(),
  /** As in PlayReport; and what was lag and is none any more, in all. */
  lag: z.number().int(),
  played: z.number().int(),
});
export type Wanted = z.infer<typeof Wanted>;

/** Source → (controller →) copy: bytes of the record from `offset` on; at most RECORD_CHUNK of them, base64. */
export const Recorded = z.object({
  type: z.literal('recorded'),
  claim: z.string(),
  offset: z.number().int(),
  bytes: z.string(),
});
export type Recorded = z.infer<typeof Recorded>;
export const RECORD_CHUNK = 256 << 10;

/** Sidecar → controller, unasked: its state changed; while it records or replays also every 200 ms. */
export const StateChange = z.object({
  type: z.literal('state'),
  state: SidecarState,
  claim: z.string().optional(),
  /** In state superseded or closed. */
  outstanding: z.number().int().optional(),
  /**
   * As in Hello; in state replaying or replayed: why it can't be replayed (SHADOW_E_DIVERGED or SHADOW_E_RECORD, or
   * SHADOW_E_ATTACH if the broker could not be reached in time, told by `code`).
   */
  lost: z.string().optional(),
  code: z.string().optional(),
  record: RecordReport.optional(),
  play: PlayReport.optional(),
});
export type StateChange = z.infer<typeof StateChange>;

export const FromSidecar = z.discriminatedUnion('type', [
  Hello,
  Answer,
  Settle,
  Settled,
  StateChange,
  Wanted,
  Recorded,
]);
export type FromSidecar = z.infer<typeof FromSidecar>;
export const FromController = z.union([Command, Settle, Settled, Wanted, Recorded]);
export type FromController = z.infer<typeof FromController>;
