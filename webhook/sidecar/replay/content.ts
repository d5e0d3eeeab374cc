/** What the record keeps of contents: digests, and of the properties the one by which a reply is known. */
import { createHash, type Hash, hash } from 'node:crypto';
import { FRAME, HEADER_BYTES, type Piece } from '../frames.ts';
import { ARGUMENTS, Arguments, readTag } from '../methods.ts';
import { DIGEST } from './entries.ts';

/** Class, weight, body size, property flags. */
const FLAGS_AT = 12;
/** The properties up to the timestamp, by their bits in the flags, highest first, and how each is laid out. */
const PROPERTIES = [
  [15, 'short string'],
  [14, 'short string'],
  [13, 'table'],
  [12, 'octet'],
  [11, 'octet'],
  [10, 'short string'],
  [9, 'short string'],
  [8, 'short string'],
  [7, 'short string'],
  [6, 'timestamp'],
] as const;
const CORRELATION_BIT = 10;
const TIMESTAMP_BIT = 6;
const TIMESTAMP_BYTES = 8;

/** Where in a content header's payload the property of a bit begins; undefined if there is none, or if it is no header. */
const find = (header: Buffer, wanted: number): number | undefined => {
  if (header.length < FLAGS_AT + 2) return undefined;
  const flags = header.readUInt16BE(FLAGS_AT);
  if ((flags & (1 << wanted)) === 0) return undefined;
  let at = FLAGS_AT;
  // Bit 0: one more word of flags follows.
  while (at + 2 <= header.length && (header.readUInt16BE(at) & 1) !== 0) at += 2;
  at += 2;
  for (const [bit, layout] of PROPERTIES) {
    if (bit === wanted) break;
    if ((flags & (1 << bit)) === 0) continue;
    if (layout === 'octet') at += 1;
    else if (layout === 'short string') at += 1 + (header[at] ?? 0);
    else at += 4 + (at + 4 <= header.length ? header.readUInt32BE(at) : 0);
  }
  return at;
};

/** The correlation-id in a content header's payload; '' if there is none, or if it is no header. */
export const correlationOf = (header: Buffer): string => {
  const at = find(header, CORRELATION_BIT);
  const length = at === undefined ? undefined : header[at];
  return at === undefined || length === undefined ? '' : header.toString('latin1', at + 1, at + 1 + length);
};

/**
 * All of a content header's payload but the time that a client has put on the message: two copies of an app say the same at
 * different times, and some clients note when without being asked.
 */
const timeless = (header: Buffer): Buffer => {
  const at = find(header, TIMESTAMP_BIT);
  return at === undefined ? header : Buffer.concat([header.subarray(0, at), header.subarray(at + TIMESTAMP_BYTES)]);
};

/** The part of a frame's payload that a piece holds. */
const payloadOf = ({ chunk, start, end, first, last }: Piece): Buffer =>
  chunk.subarray(first ? start + HEADER_BYTES : start, last ? end - 1 : end);

const shortened = (digest: Buffer, bytes: number): string => digest.toString('latin1', 0, bytes);

export interface Digests {
  readonly digest: string;
  readonly body: string;
  readonly correlation: string;
}

/** Follows one publish of the app, piece by piece: neither frame boundaries, nor the channel, nor its timestamp count. */
export class PublishDigest {
  /** Exchange, key and flags; before them a reserved number. */
  private readonly method: Buffer;
  private readonly header: Buffer[] = [];
  /** Bytes of the body, as announced. */
  private size = 0;
  /** Its digest: at once where it comes in one piece, as it mostly does. */
  private body: Buffer | undefined;
  private parts: Hash | undefined;

  constructor(method: Buffer) {
    this.method = Buffer.from(method.subarray(ARGUMENTS + 2, method.length - 1));
  }

  add(piece: Piece): void {
    const payload = payloadOf(piece);
    if (piece.type !== FRAME.body) {
      if (piece.first) this.size = readTag(piece.chunk, piece.start + HEADER_BYTES + 4);
      this.header.push(Buffer.from(payload));
    } else if (payload.length === this.size) this.body = hash('sha256', payload, 'buffer');
    else {
      this.parts ??= createHash('sha256');
      this.parts.update(payload);
    }
  }

  done(): Digests {
    const body = this.body ?? (this.parts ?? createHash('sha256')).digest();
    const header = this.header.length === 1 ? this.header[0]! : Buffer.concat(this.header);
    return {
      digest: shortened(hash('sha256', Buffer.concat([this.method, timeless(header), body]), 'buffer'), DIGEST.publish),
      body: shortened(body, DIGEST.body),
      correlation: correlationOf(header),
    };
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
    body: shortened(body.digest(), DIGEST.body),
    correlation: correlationOf(Buffer.concat(header)),
  };
};

/** Of a method and its arguments. */
export const requestDigest = (frame: Buffer): string =>
  shortened(
    createHash('sha256')
      .update(frame.subarray(HEADER_BYTES, frame.length - 1))
      .digest(),
    DIGEST.request,
  );

/** The address of a basic.publish, and whether it wants what can't be routed back. */
export const addressOf = (publish: Buffer): { exchange: string; key: string; mandatory: boolean } => {
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
