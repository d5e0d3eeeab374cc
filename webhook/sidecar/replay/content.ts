/** What the record keeps of contents: digests, and of the properties the one by which a reply is known. */
import { createHash, type Hash, hash } from 'node:crypto';
import { FRAME, HEADER_BYTES, type Piece } from '../frames.ts';
import { ARGUMENTS, Arguments, readTag } from '../methods.ts';
import { PROPERTY, propertyAt } from '../properties.ts';
import { DIGEST } from './entries.ts';

const TIMESTAMP_BYTES = 8;

/** The correlation-id in a content header's payload; '' if there is none, or if it is no header. */
export const correlationOf = (header: Buffer): string => {
  const at = propertyAt(header, PROPERTY.correlationId);
  const length = at === undefined ? undefined : header[at];
  return at === undefined || length === undefined ? '' : header.toString('latin1', at + 1, at + 1 + length);
};

/**
 * All of a content header's payload but the time that a client has put on the message: two copies of an app say the same at
 * different times, and some clients note when without being asked.
 */
const timeless = (header: Buffer): Buffer => {
  const at = propertyAt(header, PROPERTY.timestamp);
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
