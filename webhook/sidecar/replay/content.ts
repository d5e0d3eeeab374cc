/** What the record keeps of contents: digests, and of the properties the one by which a reply is known. */
import { createHash } from 'node:crypto';
import { FRAME, HEADER_BYTES, type Piece } from '../frames.ts';
import { ARGUMENTS, Arguments } from '../methods.ts';
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
const payloadOf = ({ bytes, first, last }: Piece): Buffer =>
  bytes.subarray(first ? HEADER_BYTES : 0, last ? bytes.length - 1 : bytes.length);

const shortened = (digest: Buffer, bytes: number): string => digest.toString('latin1', 0, bytes);

export interface Digests {
  readonly digest: string;
  readonly body: string;
  readonly correlation: string;
}

/** Follows one publish of the app, piece by piece: neither frame boundaries, nor the channel, nor its timestamp count. */
export class PublishDigest {
  private readonly whole = createHash('sha256');
  private readonly body = createHash('sha256');
  private readonly header: Buffer[] = [];
  private headed = false;

  constructor(method: Buffer) {
    // Exchange, key and flags; before them a reserved number.
    this.whole.update(method.subarray(ARGUMENTS + 2, method.length - 1));
  }

  add(piece: Piece): void {
    const payload = payloadOf(piece);
    if (piece.type !== FRAME.body) {
      this.header.push(Buffer.from(payload));
      return;
    }
    this.head();
    this.whole.update(payload);
    this.body.update(payload);
  }

  /** The header is whole once the body begins, or nothing more comes. */
  private head(): void {
    if (!this.headed) this.whole.update(timeless(Buffer.concat(this.header)));
    this.headed = true;
  }

  done(): Digests {
    this.head();
    return {
      digest: shortened(this.whole.digest(), DIGEST.publish),
      body: shortened(this.body.digest(), DIGEST.body),
      correlation: correlationOf(Buffer.concat(this.header)),
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
