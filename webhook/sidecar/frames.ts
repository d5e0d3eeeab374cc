/**
 * AMQP 0-9-1 frames (spec 4.2.3): type(1) channel(2) size(4) payload 0xCE. The splitter finds them in a byte stream by
 * their header and hands out views of the chunks as they came: it copies only what a chunk's end cut off.
 */

export const FRAME = { method: 1, header: 2, body: 3, heartbeat: 8 } as const;
export const FRAME_END = 0xce;
export const HEADER_BYTES = 7;
/** Frame header, class, weight, body size: what must be seen of a content header frame before it is passed on. */
const CONTENT_HEADER_BYTES = HEADER_BYTES + 12;

/** Reply codes of connection.close (spec 1.2) for what only a relay finds out. */
export const REPLY = {
  FRAME_ERROR: 501,
  SYNTAX_ERROR: 502,
  UNEXPECTED_FRAME: 505,
  INTERNAL_ERROR: 541,
} as const;

/** The peer broke the protocol: its connection is closed, nothing else. */
export class Malformed extends Error {
  readonly reply: keyof typeof REPLY;
  constructor(message: string, reply: keyof typeof REPLY = 'FRAME_ERROR') {
    super(message);
    this.reply = reply;
  }
}

/**
 * A whole frame, or a part of a content frame. Methods and heartbeats always come whole: the session must understand
 * them. Bodies and headers of any size pass in the parts they arrive in.
 */
export interface Piece {
  readonly type: number;
  readonly channel: number;
  readonly bytes: Buffer;
  /** Payload bytes of the whole frame. */
  readonly size: number;
  readonly first: boolean;
  readonly last: boolean;
}

const NOTHING = Buffer.alloc(0);

export class Splitter {
  /** Largest method frame taken, bytes: grows with the negotiated frame_max. */
  maxMethod = 1 << 20;
  /** Start of a frame that the last chunk cut off: less than `minimum` of it. */
  private carry: Buffer = NOTHING;
  /** The content frame being passed on, and how much of it is to come, end octet included. */
  private open: { type: number; channel: number; size: number } = { type: 0, channel: 0, size: 0 };
  private left = 0;
  /** Nothing of the stream has come yet. */
  untouched = true;

  /** False while a content frame has been passed on in part. */
  get atBoundary(): boolean {
    return this.left === 0;
  }

  push(chunk: Buffer): Piece[] {
    this.untouched = false;
    const pieces: Piece[] = [];
    let position = this.carry.length > 0 ? this.complete(chunk, pieces) : 0;
    while (position < chunk.length) {
      if (this.left > 0) {
        position += this.pass(chunk, position, pieces);
        continue;
      }
      const available = chunk.length - position;
      if (available < this.minimum(chunk, position, available)) {
        this.carry = Buffer.from(chunk.subarray(position));
        break;
      }
      position += this.begin(chunk, position, pieces);
    }
    return pieces;
  }

  /** Fills the carried start from the chunk until it can be passed on; returns the bytes taken from the chunk. */
  private complete(chunk: Buffer, pieces: Piece[]): number {
    let position = 0;
    for (;;) {
      const missing = this.minimum(this.carry, 0, this.carry.length) - this.carry.length;
      if (missing === 0) break;
      if (position === chunk.length) return position;
      const taken = chunk.subarray(position, position + missing);
      this.carry = Buffer.concat([this.carry, taken]);
      position += taken.length;
    }
    const start = this.carry;
    this.carry = NOTHING;
    this.begin(start, 0, pieces);
    return position;
  }

  /** How many bytes of the frame at `at` must be here before any of it is passed on. */
  private minimum(bytes: Buffer, at: number, available: number): number {
    if (available < HEADER_BYTES) return HEADER_BYTES;
    const type = bytes[at];
    const size = bytes.readUInt32BE(at + 3);
    switch (type) {
      case FRAME.method:
        if (size < 4 || size > this.maxMethod) throw new Malformed(`method frame of ${size} bytes`);
        return HEADER_BYTES + size + 1;
      case FRAME.heartbeat:
        if (size !== 0) throw new Malformed(`heartbeat of ${size} bytes`);
        return HEADER_BYTES + 1;
      case FRAME.header:
        if (size < 14) throw new Malformed(`content header of ${size} bytes`);
        return CONTENT_HEADER_BYTES;
      case FRAME.body:
        return HEADER_BYTES;
      default:
        throw new Malformed(`frame type ${type}`);
    }
  }

  private begin(bytes: Buffer, at: number, pieces: Piece[]): number {
    const type = bytes[at]!;
    const channel = bytes.readUInt16BE(at + 1);
    const size = bytes.readUInt32BE(at + 3);
    const total = HEADER_BYTES + size + 1;
    const taken = Math.min(total, bytes.length - at);
    const last = taken === total;
    if (last && bytes[at + total - 1] !== FRAME_END) throw new Malformed('frame without its end octet');
    pieces.push({ type, channel, size, first: true, last, bytes: bytes.subarray(at, at + taken) });
    this.left = total - taken;
    if (!last) this.open = { type, channel, size };
    return taken;
  }

  private pass(chunk: Buffer, at: number, pieces: Piece[]): number {
    const taken = Math.min(this.left, chunk.length - at);
    this.left -= taken;
    const last = this.left === 0;
    if (last && chunk[at + taken - 1] !== FRAME_END) throw new Malformed('frame without its end octet');
    pieces.push({ ...this.open, first: false, last, bytes: chunk.subarray(at, at + taken) });
    return taken;
  }
}

/**
 * One direction of a stream as it is written: forwarded pieces merge into spans of the chunk they came in; frames of our
 * own go in at frame boundaries only.
 */
export class Outlet {
  private spans: Buffer[] = [];
  private midFrame = false;
  private waiting: Buffer[] = [];
  /** Nothing has been written yet. */
  untouched = true;

  get atBoundary(): boolean {
    return !this.midFrame;
  }

  forward(piece: Piece): void {
    this.append(piece.bytes);
    this.midFrame = !piece.last;
    if (this.midFrame || this.waiting.length === 0) return;
    for (const frame of this.waiting) this.append(frame);
    this.waiting = [];
  }

  /** A whole frame of our own. */
  inject(frame: Buffer): void {
    if (this.midFrame) this.waiting.push(frame);
    else this.append(frame);
  }

  /** Bytes outside any frame: the protocol header, blind relays. */
  raw(bytes: Buffer): void {
    this.append(bytes);
  }

  take(): Buffer[] {
    const spans = this.spans;
    this.spans = [];
    return spans;
  }

  private append(bytes: Buffer): void {
    this.untouched = false;
    const previous = this.spans.at(-1);
    if (previous && previous.buffer === bytes.buffer && previous.byteOffset + previous.length === bytes.byteOffset) {
      this.spans[this.spans.length - 1] = Buffer.from(
        bytes.buffer as ArrayBuffer,
        previous.byteOffset,
        previous.length + bytes.length,
      );
    } else this.spans.push(bytes);
  }
}
