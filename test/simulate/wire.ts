/**
 * A stream socket in memory: the little of net.Socket that the sidecar's connections use. What it holds is a plain `Wire`
 * (both directions, cut anywhere), so that it can be cloned as the kernel's socket buffers are; who reads what when is the
 * world's choice.
 */
import { EventEmitter } from 'node:events';
import type net from 'node:net';
import type { Random } from './random.ts';

/** One direction. */
export class Stream {
  private chunks: Buffer[] = [];
  bytes = 0;
  /** Nothing follows. */
  ended = false;

  push(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.bytes += chunk.length;
  }

  /** At most so many bytes, copied: who reads may patch them. */
  take(most: number): Buffer {
    const parts: Buffer[] = [];
    let left = Math.min(most, this.bytes);
    this.bytes -= left;
    while (left > 0) {
      const first = this.chunks[0]!;
      parts.push(first.subarray(0, left));
      if (first.length > left) this.chunks[0] = first.subarray(left);
      else this.chunks.shift();
      left -= Math.min(first.length, left);
    }
    return Buffer.concat(parts);
  }

  drop(): void {
    this.chunks = [];
    this.bytes = 0;
  }
}

export class Wire {
  /** To the sidecar, and from it. */
  readonly inward = new Stream();
  readonly outward = new Stream();
  /** What of `outward` the kernel has taken: not the sidecar's to write any more. */
  readonly room: number;
  /** The far end was reset, or the near one: nothing passes. */
  reset = false;

  constructor(room: number) {
    this.room = room;
  }

  get quiet(): boolean {
    return this.inward.bytes + this.outward.bytes === 0;
  }
}

/** What passes a socket in one tick, about. */
export const TICK_BYTES = 4096;

/** Where the world looks for what a sidecar's socket did. */
export interface SocketEvents {
  written(chunk: Buffer): void;
  read(chunk: Buffer): void;
  /** It will write nothing more, and wants to read nothing more if `destroyed`. */
  ended(how: 'end' | 'destroy' | 'reset'): void;
}

const IGNORE: SocketEvents = { written: () => undefined, read: () => undefined, ended: () => undefined };

export class PipeSocket extends EventEmitter {
  readonly wire: Wire;
  private readonly events: SocketEvents;
  /** As of a stream: undefined until somebody listens, pauses or resumes. */
  private flowing: boolean | undefined;
  private needsDrain = false;
  private endSeen = false;
  private quiet = false;
  bytesRead = 0;
  destroyed = false;
  writableEnded = false;

  constructor(wire: Wire, events: SocketEvents = IGNORE) {
    super();
    this.wire = wire;
    this.events = events;
  }

  /** As the sidecar's code knows it. */
  get socket(): net.Socket {
    return this as unknown as net.Socket;
  }

  // ---- the sidecar's side

  override on(event: string, listener: (...args: never[]) => void): this {
    if (event === 'data') this.flowing ??= true;
    return super.on(event, listener as (...args: unknown[]) => void);
  }

  get writableLength(): number {
    return this.destroyed ? 0 : Math.max(0, this.wire.outward.bytes - this.wire.room);
  }
  get writableNeedDrain(): boolean {
    return this.needsDrain && !this.destroyed;
  }
  get readableLength(): number {
    return 0;
  }
  isPaused(): boolean {
    return this.flowing === false;
  }
  pause(): this {
    this.flowing = false;
    return this;
  }
  resume(): this {
    this.flowing = true;
    return this;
  }
  cork(): void {}
  uncork(): void {}

  write(chunk: Buffer): boolean {
    if (this.destroyed || this.writableEnded) throw new Error('written after its end');
    // Copied: what was read is read over below.
    const bytes = Buffer.from(chunk);
    this.events.written(bytes);
    this.wire.outward.push(bytes);
    if (this.writableLength >= 16 << 10) this.needsDrain = true;
    return !this.needsDrain;
  }

  end(): this {
    if (this.writableEnded || this.destroyed) return this;
    this.writableEnded = true;
    this.wire.outward.ended = true;
    this.events.ended('end');
    return this;
  }

  destroySoon(): void {
    this.end();
    this.finish();
  }

  destroy(): this {
    this.leave('destroy');
    return this;
  }

  resetAndDestroy(): this {
    this.leave('reset');
    return this;
  }

  private leave(how: 'destroy' | 'reset'): void {
    if (this.destroyed) return;
    if (how === 'reset') this.wire.outward.drop();
    this.wire.outward.ended = true;
    if (how === 'reset') this.wire.reset = true;
    this.events.ended(how);
    this.finish();
  }

  private finish(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.wire.inward.drop();
    if (!this.quiet) process.nextTick(() => this.emit('close'));
  }

  // ---- the world's side

  /** For people. */
  describe(): string {
    const { inward, outward } = this.wire;
    const flags = [this.flowing ? 'flowing' : 'paused', this.needsDrain ? 'full' : '', this.destroyed ? 'gone' : ''];
    return `${flags.filter((flag) => flag !== '').join(' ')} in ${inward.bytes} out ${outward.bytes}`;
  }

  /** The process is gone: its code must not hear of anything any more. */
  silence(): void {
    this.quiet = true;
    this.destroyed = true;
    this.removeAllListeners();
    this.on('error', () => undefined);
  }

  /** Hands over some of what has arrived, as long as it is read, in chunks of `most` bytes at most. */
  pump(random: Random, most: number): void {
    const { inward, outward } = this.wire;
    if (this.destroyed) return;
    if (this.needsDrain && outward.bytes <= this.wire.room) {
      this.needsDrain = false;
      this.emit('drain');
    }
    let budget = TICK_BYTES;
    while (budget > 0 && inward.bytes > 0 && this.flowing === true && !this.destroyed) {
      const chunk = inward.take(random.between(1, most));
      budget -= chunk.length;
      this.bytesRead += chunk.length;
      this.events.read(chunk);
      this.emit('data', chunk);
      // As by the next read into the same memory: nobody may have kept it.
      chunk.fill(0xa5);
      if (most > 1024 && random.chance(0.3)) return;
    }
    if (inward.bytes === 0 && inward.ended && !this.endSeen && this.flowing === true) {
      this.endSeen = true;
      this.emit('end');
      // Both directions are over.
      if (this.writableEnded) this.finish();
    }
  }

  /** The peer is gone with a reset. */
  peerReset(): void {
    if (this.destroyed) return;
    this.wire.reset = true;
    this.destroyed = true;
    this.wire.inward.drop();
    this.emit('error', Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
    process.nextTick(() => this.emit('close'));
  }
}
