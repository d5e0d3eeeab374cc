/**
 * The record on its way: one byte stream addressed by offsets from 0. The source keeps what the copy has not acknowledged;
 * the copy takes each byte once, in order, whatever is lost or repeated between them.
 */
import { RECORD_CHUNK } from '../../api/control.ts';

/** Most bytes a source keeps; a record that needs more is lost, and the handoff with it. */
export const KEPT_BYTES = 64 << 20;
/** Most bytes sent and not acknowledged. */
const WINDOW_BYTES = 4 << 20;
const BLOCK_BYTES = 256 << 10;
/** Blocks kept to be written into again: as much as is on its way at most times. */
const SPARE_BLOCKS = 8;
/** So many equal requests in a row mean that something sent was lost. */
const UNMOVED = 5;

export interface Chunk {
  readonly offset: number;
  readonly bytes: Buffer;
}

export class RecordStream {
  private spans: Buffer[] = [];
  /** What is written into, and of that what is the last span, which still grows. */
  private block: Buffer = Buffer.alloc(0);
  private begun = 0;
  private used = 0;
  /** See `room`. */
  target: Buffer = this.block;
  /** Blocks that are full, and the offset of the end of each; and those of which everything is acknowledged. */
  private full: { readonly block: Buffer; readonly end: number }[] = [];
  private readonly spare: Buffer[] = [];
  /** Offset of the first byte kept, and of the end. */
  private base = 0;
  end = 0;
  /** Next byte to send. */
  private sent = 0;
  private unmoved = 0;
  /** Somebody asked for it. */
  private asked = false;

  append(bytes: Buffer): void {
    const at = this.room(bytes.length);
    bytes.copy(this.target, at);
  }

  /** Adds as many bytes, to be written at once: in `target`, from the place on that it returns. */
  room(length: number): number {
    if (length > BLOCK_BYTES / 4) {
      this.close();
      this.end += length;
      this.target = Buffer.allocUnsafeSlow(length);
      this.spans.push(this.target);
      return 0;
    }
    // Small entries share blocks: a long record is not a million little buffers.
    if (this.used + length > this.block.length) this.renew();
    this.end += length;
    const at = this.used;
    this.used += length;
    this.target = this.block;
    return at;
  }

  private renew(): void {
    this.close();
    if (this.block.length > 0) this.full.push({ block: this.block, end: this.end });
    this.block = this.spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.begun = 0;
    this.used = 0;
  }

  private close(): void {
    if (this.used > this.begun) this.spans.push(this.block.subarray(this.begun, this.used));
    this.begun = this.used;
  }

  /** Bytes that have not been sent yet. */
  get unsent(): number {
    return this.end - this.sent;
  }

  get kept(): number {
    return this.end - this.base;
  }

  /** Everything up to the end is acknowledged. */
  get delivered(): boolean {
    return this.base === this.end;
  }

  /** The copy has all up to `received`. `again`: what was sent beyond it is lost. */
  wanted(received: number, again: boolean): void {
    if (received > this.end || received < this.base) return;
    this.unmoved = this.asked && received === this.base && this.sent > received ? this.unmoved + 1 : 0;
    this.forget(received);
    if (again || this.sent < received || this.unmoved >= UNMOVED) {
      this.sent = received;
      this.unmoved = 0;
    }
    this.asked = true;
  }

  /** The link is gone: nothing is sent until it is asked for. */
  unasked(): void {
    this.asked = false;
    this.sent = this.base;
  }

  private forget(received: number): void {
    this.close();
    let whole = 0;
    let at = this.base;
    while (whole < this.spans.length && at + this.spans[whole]!.length <= received) {
      at += this.spans[whole]!.length;
      whole += 1;
    }
    if (whole > 0) this.spans = this.spans.slice(whole);
    const first = this.spans[0];
    if (first && received > at) this.spans[0] = first.subarray(received - at);
    this.base = received;
    while (this.full[0] && this.full[0].end <= received) {
      const { block } = this.full.shift()!;
      if (this.spare.length < SPARE_BLOCKS) this.spare.push(block);
    }
  }

  /** What to send now, copied to where `allocate` says. */
  next(allocate: (bytes: number) => Buffer = Buffer.allocUnsafeSlow): Chunk | undefined {
    if (!this.asked || this.sent >= this.end || this.sent - this.base >= WINDOW_BYTES) return undefined;
    const offset = this.sent;
    const bytes = allocate(Math.min(this.end - offset, RECORD_CHUNK));
    this.read(offset, bytes);
    this.sent += bytes.length;
    return { offset, bytes };
  }

  private read(from: number, into: Buffer): void {
    this.close();
    let at = this.base;
    let length = 0;
    for (const span of this.spans) {
      const skip = Math.max(0, from - at);
      at += span.length;
      if (skip >= span.length) continue;
      length += span.copy(into, length, skip);
      if (length === into.length) break;
    }
  }
}

/** The copy's end. */
export class Received {
  /** Bytes taken. */
  offset = 0;
  /** A chunk is missing: ask again. */
  gap = false;

  /** What of the chunk is new and next; undefined: nothing. */
  take({ offset, bytes }: Chunk): Buffer | undefined {
    if (offset > this.offset) {
      this.gap = true;
      return undefined;
    }
    const fresh = bytes.subarray(this.offset - offset);
    if (fresh.length === 0) return undefined;
    this.offset += fresh.length;
    this.gap = false;
    return fresh;
  }
}
