/**
 * How long bytes stay in this process: from the moment a chunk is read until the kernel has all that came of it. One chunk of
 * many is timed, the others cost an addition. What waits in the kernel before it is read is not seen.
 */
import type net from 'node:net';

/** One of so many chunks is timed. A power of two. */
const EVERY = 64;
/** Upper bounds of the histogram's buckets, seconds. */
export const BOUNDS: readonly number[] = [
  0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 1,
];
const NOTHING = Buffer.alloc(0);

export class Latency {
  /** By bucket; the last one has no bound. */
  readonly counts: number[] = BOUNDS.concat(0).fill(0);
  sum = 0;
  count = 0;
  private turn = 0;

  /** Called once a chunk: when it was read, milliseconds, if it is one to be timed, else 0. */
  begin(): number {
    this.turn = (this.turn + 1) & (EVERY - 1);
    return this.turn === 0 ? performance.now() : 0;
  }

  /** What came of a chunk that is timed has been written to that socket. */
  end(began: number, socket: Pick<net.Socket, 'writableLength' | 'writable' | 'write'>): void {
    if (socket.writableLength === 0) this.observe(performance.now() - began);
    // Behind all that waits in this process.
    else if (socket.writable)
      socket.write(NOTHING, (error) => {
        if (!error) this.observe(performance.now() - began);
      });
  }

  private observe(ms: number): void {
    const seconds = ms / 1000;
    const bucket = BOUNDS.findIndex((bound) => seconds <= bound);
    this.counts[bucket < 0 ? BOUNDS.length : bucket]! += 1;
    this.sum += seconds;
    this.count += 1;
  }
}

/** Of this process. */
export const latency = { toApp: new Latency(), toBroker: new Latency() };
