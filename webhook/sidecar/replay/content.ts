/** What the record keeps of contents: digests, and of the properties the one by which a reply is known. */
import { createHash, type Hash, hash } from 'node:crypto';
import { FRAME, HEADER_BYTES, type Piece } from '../frames.ts';
import { ARGUMENTS, Arguments, readTag } from '../methods.ts';
import { PROPERTY, propertyAt } from '../properties.ts';
import { DIGEST } from './entries.ts';
import { Memory } from './memory.ts';

const TIMESTAMP_BYTES = 8;
/** Of the body's size in a content header: behind class and weight. */
const SIZE_AT = 4;
const LEAST_BYTES = 256;

/** The correlation-id in a content header's payload; '' if there is none, or if it is no header. */
export const correlationOf = (header: Buffer): string => {
  const at = propertyAt(header, PROPERTY.correlationId);
  const length = at === undefined ? undefined : header[at];
  return at === undefined || length === undefined ? '' : header.toString('latin1', at + 1, at + 1 + length);
};

/** Of bytes, raw, as a latin1 string: making a Buffer of it would cost more than most bodies do. */
const digestOf = (bytes: Buffer): string => hash('sha256', bytes, 'binary');

export interface Digests {
  readonly digest: string;
  readonly body: string;
  readonly correlation: string;
}

export interface Address {
  readonly exchange: string;
  readonly key: string;
  /** It wants what can't be routed back. */
  readonly mandatory: boolean;
}

/** What of a basic.publish counts begins behind a reserved number, and ends before the end octet. */
const COUNTS_AT = ARGUMENTS + 2;

/**
 * Follows publishes of the app on one channel, piece by piece: neither frame boundaries, nor the channel, nor the time counts
 * that a client has put on the message. (Two copies of an app say the same at different times, and some clients note when
 * without being asked.)
 */
export class PublishDigest {
  /** Exchange, key and flags; then the content header's payload; and at last the body's digest. Used again for the next one. */
  private readonly memory = new Memory(LEAST_BYTES);
  private methodBytes = 0;
  address: Address = { exchange: '', key: '', mandatory: false };
  /** Bytes of the body, as announced. */
  private size = 0;
  /** Its digest: at once where it comes in one piece, as it mostly does. */
  private body: string | undefined;
  private parts: Hash | undefined;

  constructor(method: Buffer) {
    this.begin(method);
  }

  /** Another publish. */
  begin(method: Buffer): void {
    if (!this.isLikeLast(method)) {
      this.address = addressOf(method);
      this.memory.used = 0;
      this.memory.append(method, COUNTS_AT, method.length - 1);
      this.methodBytes = this.memory.used;
    }
    this.memory.used = this.methodBytes;
    this.size = 0;
    this.body = undefined;
    this.parts = undefined;
  }

  /** Mostly it goes to where the last one went. */
  private isLikeLast(method: Buffer): boolean {
    const { methodBytes } = this;
    const memory = this.memory.all;
    if (methodBytes === 0 || method.length - 1 - COUNTS_AT !== methodBytes) return false;
    for (let at = 0; at < methodBytes; at += 1) if (memory[at] !== method[COUNTS_AT + at]) return false;
    return true;
  }

  /** A part of a frame of its content. */
  add({ type, chunk, start, end, first, last }: Piece): void {
    const from = first ? start + HEADER_BYTES : start;
    const to = last ? end - 1 : end;
    if (type !== FRAME.body) {
      if (first) this.size = readTag(chunk, from + SIZE_AT, to);
      this.memory.append(chunk, from, to);
    } else if (to - from === this.size) this.body = digestOf(chunk.subarray(from, to));
    else {
      this.parts ??= createHash('sha256');
      this.parts.update(chunk.subarray(from, to));
    }
  }

  done(): Digests {
    const body = this.body ?? (this.parts ?? createHash('sha256')).digest('binary');
    const { memory } = this;
    const header = memory.all.subarray(this.methodBytes, memory.used);
    const correlation = correlationOf(header);
    const time = propertyAt(header, PROPERTY.timestamp);
    if (time !== undefined) {
      header.copyWithin(time, time + TIMESTAMP_BYTES);
      memory.used -= TIMESTAMP_BYTES;
    }
    memory.reserve(body.length);
    const end = memory.used + memory.all.write(body, memory.used, 'latin1');
    return { digest: digestOf(memory.all.subarray(0, end)), body: body.slice(0, DIGEST.body), correlation };
  }
}

/** Of the whole frames of a unit from the broker: its body's digest and its correlation-id. */
export const contentOf = (unit: Buffer): { readonly body: string; readonly correlation: string } => {
  const body = createHash('sha256');
  const header: Buffer[] = [];
  for (let at = 0; at + HEADER_BYTES < unit.length; ) {
    const size = unit.readUInt32BE(at + 3);
    const payload = unit.subarray(at + HEADER_BYTES, at + HEADER_BYTES + size);
    if (unit[at] === FRAME.body) body.update(payload);
    else if (unit[at] === FRAME.header) header.push(payload);
    at += HEADER_BYTES + size + 1;
  }
  return {
    body: body.digest('binary').slice(0, DIGEST.body),
    correlation: correlationOf(Buffer.concat(header)),
  };
};

/** Of a method and its arguments. */
export const requestDigest = (frame: Buffer): string =>
  digestOf(frame.subarray(HEADER_BYTES, frame.length - 1)).slice(0, DIGEST.request);

/** Of a basic.publish. */
const addressOf = (publish: Buffer): Address => {
  const args = new Arguments(publish);
  args.short();
  return { exchange: args.shortString(), key: args.shortString(), mandatory: (args.octet() & 1) !== 0 };
};

/** The address of a basic.return. */
export const returnedFrom = (unit: Buffer): { exchange: string; key: string } => {
  const args = new Arguments(unit);
  args.short();
  args.shortString();
  return { exchange: args.shortString(), key: args.shortString() };
};
