/**
 * The AMQP 0-9-1 methods the session understands: ids, the few fields it reads, the few frames it writes. Tables are never
 * decoded and encoded again: a consumer's arguments are kept as the bytes they came in.
 */
import { FRAME, FRAME_END, HEADER_BYTES, long, Malformed } from './frames.ts';

const id = (classId: number, methodId: number): number => (classId << 16) | methodId;

export const METHOD = {
  connectionStart: id(10, 10),
  connectionStartOk: id(10, 11),
  connectionSecure: id(10, 20),
  connectionSecureOk: id(10, 21),
  connectionTune: id(10, 30),
  connectionTuneOk: id(10, 31),
  connectionOpen: id(10, 40),
  connectionOpenOk: id(10, 41),
  connectionClose: id(10, 50),
  connectionCloseOk: id(10, 51),
  connectionBlocked: id(10, 60),
  connectionUnblocked: id(10, 61),
  connectionUpdateSecret: id(10, 70),
  connectionUpdateSecretOk: id(10, 71),
  channelOpen: id(20, 10),
  channelOpenOk: id(20, 11),
  channelFlow: id(20, 20),
  channelFlowOk: id(20, 21),
  channelClose: id(20, 40),
  channelCloseOk: id(20, 41),
  exchangeDeclare: id(40, 10),
  exchangeDeclareOk: id(40, 11),
  exchangeDelete: id(40, 20),
  exchangeDeleteOk: id(40, 21),
  queueDeclare: id(50, 10),
  queueDeclareOk: id(50, 11),
  queueDelete: id(50, 40),
  queueDeleteOk: id(50, 41),
  basicQos: id(60, 10),
  basicQosOk: id(60, 11),
  basicConsume: id(60, 20),
  basicConsumeOk: id(60, 21),
  basicCancel: id(60, 30),
  basicCancelOk: id(60, 31),
  basicPublish: id(60, 40),
  basicReturn: id(60, 50),
  basicDeliver: id(60, 60),
  basicGet: id(60, 70),
  basicGetOk: id(60, 71),
  basicGetEmpty: id(60, 72),
  basicAck: id(60, 80),
  basicReject: id(60, 90),
  basicRecoverAsync: id(60, 100),
  basicRecover: id(60, 110),
  basicRecoverOk: id(60, 111),
  basicNack: id(60, 120),
  confirmSelect: id(85, 10),
  confirmSelectOk: id(85, 11),
  txSelect: id(90, 10),
} as const;

/** Class and method of a whole method frame. */
export const methodOf = (frame: Buffer): number => frame.readUInt32BE(HEADER_BYTES);
/** Where a method's arguments begin. */
export const ARGUMENTS = HEADER_BYTES + 4;

/** Delivery and publish tags are 64 bit on the wire; beyond 2^53 they are nobody's. `end`: of the frame's payload. */
export const readTag = (bytes: Buffer, at: number, end = bytes.length): number => {
  if (at + 8 > end) throw new Malformed('method arguments cut short', 'SYNTAX_ERROR');
  return long(bytes, at) * 0x1_0000_0000 + long(bytes, at + 4);
};
/** No broker gets so far. Numbers stay exact however often a session is handed over, and books of them are walked in steps of 1. */
const MOST_TAG = 2 ** 48;
/** A tag that the broker gives out, or says the outcome of. */
export const readBrokerTag = (bytes: Buffer, at: number, end = bytes.length): number => {
  const tag = readTag(bytes, at, end);
  if (tag > MOST_TAG) throw new Malformed(`tag of ${tag}`, 'SYNTAX_ERROR');
  return tag;
};
export const writeTag = (bytes: Buffer, at: number, tag: number): void => {
  bytes.writeUInt32BE(Math.floor(tag / 0x1_0000_0000), at);
  bytes.writeUInt32BE(tag % 0x1_0000_0000, at + 4);
};

/** Over a short string of the same length. */
export const writeShortString = (bytes: Buffer, at: number, text: string): void => {
  bytes.write(text, at + 1, 'latin1');
};

/** Reads arguments one after the other; past the frame's end is the peer's fault, not ours. */
export class Arguments {
  private position = ARGUMENTS;
  private readonly frame: Buffer;
  private readonly end: number;
  constructor(frame: Buffer) {
    this.frame = frame;
    this.end = frame.length - 1;
  }
  private advance(bytes: number): number {
    const at = this.position;
    this.position += bytes;
    if (this.position > this.end) throw new Malformed('method arguments cut short', 'SYNTAX_ERROR');
    return at;
  }
  octet(): number {
    return this.frame[this.advance(1)]!;
  }
  short(): number {
    return this.frame.readUInt16BE(this.advance(2));
  }
  long(): number {
    return this.frame.readUInt32BE(this.advance(4));
  }
  tag(): number {
    return readTag(this.frame, this.advance(8));
  }
  shortString(): string {
    const length = this.octet();
    const at = this.advance(length);
    return this.frame.toString('latin1', at, at + length);
  }
  /** A table with its length, copied, not decoded. */
  table(): Buffer {
    const length = this.long();
    const at = this.advance(length);
    return Buffer.from(this.frame.subarray(at - 4, at + length));
  }
  get at(): number {
    return this.position;
  }
}

/**
 * Requests that have a reply: the reply, and where their no-wait bit is (arguments before the bits octet: s = short,
 * S = short string; then the bit). Replies: METHOD ids; basic.get has two and is handled apart.
 */
interface Request {
  readonly reply: number;
  readonly noWait?: { readonly before: string; readonly bit: number };
}
export const REQUESTS: ReadonlyMap<number, Request> = new Map<number, Request>([
  [METHOD.connectionUpdateSecret, { reply: METHOD.connectionUpdateSecretOk }],
  [METHOD.connectionClose, { reply: METHOD.connectionCloseOk }],
  [METHOD.channelOpen, { reply: METHOD.channelOpenOk }],
  [METHOD.channelFlow, { reply: METHOD.channelFlowOk }],
  [METHOD.channelClose, { reply: METHOD.channelCloseOk }],
  [id(30, 10), { reply: id(30, 11) }],
  [METHOD.exchangeDeclare, { reply: METHOD.exchangeDeclareOk, noWait: { before: 'sSS', bit: 4 } }],
  [METHOD.exchangeDelete, { reply: METHOD.exchangeDeleteOk, noWait: { before: 'sS', bit: 1 } }],
  [id(40, 30), { reply: id(40, 31), noWait: { before: 'sSSS', bit: 0 } }],
  [id(40, 40), { reply: id(40, 51), noWait: { before: 'sSSS', bit: 0 } }],
  [METHOD.queueDeclare, { reply: METHOD.queueDeclareOk, noWait: { before: 'sS', bit: 4 } }],
  [id(50, 20), { reply: id(50, 21), noWait: { before: 'sSSS', bit: 0 } }],
  [id(50, 30), { reply: id(50, 31), noWait: { before: 'sS', bit: 0 } }],
  [METHOD.queueDelete, { reply: METHOD.queueDeleteOk, noWait: { before: 'sS', bit: 2 } }],
  [id(50, 50), { reply: id(50, 51) }],
  [METHOD.basicQos, { reply: METHOD.basicQosOk }],
  [METHOD.basicConsume, { reply: METHOD.basicConsumeOk, noWait: { before: 'sSS', bit: 3 } }],
  [METHOD.basicCancel, { reply: METHOD.basicCancelOk, noWait: { before: 'S', bit: 0 } }],
  [METHOD.basicGet, { reply: METHOD.basicGetOk }],
  [METHOD.basicRecover, { reply: METHOD.basicRecoverOk }],
  [METHOD.confirmSelect, { reply: METHOD.confirmSelectOk, noWait: { before: '', bit: 0 } }],
  [METHOD.txSelect, { reply: id(90, 11) }],
  [id(90, 20), { reply: id(90, 21) }],
  [id(90, 30), { reply: id(90, 31) }],
]);

export const hasNoWait = (request: Request, frame: Buffer): boolean => {
  if (!request.noWait) return false;
  const args = new Arguments(frame);
  for (const kind of request.noWait.before) {
    if (kind === 's') args.short();
    else args.shortString();
  }
  return (args.octet() & (1 << request.noWait.bit)) !== 0;
};

/** A method frame of our own. */
const frame = (channel: number, method: number, ...parts: Buffer[]): Buffer => {
  const size = parts.reduce((sum, part) => sum + part.length, 4);
  const bytes = Buffer.alloc(HEADER_BYTES + size + 1);
  bytes[0] = FRAME.method;
  bytes.writeUInt16BE(channel, 1);
  bytes.writeUInt32BE(size, 3);
  bytes.writeUInt32BE(method, HEADER_BYTES);
  let at = ARGUMENTS;
  for (const part of parts) at += part.copy(bytes, at);
  bytes[at] = FRAME_END;
  return bytes;
};
const bits = (...flags: boolean[]): Buffer =>
  Buffer.from([flags.reduce((octet, flag, bit) => octet | (flag ? 1 << bit : 0), 0)]);
const shortString = (text: string): Buffer => {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
};
const short = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const tagBytes = (tag: number): Buffer => {
  const bytes = Buffer.alloc(8);
  writeTag(bytes, 0, tag);
  return bytes;
};

export type SettleKind = 'ack' | 'nack' | 'reject';
export interface Settle {
  readonly kind: SettleKind;
  readonly tag: number;
  readonly multiple: boolean;
  readonly requeue: boolean;
}
/** basic.ack, basic.nack or basic.reject. */
export const readSettle = (method: number, bytes: Buffer): Settle => {
  const args = new Arguments(bytes);
  const tag = args.tag();
  const flags = args.octet();
  if (method === METHOD.basicAck) return { kind: 'ack', tag, multiple: (flags & 1) !== 0, requeue: false };
  if (method === METHOD.basicNack)
    return { kind: 'nack', tag, multiple: (flags & 1) !== 0, requeue: (flags & 2) !== 0 };
  return { kind: 'reject', tag, multiple: false, requeue: (flags & 1) !== 0 };
};

export interface ConsumeFields {
  readonly tag: string;
  readonly queue: string;
  readonly noLocal: boolean;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly arguments: Buffer;
}

export const PROTOCOL_HEADER = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1');
export const HEARTBEAT = Buffer.from([FRAME.heartbeat, 0, 0, 0, 0, 0, 0, FRAME_END]);

export const encode = {
  channelOpen: (channel: number): Buffer => frame(channel, METHOD.channelOpen, shortString('')),
  /** The barrier: an active channel told to be active answers flow-ok, and nothing else happens. */
  flow: (channel: number): Buffer => frame(channel, METHOD.channelFlow, bits(true)),
  qos: (channel: number, prefetch: number, global: boolean): Buffer =>
    frame(channel, METHOD.basicQos, Buffer.alloc(4), short(prefetch), bits(global)),
  /** Asks whether there is such a queue. */
  declarePassive: (channel: number, queue: string): Buffer =>
    frame(channel, METHOD.queueDeclare, short(0), shortString(queue), bits(true), Buffer.alloc(4)),
  /** The same of an exchange, of whatever type. */
  exchangePassive: (channel: number, exchange: string): Buffer =>
    frame(
      channel,
      METHOD.exchangeDeclare,
      short(0),
      shortString(exchange),
      shortString('direct'),
      bits(true),
      Buffer.alloc(4),
    ),
  channelClose: (channel: number): Buffer =>
    frame(channel, METHOD.channelClose, short(200), shortString(''), short(0), short(0)),
  confirmSelect: (channel: number): Buffer => frame(channel, METHOD.confirmSelect, bits(false)),
  consume: (channel: number, fields: ConsumeFields): Buffer =>
    frame(
      channel,
      METHOD.basicConsume,
      short(0),
      shortString(fields.queue),
      shortString(fields.tag),
      bits(fields.noLocal, fields.noAck, fields.exclusive, false),
      fields.arguments,
    ),
  cancel: (channel: number, tag: string): Buffer => frame(channel, METHOD.basicCancel, shortString(tag), bits(false)),
  settle: (channel: number, kind: SettleKind, tag: number, multiple: boolean, requeue: boolean): Buffer => {
    if (kind === 'ack') return frame(channel, METHOD.basicAck, tagBytes(tag), bits(multiple));
    if (kind === 'nack') return frame(channel, METHOD.basicNack, tagBytes(tag), bits(multiple, requeue));
    return frame(channel, METHOD.basicReject, tagBytes(tag), bits(requeue));
  },
  /** The broker's word on one publish. */
  outcome: (channel: number, ack: boolean, seq: number): Buffer =>
    frame(channel, ack ? METHOD.basicAck : METHOD.basicNack, tagBytes(seq), bits(false)),
  connectionClose: (): Buffer =>
    frame(0, METHOD.connectionClose, short(200), shortString('handed over'), short(0), short(0)),
  connectionCloseOk: (): Buffer => frame(0, METHOD.connectionCloseOk),
  /** To the app, in the broker's words: at most 255 bytes of them. */
  connectionClosed: (code: number, text: string): Buffer =>
    frame(0, METHOD.connectionClose, short(code), shortString(text.slice(0, 255)), short(0), short(0)),
  channelCloseOk: (channel: number): Buffer => frame(channel, METHOD.channelCloseOk),
  unblocked: (): Buffer => frame(0, METHOD.connectionUnblocked),
};

export interface Tune {
  readonly channelMax: number;
  readonly frameMax: number;
  readonly heartbeat: number;
}
export const readTune = (bytes: Buffer): Tune => {
  const args = new Arguments(bytes);
  return { channelMax: args.short(), frameMax: args.long(), heartbeat: args.short() };
};

/** 0 is no limit. */
const within = (value: number, limit: number): boolean => limit === 0 || (value !== 0 && value <= limit);
/** Whether what the app agreed to with one broker holds with another's offer. */
export const tuneHolds = (agreed: Tune, offer: Tune): boolean =>
  within(agreed.channelMax, offer.channelMax) && within(agreed.frameMax, offer.frameMax);
