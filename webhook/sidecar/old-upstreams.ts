/** The edge of superseded upstreams: their sockets, until all that was carried from them is settled. */
import type net from 'node:net';
import type { Settlement } from '../api/control.ts';
import { SILENT_TICKS } from './heartbeat.ts';
import { silence, writeSpans } from './sockets.ts';
import type { Superseded } from './superseded.ts';
import type { Watch } from './watch.ts';

const CLOSE_MS = 5000;

interface Old {
  readonly superseded: Superseded;
  readonly socket: net.Socket;
  heartbeat: NodeJS.Timeout | undefined;
  silentTicks: number;
}

export interface OldEvents {
  warn(fields: object, message: string): void;
  lost(why: string): void;
}

export class OldUpstreams {
  private readonly olds = new Set<Old>();
  private readonly events: OldEvents;
  private readonly watch: Watch;

  constructor(events: OldEvents, watch: Watch) {
    this.events = events;
    this.watch = watch;
  }

  /** `heartbeat`: the interval agreed on, seconds; 0: none. */
  adopt(superseded: Superseded, socket: net.Socket, heartbeat: number): void {
    const old: Old = { superseded, socket, heartbeat: undefined, silentTicks: 0 };
    this.olds.add(old);
    silence(socket);
    socket.on('data', (chunk: Buffer) => {
      old.silentTicks = 0;
      this.run(old, () => superseded.fromBroker(chunk));
      if (superseded.closed) socket.end();
    });
    socket.on('end', () => socket.destroySoon());
    socket.on('close', () => this.ended(old));
    if (heartbeat > 0) old.heartbeat = setInterval(() => this.tick(old), heartbeat * 500);
    socket.resume();
    this.run(old, () => undefined);
  }

  private run(old: Old, input: () => void): void {
    try {
      input();
    } catch (error) {
      this.events.warn({ connection: old.superseded.id, error: String(error) }, 'superseded session failed');
      old.socket.destroy();
    }
    const { toBroker, lost } = old.superseded.take();
    writeSpans(old.socket, toBroker);
    if (lost !== undefined) this.events.lost(lost);
    this.watch.changed();
  }

  private tick(old: Old): void {
    this.run(old, () => old.superseded.tick());
    old.silentTicks += 1;
    if (old.silentTicks > SILENT_TICKS) old.socket.destroy();
  }

  private ended(old: Old): void {
    if (!this.olds.delete(old)) return;
    clearInterval(old.heartbeat);
    this.run(old, () => old.superseded.ended());
  }

  get size(): number {
    return this.olds.size;
  }

  get outstanding(): number {
    let sum = 0;
    for (const { superseded } of this.olds) sum += superseded.outstanding;
    return sum;
  }

  /** Resolves when all are proven by a barrier, or their connection is gone. */
  async settle(items: readonly Settlement[]): Promise<void> {
    const touched: Old[] = [];
    for (const old of this.olds) {
      const theirs = items.filter(({ connection }) => connection === old.superseded.id);
      if (theirs.length === 0) continue;
      this.run(old, () => old.superseded.settle(theirs));
      touched.push(old);
    }
    await this.watch.until(() => touched.every((old) => !this.olds.has(old) || !old.superseded.settling));
  }

  /** Resolves when nothing is outstanding or under way. */
  settled(): Promise<void> {
    return this.watch.until(() => this.outstanding === 0 && ![...this.olds].some((old) => old.superseded.settling));
  }

  /** What is still outstanding is the broker's again. */
  async close(): Promise<void> {
    for (const old of this.olds) this.run(old, () => old.superseded.close());
    await this.watch.until(() => [...this.olds].every((old) => old.superseded.closed), CLOSE_MS).catch(() => undefined);
    this.drop();
  }

  drop(): void {
    for (const old of [...this.olds]) {
      this.olds.delete(old);
      clearInterval(old.heartbeat);
      silence(old.socket);
      old.socket.destroy();
    }
    this.watch.changed();
  }
}
