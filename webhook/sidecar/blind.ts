/** Other ports of the broker (management, streams, MQTT, STOMP): bytes both ways, nothing understood. */
import type net from 'node:net';

/** Ports where a connection is a session with the broker, that a copy would lose; others (management) are asked anew. */
const SESSION_PORTS: readonly number[] = [5552, 1883, 61613];

interface Pair {
  readonly port: number;
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
    return [...this.pairs]
      .filter((pair) => SESSION_PORTS.includes(pair.port))
      .map((pair) => `a connection to port ${pair.port}, whose protocol is relayed blind`);
  }

  accept(app: net.Socket, port: number, connect: () => Promise<net.Socket>): void {
    const pair: Pair = { port, app, upstream: undefined };
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
