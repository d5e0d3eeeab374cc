/**
 * Consumers of streams. A stream keeps no place for anybody: a consumer says where it begins, and each delivery tells its
 * offset. One that is made again goes on behind its last delivery (invariants 1 and 2), not where it once began.
 */
import type { Consumer } from './channel.ts';
import { HEADER_BYTES, type Piece } from './frames.ts';
import { PROPERTY, propertyAt } from './properties.ts';
import { lookup, valueIn, withInteger } from './tables.ts';

const OFFSET = 'x-stream-offset';

/** The offset that the header of a stream's delivery tells; undefined: it is none of a stream. `header`: its payload. */
export const offsetOf = (header: Buffer): number | undefined => {
  const at = propertyAt(header, PROPERTY.headers);
  if (at === undefined || at + 4 > header.length) return undefined;
  const value = valueIn(header.subarray(at, at + 4 + header.readUInt32BE(at)), OFFSET);
  return typeof value === 'number' ? value : undefined;
};

/** Reads the header of one delivery to its consumer, as it comes. */
export class OffsetReader {
  private readonly consumer: Consumer;
  private readonly parts: Buffer[] = [];

  /** undefined: nothing is to be learnt from a delivery to this consumer. */
  static of(consumer: Consumer | undefined): OffsetReader | undefined {
    return consumer && consumer.place !== false ? new OffsetReader(consumer) : undefined;
  }

  private constructor(consumer: Consumer) {
    this.consumer = consumer;
  }

  /** True when it has read all it needs. */
  read({ bytes, first, last }: Piece): boolean {
    this.parts.push(Buffer.from(bytes.subarray(first ? HEADER_BYTES : 0, last ? bytes.length - 1 : undefined)));
    if (!last) return false;
    // A queue is a stream or it is not: one look at a delivery is enough to know that it is none.
    this.consumer.place = offsetOf(Buffer.concat(this.parts)) ?? false;
    return true;
  }
}

/** What a consumer that is made again is to ask for. */
export const resumedArguments = ({ place, arguments: table }: Consumer): Buffer =>
  typeof place === 'number' ? withInteger(table, OFFSET, place + 1) : table;

/**
 * Where such a consumer began, if that is a place that moves and nothing has come yet: made again it would miss what is
 * published meanwhile. `stream`: its queue is known to be one.
 */
export const movingPlace = ({ place, arguments: table }: Consumer, stream: boolean): string | undefined => {
  if (place !== undefined) return undefined;
  if (lookup(table, OFFSET) === undefined) return stream ? 'next' : undefined;
  const asked = valueIn(table, OFFSET);
  return asked === 'next' || asked === 'last' ? asked : undefined;
};
