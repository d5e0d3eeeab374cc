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

class Writer {
  private readonly bytes: Buffer;
  private at: number;
  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }
  int(value: number, size: 1 | 2 | 4 | 6): void {
    this.at = this.bytes.writeUIntBE(value, this.at, size);
  }
  text(text: string): void {
    this.at += this.bytes.write(text, this.at, 'latin1');
  }
  short(text: string): void {
    this.int(text.length, 1);
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
      return 6 + 1 + DIGEST.publish + DIGEST.body + 3 + textsOf(entry).reduce((sum, { length }) => sum + length, 0);
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

const textsOf = ({ exchange, key, correlation }: Published): string[] => [exchange, key, correlation];

export const sizeOf = (entry: Entry): number => HEAD + restOf(entry);

/** Takes sizeOf(entry) bytes from `at` on. Tags and counts stay below 2^48. */
export const writeEntry = (entry: Entry, bytes: Buffer, at: number): void => {
  const writer = new Writer(bytes, at);
  writer.int(sizeOf(entry) - 4, 4);
  writer.int(KINDS.indexOf(entry.kind), 1);
  writer.int(entry.kind === 'end' ? 0 : entry.connection, 4);
  writer.int(entry.kind === 'end' ? 0 : entry.channel, 2);
  switch (entry.kind) {
    case 'down':
      writer.int(entry.withheld ? 1 : 0, 1);
      writer.raw(entry.bytes);
      return;
    case 'publish':
      writer.int(entry.seq, 6);
      writer.int(entry.mandatory ? 1 : 0, 1);
      writer.text(entry.digest);
      writer.text(entry.body);
      for (const text of textsOf(entry)) writer.short(text);
      return;
    case 'request':
      writer.int(entry.method, 4);
      writer.text(entry.digest);
      return;
    case 'settle':
      writer.int(entry.tag, 6);
      writer.int(HOWS.indexOf(entry.how), 1);
      writer.int((entry.requeue ? 1 : 0) | (entry.all ? 2 : 0), 1);
      return;
    case 'outcome':
      writer.int(entry.seq, 6);
      writer.int(entry.ack ? 1 : 0, 1);
      return;
    case 'shown':
      writer.int(entry.tag, 6);
      return;
    case 'end':
      writer.int(entry.entries, 6);
  }
};

export const encodeEntry = (entry: Entry): Buffer => {
  const bytes = Buffer.allocUnsafe(sizeOf(entry));
  writeEntry(entry, bytes, 0);
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
