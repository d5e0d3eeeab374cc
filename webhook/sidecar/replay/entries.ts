/**
 * The record's entries and their binary form: u32 length of what follows, u8 kind, u32 connection, u16 channel, then what the
 * kind needs. All numbers big-endian; digests are raw bytes, kept as latin1 strings so that they are keys of maps.
 */
import type { SettleKind } from '../methods.ts';

interface At {
  readonly connection: number;
  readonly channel: number;
}
/** A unit from the broker: its raw bytes before anything in them was changed. `withheld`: the app has not got it yet. */
export interface Down extends At {
  readonly kind: 'down';
  readonly withheld: boolean;
  readonly bytes: Buffer;
}
/** A withheld delivery was handed to the app. `tag`: the app's numbering, as everywhere here. */
export interface Shown extends At {
  readonly kind: 'shown';
  readonly tag: number;
}
/** A publish of the app, complete. */
export interface Published extends At {
  readonly kind: 'publish';
  /** Its number in confirm mode; 0: not in confirm mode. */
  readonly seq: number;
  readonly mandatory: boolean;
  readonly exchange: string;
  readonly key: string;
  /** Of exchange, key, flags, properties and body. */
  readonly digest: string;
  /** Of the body alone. */
  readonly body: string;
  /** '': none. */
  readonly correlation: string;
}
/**
 * One delivery settled by the app. `all`: by a settlement of all there is (tag 0, multiple), which begins with an entry of tag
 * 0, and includes what was still on its way to the app.
 */
export interface Settled extends At {
  readonly kind: 'settle';
  readonly tag: number;
  readonly how: SettleKind;
  readonly requeue: boolean;
  readonly all: boolean;
}
/** Any other method of the app. */
export interface Requested extends At {
  readonly kind: 'request';
  readonly method: number;
  readonly digest: string;
}
/** What became of a publish in confirm mode. */
export interface Outcome extends At {
  readonly kind: 'outcome';
  readonly seq: number;
  readonly ack: boolean;
}
/** Nothing follows. `entries`: how many went before. */
export interface End {
  readonly kind: 'end';
  readonly entries: number;
}
export type Entry = Down | Shown | Published | Settled | Requested | Outcome | End;

/** Whether a copy that has not come so far yet is behind by it: an output of the app, or a hand-over to it. */
export const lags = (entry: Entry): boolean =>
  entry.kind === 'down' ? !entry.withheld : entry.kind !== 'outcome' && entry.kind !== 'end' && !ofNone(entry);

/** A settlement of all there is: what it settled follows. */
const ofNone = (entry: Entry): boolean => entry.kind === 'settle' && entry.tag === 0;

const KINDS = ['down', 'shown', 'publish', 'settle', 'request', 'outcome', 'end'] as const;
const HOWS: readonly SettleKind[] = ['ack', 'nack', 'reject'];

/** Bytes of the digests: of a whole publish, of a body, of a request. */
export const DIGEST = { publish: 32, body: 16, request: 16 } as const;

const HEAD = 4 + 1 + 4 + 2;

/** Byte by byte: `writeUIntBE` checks and chooses for each, and there are six numbers to an entry. */
class Writer {
  private readonly bytes: Buffer;
  private at: number;
  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }
  octet(value: number): void {
    this.bytes[this.at] = value;
    this.at += 1;
  }
  short(value: number): void {
    const { bytes, at } = this;
    bytes[at] = value >>> 8;
    bytes[at + 1] = value;
    this.at = at + 2;
  }
  long(value: number): void {
    this.short(value >>> 16);
    this.short(value & 0xffff);
  }
  /** Six bytes. */
  count(value: number): void {
    this.short(Math.floor(value / 0x1_0000_0000));
    this.long(value % 0x1_0000_0000);
  }
  text(text: string): void {
    this.at += this.bytes.write(text, this.at, 'latin1');
  }
  shortString(text: string): void {
    this.octet(text.length);
    this.text(text);
  }
  raw(bytes: Buffer): void {
    this.at += bytes.copy(this.bytes, this.at);
  }
}

/** Bytes of what the kind needs. */
const restOf = (entry: Entry): number => {
  switch (entry.kind) {
    case 'down':
      return 1 + entry.bytes.length;
    case 'publish':
      return (
        6 + 1 + DIGEST.publish + DIGEST.body + 3 + entry.exchange.length + entry.key.length + entry.correlation.length
      );
    case 'request':
      return 4 + DIGEST.request;
    case 'settle':
      return 8;
    case 'outcome':
      return 7;
    case 'shown':
    case 'end':
      return 6;
  }
};

export const sizeOf = (entry: Entry): number => HEAD + restOf(entry);

/** Takes `size` bytes, which is sizeOf(entry), from `at` on. Tags and counts stay below 2^48. */
export const writeEntry = (entry: Entry, size: number, bytes: Buffer, at: number): void => {
  const writer = new Writer(bytes, at);
  writer.long(size - 4);
  writer.octet(KINDS.indexOf(entry.kind));
  writer.long(entry.kind === 'end' ? 0 : entry.connection);
  writer.short(entry.kind === 'end' ? 0 : entry.channel);
  switch (entry.kind) {
    case 'down':
      writer.octet(entry.withheld ? 1 : 0);
      writer.raw(entry.bytes);
      return;
    case 'publish':
      writer.count(entry.seq);
      writer.octet(entry.mandatory ? 1 : 0);
      writer.text(entry.digest);
      writer.text(entry.body);
      writer.shortString(entry.exchange);
      writer.shortString(entry.key);
      writer.shortString(entry.correlation);
      return;
    case 'request':
      writer.long(entry.method);
      writer.text(entry.digest);
      return;
    case 'settle':
      writer.count(entry.tag);
      writer.octet(HOWS.indexOf(entry.how));
      writer.octet((entry.requeue ? 1 : 0) | (entry.all ? 2 : 0));
      return;
    case 'outcome':
      writer.count(entry.seq);
      writer.octet(entry.ack ? 1 : 0);
      return;
    case 'shown':
      writer.count(entry.tag);
      return;
    case 'end':
      writer.count(entry.entries);
  }
};

export const encodeEntry = (entry: Entry): Buffer => {
  const size = sizeOf(entry);
  const bytes = Buffer.allocUnsafe(size);
  writeEntry(entry, size, bytes, 0);
  return bytes;
};

class Reader {
  private readonly bytes: Buffer;
  private at: number;
  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }
  int(size: 1 | 2 | 4 | 6): number {
    const value = this.bytes.readUIntBE(this.at, size);
    this.at += size;
    return value;
  }
  text(length: number): string {
    const at = this.at;
    this.at += length;
    if (this.at > this.bytes.length) throw new RangeError('record entry cut short');
    return this.bytes.toString('latin1', at, this.at);
  }
  short(): string {
    return this.text(this.int(1));
  }
  rest(): Buffer {
    return this.bytes.subarray(this.at);
  }
}

/** One whole entry, its length included. Throws RangeError on what is none. */
const decodeEntry = (bytes: Buffer): Entry => {
  const reader = new Reader(bytes, 4);
  const kind = KINDS[reader.int(1)];
  const at = { connection: reader.int(4), channel: reader.int(2) };
  switch (kind) {
    case 'down':
      return { kind, ...at, withheld: reader.int(1) === 1, bytes: reader.rest() };
    case 'publish':
      return {
        kind,
        ...at,
        seq: reader.int(6),
        mandatory: reader.int(1) === 1,
        digest: reader.text(DIGEST.publish),
        body: reader.text(DIGEST.body),
        exchange: reader.short(),
        key: reader.short(),
        correlation: reader.short(),
      };
    case 'request':
      return { kind, ...at, method: reader.int(4), digest: reader.text(DIGEST.request) };
    case 'settle': {
      const tag = reader.int(6);
      const how = HOWS[reader.int(1)];
      if (how === undefined) throw new RangeError('record entry of an unknown settlement');
      const flags = reader.int(1);
      return { kind, ...at, tag, how, requeue: (flags & 1) !== 0, all: (flags & 2) !== 0 };
    }
    case 'outcome':
      return { kind, ...at, seq: reader.int(6), ack: reader.int(1) === 1 };
    case 'shown':
      return { kind, ...at, tag: reader.int(6) };
    case 'end':
      return { kind, entries: reader.int(6) };
    default:
      throw new RangeError('record entry of an unknown kind');
  }
};

/** Entries out of a byte stream that comes in pieces of any size. */
export class Decoder {
  private waiting: Buffer[] = [];
  private length = 0;

  /** Bytes of an entry that is not whole yet. */
  get partial(): number {
    return this.length;
  }

  push(chunk: Buffer): Entry[] {
    this.waiting.push(chunk);
    this.length += chunk.length;
    if (this.length < 4 || this.length < this.wanted()) return [];
    let bytes = this.waiting.length === 1 ? this.waiting[0]! : Buffer.concat(this.waiting);
    const entries: Entry[] = [];
    while (bytes.length >= 4) {
      const size = 4 + bytes.readUInt32BE(0);
      if (bytes.length < size) break;
      entries.push(decodeEntry(bytes.subarray(0, size)));
      bytes = bytes.subarray(size);
    }
    this.waiting = bytes.length > 0 ? [bytes] : [];
    this.length = bytes.length;
    return entries;
  }

  /** How long the entry at the head is, if that can be told yet. */
  private wanted(): number {
    const first = this.waiting[0]!;
    const head = first.length >= 4 ? first : Buffer.concat(this.waiting).subarray(0, 4);
    if (head !== first) this.waiting = [Buffer.concat(this.waiting)];
    return 4 + head.readUInt32BE(0);
  }
}
