/**
 * A socket that reads into memory which it uses again, where others take new memory for each chunk. What it read comes in 'data'
 * as ever, and stands there until the listeners return; for longer only if `lends` says so then.
 */
import net from 'node:net';

/** What one read can bring; grows when it is not enough. */
const LEAST_BYTES = 16 << 10;
const MOST_BYTES = 256 << 10;
/** Memory of which less is left is not read into any more. */
const REST_BYTES = 4 << 10;
/** Written and not taken by the kernel: so much before the other side is asked to wait. */
const WRITE_BYTES = 1 << 20;

export const ALWAYS = (): boolean => true;

/** The one that an accepted socket has, and that another can be made over: not in the types, though net.Socket takes it. */
interface Handled {
  _handle: object | null;
}

export class Reader extends net.Socket {
  /** Whether somebody may still need what came in 'data'. Nothing is known of that: yes. */
  lends: () => boolean = ALWAYS;
  private memory: Buffer;
  /** Of it, from its beginning: lent. */
  private used = 0;
  /** What is read into now, and how much of it the last read took. */
  private room: Buffer;
  private last = 0;
  private abandoned = false;

  constructor(handle?: object) {
    const memory = Buffer.allocUnsafeSlow(LEAST_BYTES);
    let begun = false;
    const onread = {
      // Asked for once before anything is read (there may be no `this` yet), then after each read.
      buffer: (): Uint8Array => {
        if (begun) return this.next() as Uint8Array;
        begun = true;
        return memory;
      },
      callback: (bytes: number): boolean => this.took(bytes),
    };
    const options = { allowHalfOpen: true, noDelay: true, writableHighWaterMark: WRITE_BYTES, onread };
    super(handle === undefined ? options : ({ ...options, handle } as net.SocketConstructorOpts));
    this.memory = memory;
    this.room = memory;
  }

  /** The same connection, read this way. Not if some of it was read already: then it stays what it is. */
  static over(accepted: net.Socket): net.Socket {
    const old = accepted as unknown as Handled;
    const handle = old._handle;
    if (!handle || accepted.readableLength > 0 || accepted.destroyed) return accepted;
    old._handle = null;
    accepted.destroy();
    const reader = new Reader(handle);
    reader.pause();
    return reader;
  }

  /** What was lent until now never comes back. */
  abandon(): void {
    this.abandoned = true;
  }

  private took(bytes: number): boolean {
    const chunk = bytes === this.room.length ? this.room : this.room.subarray(0, bytes);
    // Nobody listens yet, or what came before has not been heard yet: it is kept in order, and copied.
    if (this.listenerCount('data') === 0 || this.readableLength > 0) this.push(Buffer.from(chunk));
    else this.emit('data', chunk);
    this.last = bytes;
    return true;
  }

  /** What to read into next; undefined: the same. */
  private next(): Buffer | undefined {
    if (this.abandoned) {
      this.abandoned = false;
      return this.renew(this.memory.length);
    }
    const full = this.last === this.room.length;
    if (full && this.memory.length < MOST_BYTES) return this.renew(Math.min(4 * this.memory.length, MOST_BYTES));
    if (this.lends()) {
      this.used += this.last;
      if (this.memory.length - this.used < REST_BYTES) return this.renew(this.memory.length);
    } else if (this.used === 0) return undefined;
    else this.used = 0;
    this.room = this.memory.subarray(this.used);
    return this.room;
  }

  private renew(bytes: number): Buffer {
    this.memory = Buffer.allocUnsafeSlow(bytes);
    this.used = 0;
    this.room = this.memory;
    return this.room;
  }
}
