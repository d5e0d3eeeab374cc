/** Connections whose protocol is not ours to read (management, streams, MQTT, STOMP, TLS): bytes both ways, nothing understood. */
import type net from 'node:net';
import { AMQPS_PORT } from '../api/names.ts';

/** Ports where a connection is a session with the broker, that a copy would lose; others (management) are asked anew. */
const SESSION_PORTS: readonly number[] = [5552, 5551, 1883, 8883, 61613, 61614, AMQPS_PORT];

/** Why a connection to this port can't be handed over; undefined: it may be lost. */
export const hazardOfPort = (port: number): string | undefined =>
  SESSION_PORTS.includes(port) ? `a connection to port ${port}, whose protocol is relayed blind` : undefined;

interface Pair {
  readonly hazard: string | undefined;
  readonly app: net.Socket;
  upstream: net.Socket | undefined;
}

export class BlindRelay {
  private readonly pairs = new Set<Pair>();
  private held = false;

  get size(): number {
    return this.pairs.size;
  }

  hazards(): string[] {
    return [...this.pairs].flatMap(({ hazard }) => hazard ?? []);
  }

  accept(app: net.Socket, hazard: string | undefined, connect: () => Promise<net.Socket>): void {
    const pair: Pair = { hazard, app, upstream: undefined };
    this.pairs.add(pair);
    app.on('error', () => undefined);
    app.on('close', () => {
      this.pairs.delete(pair);
      pair.upstream?.destroy();
    });
    app.pause();
    connect().then(
      (upstream) => this.join(pair, upstream),
      () => app.resetAndDestroy(),
    );
  }

  private join(pair: Pair, upstream: net.Socket): void {
    if (pair.app.destroyed) {
      upstream.destroy();
      return;
    }
    pair.upstream = upstream;
    upstream.on('error', () => pair.app.resetAndDestroy());
    upstream.pipe(pair.app);
    if (!this.held) pair.app.pipe(upstream);
  }

  /** Nothing of the app goes upstream (invariant 4). */
  hold(): void {
    this.held = true;
    for (const { app } of this.pairs) app.unpipe();
    for (const { app } of this.pairs) app.pause();
  }

  release(): void {
    this.held = false;
    for (const { app, upstream } of this.pairs) if (upstream) app.pipe(upstream);
  }

  /** A copy has no upstream for them, and no protocol to make one: the app sees its connections reset. */
  drop(): void {
    for (const { app, upstream } of this.pairs) {
      upstream?.removeAllListeners();
      upstream?.on('error', () => undefined);
      upstream?.destroy();
      app.resetAndDestroy();
    }
  }
}
