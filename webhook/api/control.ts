/**
 * The control protocol between sidecar and controller: JSON text messages over one WebSocket, dialled by the sidecar
 * (wss://shadow-controller.shadow-system.svc:8444/v1/sidecar, `Authorization: Bearer <projected token>`; the controller
 * proves it by TokenReview and takes pod name and uid from its claims).
 *
 * Every command carries the claim and the leader's epoch (Lease transitions); a sidecar refuses a lower epoch than the
 * highest it has seen with SHADOW_E_STALE. All commands are idempotent: asked again in the state they lead to, they
 * answer the same.
 */
import * as z from 'zod';

export const CONTROL_PATH = '/v1/sidecar';

/**
 * idle: relays. muting, mute: invariant 4, nothing of the app goes upstream. frozen is never seen over the wire.
 * copy: restored, its app held, upstream not yet open. attached: connections, channels, qos open, consumes nothing.
 * live: the copy serves (after its commit; a live copy becomes idle when no carried delivery is left and it consumes).
 * superseded: a source after its commit: heartbeats and settle-through only. closed: a superseded source with all settled.
 */
export const SidecarState = z.enum(['idle', 'muting', 'mute', 'copy', 'attached', 'live', 'superseded', 'closed']);
export type SidecarState = z.infer<typeof SidecarState>;

export const Hello = z.object({
  type: z.literal('hello'),
  version: z.string(),
  /** Random per sidecar process; a restored copy keeps its source's. */
  process: z.string(),
  state: SidecarState,
  /** Claim of the handoff it is in, if any. */
  claim: z.string().optional(),
  /** mute: why its session is gone (broker connection lost, sidecar restarted): the broker requeued, it can't be cut. */
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

const command = { id: z.number().int(), claim: z.string(), epoch: z.number().int() };

/** Controller → sidecar. Each is answered by one Answer with the same id. */
export const Command = z.discriminatedUnion('type', [
  /** → SessionReport. claim is '' outside a handoff. */
  z.object({ ...command, type: z.literal('inspect') }),
  /** idle → mute. Bounded by timeoutMs; on failure it is idle again. → MuteResult */
  z.object({ ...command, type: z.literal('mute'), timeoutMs: z.number().int() }),
  /** mute → frozen: answers {} first, then stops all I/O until thawed or deadlineMs have passed. */
  z.object({ ...command, type: z.literal('freeze'), generation: z.number().int(), deadlineMs: z.number().int() }),
  /** mute → idle (abort). → {} */
  z.object({ ...command, type: z.literal('unmute') }),
  /** copy → attached. → {} */
  z.object({ ...command, type: z.literal('attach'), timeoutMs: z.number().int() }),
  /** attached → live, only after the commit. Its consumers wait until the source is closed (see Settled). → {} */
  z.object({ ...command, type: z.literal('live') }),
  /** mute → superseded, only after the commit. → SettleStatus */
  z.object({ ...command, type: z.literal('supersede') }),
  /** superseded → closed: closes its upstream connections once all is settled. → SettleStatus */
  z.object({ ...command, type: z.literal('settleStatus') }),
]);
export type Command = z.infer<typeof Command>;
export type CommandType = Command['type'];

export const MuteResult = z.object({
  /** Unsettled deliveries that travel with the copy, over all channels (no_ack ones do not count). */
  carried: z.number().int(),
});
export type MuteResult = z.infer<typeof MuteResult>;

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

/** Sidecar → controller, unasked: its state changed. */
export const StateChange = z.object({
  type: z.literal('state'),
  state: SidecarState,
  claim: z.string().optional(),
  /** In state superseded or closed. */
  outstanding: z.number().int().optional(),
  /** As in Hello. */
  lost: z.string().optional(),
});
export type StateChange = z.infer<typeof StateChange>;

export const FromSidecar = z.discriminatedUnion('type', [Hello, Answer, Settle, Settled, StateChange]);
export type FromSidecar = z.infer<typeof FromSidecar>;
export const FromController = z.union([Command, Settle, Settled]);
export type FromController = z.infer<typeof FromController>;
