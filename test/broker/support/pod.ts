/** A pod without Kubernetes: apps that are plain objects, their sockets, and a relay. It can be forked in one process, as CRIU does. */
import { once } from 'node:events';
import net from 'node:net';
import { Connection, type ConnectionEvents } from '../../../webhook/sidecar/connection.ts';
import { type Broker, SessionRelay } from '../../../webhook/sidecar/relay.ts';
import { Recorder } from '../../../webhook/sidecar/replay/recorder.ts';
import { Valve } from '../../../webhook/sidecar/tap.ts';
import { type AppOptions, ModelApp } from '../../unit/sidecar/model/app.ts';
import { fork } from '../../unit/sidecar/model/clone.ts';
import { log, until } from './harness.ts';

/** Two ends of one connection: the relay's as it accepts it, and the app's. */
const pair = async (): Promise<{ relay: net.Socket; app: net.Socket }> => {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const app = net.connect({ port, host: '127.0.0.1', noDelay: true });
  const [relay] = (await once(server, 'connection')) as [net.Socket];
  server.close();
  return { relay, app };
};

/** What a relay keeps to itself, and a clone of its process has too. */
interface Inside {
  accept(socket: net.Socket, broker: Broker): void;
  lastId: number;
  readonly brokers: WeakMap<Connection, Broker>;
  readonly events: ConnectionEvents;
}
const inside = (relay: SessionRelay): Inside => relay as unknown as Inside;

/** Milliseconds between two handlers that end. */
export type Pace = () => number;

export class AppEdge {
  readonly app: ModelApp;
  readonly socket: net.Socket;
  /** Its relay's end. */
  readonly near: net.Socket;
  private readonly sent: Buffer[] = [];
  private received = 0;
  private timer: NodeJS.Timeout | undefined;
  failure: unknown;

  constructor(app: ModelApp, ends: { relay: net.Socket; app: net.Socket }, unread: Buffer = Buffer.alloc(0)) {
    this.app = app;
    this.socket = ends.app;
    this.near = ends.relay;
    this.socket.on('error', () => undefined);
    this.socket.on('data', (chunk: Buffer) => {
      this.received += chunk.length;
      this.run(() => app.receive(chunk));
    });
    if (unread.length > 0) this.write([unread]);
  }

  private write(frames: readonly Buffer[]): void {
    if (frames.length === 0) return;
    this.sent.push(...frames);
    this.socket.write(Buffer.concat(frames));
  }

  private run(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.failure ??= error;
    }
    this.write(this.app.out.splice(0));
  }

  start(pace: Pace): void {
    const next = (): void => {
      this.timer = setTimeout(() => {
        this.run(() => this.app.step(Math.random));
        next();
      }, pace());
    };
    this.run(() => undefined);
    next();
  }

  act(act: (app: ModelApp) => void): void {
    this.run(() => act(this.app));
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  /** Nothing of the relay is on its way to the app. */
  get caughtUp(): boolean {
    return this.near.writableLength === 0 && this.received === this.near.bytesWritten;
  }

  /** What the relay has not taken of what the app has sent. */
  get unread(): Buffer {
    const taken = this.near.bytesRead - this.near.readableLength;
    return Buffer.concat(this.sent).subarray(taken);
  }
}

export class Pod {
  readonly relay: SessionRelay;
  readonly edges: AppEdge[] = [];
  private readonly broker: Broker;

  constructor(port: number) {
    this.broker = { host: '127.0.0.1', port, listen: '127.0.0.2' };
    this.relay = new SessionRelay({ brokers: [], blindPorts: [], log });
  }

  /** One more app in it: one connection. */
  async app(options: AppOptions, pace: Pace): Promise<ModelApp> {
    const ends = await pair();
    inside(this.relay).accept(ends.relay, this.broker);
    const app = new ModelApp(options);
    app.open();
    const edge = new AppEdge(app, ends);
    this.edges.push(edge);
    edge.start(pace);
    await until(() => app.ready > 0, 10_000, 'the app is ready');
    return app;
  }

  /** Halted and recorded: what CRIU makes of it in another pod. The copy's apps stand still until `edges` are started. */
  async fork(): Promise<Pod> {
    await until(() => this.edges.every((edge) => edge.caughtUp), 5000, 'bytes arrived');
    const copy = new Pod(this.broker.port);
    const connections = [...this.relay.connections];
    const parts = this.edges.map((edge) => ({
      connection: connections.find(({ app }) => app === edge.near)!,
      app: edge.app,
      unread: edge.unread,
    }));
    const forked = fork(parts.map(({ connection, app }) => ({ session: connection.session, app })));
    const ends = await Promise.all(parts.map(() => pair()));
    inside(copy.relay).lastId = inside(this.relay).lastId;
    for (const [index, { session, app }] of forked.entries()) {
      const connection = new Connection(session, ends[index]!.relay, inside(copy.relay).events);
      connection.parked = false;
      copy.relay.connections.add(connection);
      inside(copy.relay).brokers.set(connection, this.broker);
      copy.edges.push(new AppEdge(app, ends[index]!, parts[index]!.unread));
    }
    copy.relay.replay.record(new Recorder(), new Valve());
    copy.relay.becomeCopy();
    return copy;
  }

  get failure(): unknown {
    return this.edges.find(({ failure }) => failure !== undefined)?.failure;
  }

  async stop(): Promise<void> {
    for (const edge of this.edges) {
      edge.stop();
      edge.socket.destroy();
    }
    await this.relay.stop(0);
  }
}
