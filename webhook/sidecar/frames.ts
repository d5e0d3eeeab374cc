/**
 * AMQP 0-9-1 frames (spec 4.2.3): type(1) channel(2) size(4) payload 0xCE. The splitter finds them in a byte stream by
 * their header, and tells where in a chunk they lie: it copies only what a chunk's end cut off, and makes nothing per frame.
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

const NOTHING = Buffer.alloc(0);

/** Unsigned, big-endian, as all of AMQP. Inlined where `readUInt32BE` is a call. */
export const long = (bytes: Buffer, at: number): number =>
  bytes[at]! * 0x100_0000 + ((bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);

/**
 * A whole frame, or a part of a content frame, where it lies in a chunk. Methods and heartbeats always come whole: the session
 * must understand them. Bodies and headers of any size pass in the parts they arrive in.
 *
 * A splitter has one, which it moves from frame to frame; and the chunk under it is read into again. So it is what it says only
 * until the call that was given it returns: whoever needs it longer takes `kept()`.
 */
export class Piece {
  type = 0;
  channel = 0;
  /** Payload bytes of the whole frame. */
  size = 0;
  first = true;
  last = true;
  chunk: Buffer = NOTHING;
  /** Where it lies in the chunk. */
  start = 0;
  end = 0;

  get bytes(): Buffer {
    return this.chunk.subarray(this.start, this.end);
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Class and method; of a method frame. */
  get method(): number {
    return long(this.chunk, this.start + HEADER_BYTES);
  }

  /** A copy, in memory of its own. */
  kept(): Piece {
    const copy = new Piece();
    copy.type = this.type;
    copy.channel = this.channel;
    copy.size = this.size;
    copy.first = this.first;
    copy.last = this.last;
    copy.chunk = Buffer.from(this.bytes);
    copy.end = copy.chunk.length;
    return copy;
  }
}

type Take = (piece: Piece) => void;

export class Splitter {
  /** Largest method frame taken, bytes: grows with the negotiated frame_max. */
  maxMethod = 1 << 20;
  /** Start of a frame that the last chunk cut off: less than `minimum` of it. */
  private carry: Buffer = NOTHING;
  /** Of the content frame being passed on: how much is to come, end octet included. */
  private left = 0;
  private readonly piece = new Piece();
  /** Nothing of the stream has come yet. */
  untouched = true;

  /** False while a content frame has been passed on in part. */
  get atBoundary(): boolean {
    return this.left === 0;
  }

  /** Gives each piece of the chunk to `take`, in order. Throws Malformed at the first that is wrong. */
  split(chunk: Buffer, take: Take): void {
    this.untouched = false;
    let position = this.carry.length > 0 ? this.complete(chunk, take) : 0;
    while (position < chunk.length) {
      if (this.left > 0) {
        position = this.pass(chunk, position, take);
        continue;
      }
      const available = chunk.length - position;
      if (available < HEADER_BYTES || available < this.minimum(chunk, position)) {
        this.carry = Buffer.from(chunk.subarray(position));
        return;
      }
      position = this.begin(chunk, position, take);
    }
  }

  /** As `split`, all of them to keep. */
  push(chunk: Buffer): Piece[] {
    const pieces: Piece[] = [];
    this.split(chunk, (piece) => pieces.push(piece.kept()));
    return pieces;
  }

  /** Fills the carried start from the chunk until it can be passed on; returns how far it took the chunk. */
  private complete(chunk: Buffer, take: Take): number {
    let position = 0;
    for (;;) {
      const { carry } = this;
      const missing = (carry.length < HEADER_BYTES ? HEADER_BYTES : this.minimum(carry, 0)) - carry.length;
      if (missing === 0) break;
      if (position === chunk.length) return position;
      const taken = chunk.subarray(position, position + missing);
      this.carry = Buffer.concat([carry, taken]);
      position += taken.length;
    }
    const start = this.carry;
    this.carry = NOTHING;
    this.begin(start, 0, take);
    return position;
  }

  /** How many bytes of the frame at `at` must be here before any of it is passed on; its header is. */
  private minimum(bytes: Buffer, at: number): number {
    const size = long(bytes, at + 3);
    switch (bytes[at]) {
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
        throw new Malformed(`frame type ${bytes[at]}`);
    }
  }

  private begin(bytes: Buffer, at: number, take: Take): number {
    const { piece } = this;
    const size = long(bytes, at + 3);
    const total = HEADER_BYTES + size + 1;
    const last = total <= bytes.length - at;
    const end = last ? at + total : bytes.length;
    if (last && bytes[end - 1] !== FRAME_END) throw new Malformed('frame without its end octet');
    this.left = total - (end - at);
    piece.type = bytes[at]!;
    piece.channel = (bytes[at + 1]! << 8) | bytes[at + 2]!;
    piece.size = size;
    piece.first = true;
    piece.last = last;
    piece.chunk = bytes;
    piece.start = at;
    piece.end = end;
    take(piece);
    return end;
  }

  /** More of the frame that the piece was of last. */
  private pass(chunk: Buffer, at: number, take: Take): number {
    const { piece } = this;
    const end = Math.min(at + this.left, chunk.length);
    this.left -= end - at;
    const last = this.left === 0;
    if (last && chunk[end - 1] !== FRAME_END) throw new Malformed('frame without its end octet');
    piece.first = false;
    piece.last = last;
    piece.chunk = chunk;
    piece.start = at;
    piece.end = end;
    take(piece);
    return end;
  }
}

/**
 * One direction of a stream as it is written: forwarded pieces merge into spans of the chunk they came in; frames of our
 * own go in at frame boundaries only.
 */
export class Outlet {
  private spans: Buffer[] = [];
  /** The span that may still grow. */
  private chunk: Buffer | undefined;
  private start = 0;
  private end = 0;
  private midFrame = false;
  private waiting: Buffer[] = [];
  /** Nothing has been written yet. */
  untouched = true;

  get atBoundary(): boolean {
    return !this.midFrame;
  }

  forward(piece: Piece): void {
    if (piece.chunk === this.chunk && piece.start === this.end) this.end = piece.end;
    else {
      this.close();
      this.chunk = piece.chunk;
      this.start = piece.start;
      this.end = piece.end;
      this.untouched = false;
    }
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
    this.close();
    const spans = this.spans;
    if (spans.length > 0) this.spans = [];
    return spans;
  }

  private append(bytes: Buffer): void {
    this.close();
    this.untouched = false;
    this.spans.push(bytes);
  }

  private close(): void {
    const { chunk, start, end } = this;
    if (!chunk) return;
    this.chunk = undefined;
    this.spans.push(start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end));
  }
}
