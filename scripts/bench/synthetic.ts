/**
 * A source and a sink without a broker: deliveries of equal messages, their tags counted up, as one stream of bytes cut into
 * chunks of one size wherever that falls; and the frames either side needs to come so far.
 */
import { frame, long, longText, method, octet, short, tag, text } from '../../test/unit/sidecar/model/frames.ts';
import { FRAME, HEADER_BYTES } from '../../webhook/sidecar/frames.ts';
import { encode, METHOD, PROTOCOL_HEADER, writeTag } from '../../webhook/sidecar/methods.ts';

const CHANNEL = 1;
const TAG = 'c';
const QUEUE = 'q';
const FRAME_MAX = 131_072;
/** No heartbeats: nothing but deliveries goes to the sink. */
const tune = (): Buffer[] => [short(2047), long(FRAME_MAX), short(0)];

/** What the sink says to each word of the source, in order; the source's first answers the protocol header. */
export const SINK: readonly Buffer[] = [
  PROTOCOL_HEADER,
  method(0, METHOD.connectionStartOk, long(0), text('PLAIN'), longText('\0guest\0guest'), text('en_US')),
  Buffer.concat([
    method(0, METHOD.connectionTuneOk, ...tune()),
    method(0, METHOD.connectionOpen, text('/'), text(''), octet(0)),
  ]),
  encode.channelOpen(CHANNEL),
  encode.consume(CHANNEL, {
    ...{ queue: QUEUE, tag: TAG, noLocal: false, noAck: false, exclusive: false },
    arguments: long(0),
  }),
];
/** What the source answers to each of these; after the last come deliveries. */
export const SOURCE: readonly Buffer[] = [
  method(0, METHOD.connectionStart, octet(0), octet(9), long(0), longText('PLAIN'), longText('en_US')),
  method(0, METHOD.connectionTune, ...tune()),
  method(0, METHOD.connectionOpenOk, text('')),
  method(CHANNEL, METHOD.channelOpenOk, long(0)),
  method(CHANNEL, METHOD.basicConsumeOk, text(TAG)),
];

/** The sink settles all up to this one. */
export const ackUpTo = (tag: number): Buffer => encode.settle(CHANNEL, 'ack', tag, true, false);

const BASIC_CLASS = 60;
const delivery = (size: number): Buffer =>
  Buffer.concat([
    method(CHANNEL, METHOD.basicDeliver, text(TAG), Buffer.alloc(8), octet(0), text(''), text(QUEUE)),
    frame(FRAME.header, CHANNEL, Buffer.concat([short(BASIC_CLASS), short(0), tag(size), short(0)])),
    frame(FRAME.body, CHANNEL, Buffer.alloc(size, 'x')),
  ]);
/** Of the delivery tag in a delivery's first frame: behind class, method and consumer tag. */
const TAG_AT = HEADER_BYTES + 4 + 1 + TAG.length;

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));

/** An endless stream of deliveries, made in a ring: a chunk may be used until the ring has come round, and not be written to. */
export class Deliveries {
  /** Bytes of one delivery on the wire. */
  readonly messageBytes: number;
  private readonly ring: Buffer;
  private readonly chunkBytes: number;
  /** Of the whole stream: bytes cut off so far, and deliveries whose tag is written. */
  private cut = 0;
  private tagged = 0;

  constructor(size: number, chunkBytes: number) {
    const message = delivery(size);
    this.messageBytes = message.length;
    this.chunkBytes = chunkBytes;
    // So many that they end where a chunk does.
    const count = chunkBytes / greatestCommonDivisor(message.length, chunkBytes);
    this.ring = Buffer.alloc(count * message.length, message);
  }

  /** How many chunks the ring holds. */
  get chunks(): number {
    return this.ring.length / this.chunkBytes;
  }

  next(): Buffer {
    const from = this.cut % this.ring.length;
    this.cut += this.chunkBytes;
    for (; this.tagged * this.messageBytes < this.cut; this.tagged += 1)
      writeTag(this.ring, ((this.tagged * this.messageBytes) % this.ring.length) + TAG_AT, this.tagged + 1);
    return this.ring.subarray(from, from + this.chunkBytes);
  }

  /** Deliveries that are whole in so many bytes of the stream. */
  wholeIn(bytes: number): number {
    return Math.floor(bytes / this.messageBytes);
  }
}
