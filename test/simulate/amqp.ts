/**
 * AMQP 0-9-1 as the simulated app, the taps and the oracle speak it. Written apart from the sidecar's own (webhook/sidecar/
 * methods.ts): a mistake made there must not be made here too.
 */

const id = (classId: number, methodId: number): number => classId * 65536 + methodId;
export const M = {
  start: id(10, 10),
  startOk: id(10, 11),
  tune: id(10, 30),
  tuneOk: id(10, 31),
  open: id(10, 40),
  openOk: id(10, 41),
  close: id(10, 50),
  closeOk: id(10, 51),
  blocked: id(10, 60),
  unblocked: id(10, 61),
  channelOpen: id(20, 10),
  channelOpenOk: id(20, 11),
  flow: id(20, 20),
  flowOk: id(20, 21),
  channelClose: id(20, 40),
  channelCloseOk: id(20, 41),
  declare: id(50, 10),
  declareOk: id(50, 11),
  qos: id(60, 10),
  qosOk: id(60, 11),
  consume: id(60, 20),
  consumeOk: id(60, 21),
  cancel: id(60, 30),
  cancelOk: id(60, 31),
  publish: id(60, 40),
  return: id(60, 50),
  deliver: id(60, 60),
  get: id(60, 70),
  getOk: id(60, 71),
  getEmpty: id(60, 72),
  ack: id(60, 80),
  reject: id(60, 90),
  nack: id(60, 120),
  select: id(85, 10),
  selectOk: id(85, 11),
} as const;

const NAMES = new Map<number, string>(Object.entries(M).map(([name, method]) => [method, name]));
export const nameOf = (method: number): string =>
  NAMES.get(method) ?? `${Math.floor(method / 65536)}.${method % 65536}`;

export interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly payload: Buffer;
}

/** Frames out of a stream cut anywhere. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0);
  /** Bytes outside frames to be skipped first: the protocol header. */
  skip: number;
  constructor(skip = 0) {
    this.skip = skip;
  }
  push(chunk: Buffer): Frame[] {
    let bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const skipped = Math.min(this.skip, bytes.length);
    this.skip -= skipped;
    bytes = bytes.subarray(skipped);
    const frames: Frame[] = [];
    let at = 0;
    while (bytes.length - at >= 7) {
      const size = bytes.readUInt32BE(at + 3);
      if (bytes.length - at < size + 8) break;
      if (bytes[at + 7 + size] !== 0xce) throw new Error('a frame without its end octet');
      const payload = Buffer.from(bytes.subarray(at + 7, at + 7 + size));
      frames.push({ type: bytes[at]!, channel: bytes.readUInt16BE(at + 1), payload });
      at += size + 8;
    }
    this.rest = Buffer.from(bytes.subarray(at));
    return frames;
  }
  /** Between two frames. */
  get even(): boolean {
    return this.rest.length === 0;
  }
}

/** Reads fields one after the other. */
export class Fields {
  private readonly bytes: Buffer;
  at: number;
  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }
  octet(): number {
    return this.bytes.readUInt8(this.at++);
  }
  short(): number {
    this.at += 2;
    return this.bytes.readUInt16BE(this.at - 2);
  }
  long(): number {
    this.at += 4;
    return this.bytes.readUInt32BE(this.at - 4);
  }
  longlong(): number {
    this.at += 8;
    return Number(this.bytes.readBigUInt64BE(this.at - 8));
  }
  text(): string {
    const length = this.octet();
    this.at += length;
    return this.bytes.toString('utf8', this.at - length, this.at);
  }
  table(): void {
    const length = this.long();
    this.at += length;
  }
}

export const methodId = (frame: Frame): number => frame.payload.readUInt32BE(0);
export const fields = (frame: Frame): Fields => new Fields(frame.payload, 4);

export interface Properties {
  readonly correlation?: string;
  readonly replyTo?: string;
  readonly messageId?: string;
}

/** Of a content header's payload. */
export const readHeader = (payload: Buffer): { size: number; properties: Properties } => {
  const size = Number(payload.readBigUInt64BE(4));
  const flags = payload.readUInt16BE(12);
  const at = new Fields(payload, 14);
  const has = (bit: number): boolean => (flags & (1 << bit)) !== 0;
  if (has(15)) at.text();
  if (has(14)) at.text();
  if (has(13)) at.table();
  if (has(12)) at.octet();
  if (has(11)) at.octet();
  const correlation = has(10) ? at.text() : undefined;
  const replyTo = has(9) ? at.text() : undefined;
  if (has(8)) at.text();
  const messageId = has(7) ? at.text() : undefined;
  return {
    size,
    properties: {
      ...(correlation === undefined ? {} : { correlation }),
      ...(replyTo === undefined ? {} : { replyTo }),
      ...(messageId === undefined ? {} : { messageId }),
    },
  };
};

// ---- writing

const octet = (value: number): Buffer => Buffer.from([value]);
const short = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const long = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const longlong = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};
const text = (value: string): Buffer => Buffer.concat([octet(Buffer.byteLength(value)), Buffer.from(value)]);
const longtext = (value: Buffer): Buffer => Buffer.concat([long(value.length), value]);
/** Each of its values a text. */
const table = (entries: Readonly<Record<string, string>>): Buffer =>
  longtext(
    Buffer.concat(
      Object.entries(entries).flatMap(([key, value]) => [text(key), octet(83), longtext(Buffer.from(value))]),
    ),
  );
const bits = (...flags: boolean[]): Buffer => octet(flags.reduce((sum, flag, bit) => sum + (flag ? 1 << bit : 0), 0));

const frame = (type: number, channel: number, payload: Buffer): Buffer =>
  Buffer.concat([octet(type), short(channel), long(payload.length), payload, octet(0xce)]);
const method = (channel: number, which: number, ...parts: Buffer[]): Buffer =>
  frame(1, channel, Buffer.concat([long(which), ...parts]));

export interface Publish {
  readonly exchange: string;
  readonly key: string;
  readonly mandatory: boolean;
  readonly properties: Properties;
  readonly body: Buffer;
}

const header = (channel: number, { properties, body }: Publish): Buffer => {
  const { correlation, replyTo, messageId } = properties;
  const given = (value: string | undefined, bit: number): number => (value === undefined ? 0 : 1 << bit);
  const flags = (1 << 13) | (1 << 12) | given(correlation, 10) | given(replyTo, 9) | given(messageId, 7);
  const values = [correlation, replyTo, messageId].filter((value) => value !== undefined);
  return frame(
    2,
    channel,
    Buffer.concat([
      short(60),
      short(0),
      longlong(body.length),
      short(flags),
      table({ by: 'simulate' }),
      octet(1),
      ...values.map(text),
    ]),
  );
};

export const PROTOCOL = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1');
export const HEARTBEAT = frame(8, 0, Buffer.alloc(0));

export const write = {
  startOk: (user: string, password: string): Buffer =>
    method(
      0,
      M.startOk,
      table({ product: 'simulate' }),
      text('PLAIN'),
      longtext(Buffer.from(`\0${user}\0${password}`)),
      text('en_US'),
    ),
  tuneOk: (frameMax: number, heartbeat: number): Buffer =>
    method(0, M.tuneOk, short(2047), long(frameMax), short(heartbeat)),
  open: (vhost: string): Buffer => method(0, M.open, text(vhost), text(''), octet(0)),
  close: (): Buffer => method(0, M.close, short(200), text('done'), short(0), short(0)),
  closeOk: (): Buffer => method(0, M.closeOk),
  channelOpen: (channel: number): Buffer => method(channel, M.channelOpen, text('')),
  channelClose: (channel: number): Buffer =>
    method(channel, M.channelClose, short(200), text('done'), short(0), short(0)),
  channelCloseOk: (channel: number): Buffer => method(channel, M.channelCloseOk),
  select: (channel: number): Buffer => method(channel, M.select, octet(0)),
  qos: (channel: number, prefetch: number, global: boolean): Buffer =>
    method(channel, M.qos, long(0), short(prefetch), bits(global)),
  declare: (channel: number, queue: string, quorum: boolean): Buffer =>
    method(
      channel,
      M.declare,
      short(0),
      text(queue),
      bits(false, true),
      table(quorum ? { 'x-queue-type': 'quorum' } : {}),
    ),
  declarePassive: (channel: number, queue: string): Buffer =>
    method(channel, M.declare, short(0), text(queue), bits(true), table({})),
  consume: (channel: number, queue: string, tag: string, noAck: boolean): Buffer =>
    method(channel, M.consume, short(0), text(queue), text(tag), bits(false, noAck), table({})),
  cancel: (channel: number, tag: string): Buffer => method(channel, M.cancel, text(tag), bits(false)),
  get: (channel: number, queue: string): Buffer => method(channel, M.get, short(0), text(queue), bits(false)),
  ack: (channel: number, tag: number, multiple: boolean): Buffer =>
    method(channel, M.ack, longlong(tag), bits(multiple)),
  nack: (channel: number, tag: number, multiple: boolean, requeue: boolean): Buffer =>
    method(channel, M.nack, longlong(tag), bits(multiple, requeue)),
  reject: (channel: number, tag: number, requeue: boolean): Buffer =>
    method(channel, M.reject, longlong(tag), bits(requeue)),
  publish: (channel: number, publish: Publish, frameMax: number): Buffer[] => {
    const frames = [
      method(channel, M.publish, short(0), text(publish.exchange), text(publish.key), bits(publish.mandatory)),
      header(channel, publish),
    ];
    for (let at = 0; at < publish.body.length; at += frameMax - 8)
      frames.push(frame(3, channel, publish.body.subarray(at, at + frameMax - 8)));
    return frames;
  },
};
