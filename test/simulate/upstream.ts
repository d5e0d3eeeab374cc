/** The sidecar's way to the real broker: its socket in memory, the real one behind it, a tap on what passes. */
import { once } from 'node:events';
import net from 'node:net';
import type { Random } from './random.ts';
import type { Tap } from './tap.ts';
import { PipeSocket, TICK_BYTES, Wire } from './wire.ts';

export class Upstream {
  readonly tap: Tap;
  readonly near: PipeSocket;
  private readonly wire: Wire;
  private readonly real: net.Socket;
  private readonly whenGone: () => void;
  gone = false;

  constructor(real: net.Socket, tap: Tap, room: number, whenGone: () => void) {
    this.real = real;
    this.tap = tap;
    this.whenGone = whenGone;
    this.wire = new Wire(room);
    this.near = new PipeSocket(this.wire, {
      written: (chunk) => tap.written(chunk),
      read: (chunk) => tap.read(chunk),
      ended: (how) => {
        if (how !== 'end') this.leave(how);
      },
    });
    real.on('data', (chunk: Buffer) => this.wire.inward.push(chunk));
    real.on('end', () => {
      this.wire.inward.ended = true;
    });
    real.on('error', () => this.near.peerReset());
    real.on('close', () => this.over());
  }

  private over(): void {
    this.wire.inward.ended = true;
    if (this.gone) return;
    this.gone = true;
    this.tap.left(false);
    this.whenGone();
  }

  /** What the kernel has is still sent. */
  private leave(how: 'destroy' | 'reset'): void {
    this.tap.left(false);
    if (how === 'reset') this.real.resetAndDestroy();
    else this.real.end(this.wire.outward.take(this.wire.room));
    this.real.resume();
  }

  get quiet(): boolean {
    return this.wire.quiet;
  }

  pump(random: Random, most: number): void {
    const { outward } = this.wire;
    if (!this.near.destroyed || outward.bytes > 0) {
      if (outward.bytes > 0 && !this.real.writableEnded)
        this.real.write(outward.take(random.between(1, Math.max(most, TICK_BYTES))));
      else if (outward.ended && outward.bytes === 0 && !this.real.writableEnded) this.real.end();
    } else if (!this.real.writableEnded) this.real.end();
    this.near.pump(random, most);
  }

  /** The process behind it dies; `flushed`: what it had written goes out yet. */
  die(flushed: boolean): void {
    this.near.silence();
    if (flushed) this.real.end(this.wire.outward.take(this.wire.room));
    else this.real.destroy();
    this.over();
  }

  /** The broker, or the way to it, drops the connection. */
  cut(): void {
    this.real.destroy();
    this.near.peerReset();
    this.over();
  }
}

export const dial = async (port: number): Promise<net.Socket> => {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
};
