/** The pod's relay: listens where the app looks for its brokers, and takes all sessions through a handoff together. */
import net from 'node:net';
import type { MuteResult, SessionReport, Settlement } from '../api/control.ts';
import { asShadowError, ShadowError } from '../api/errors.ts';
import { BlindRelay } from './blind.ts';
import { Connection, type ConnectionEvents, type Log } from './connection.ts';
import { Session } from './session.ts';
import { connectUpstream } from './upstream.ts';

export interface Broker {
  readonly host: string;
  readonly port: number;
  readonly listen: string;
}

export interface RelayOptions {
  brokers: readonly Broker[];
  blindPorts: readonly number[];
  log: Log;
  /** How a broker is reached; by DNS and TCP if not given. */
  connectUpstream?: (host: string, port: number) => Promise<net.Socket>;
}

export interface Relay {
  start(): Promise<void>;
  /** Refuses new connections, waits for the app to end its own for at most graceMs, ends the rest. */
  stop(graceMs: number): Promise<void>;
  report(): SessionReport;
  /** Rejects with SHADOW_E_MUTE (or SHADOW_E_SESSION, before anything is touched) and goes on as before. */
  mute(timeoutMs: number): Promise<MuteResult>;
  unmute(): Promise<void>;
  /** Right after a restore, before any I/O event: leaves every upstream socket behind, unread. */
  becomeCopy(): void;
  /** Rejects with SHADOW_E_ATTACH; may be tried again. */
  attach(timeoutMs: number): Promise<void>;
  live(): void;
  supersede(): void;
  /** Resolves when all are proven settled by a barrier (or are lost, which onLost tells). */
  settle(items: Settlement[]): Promise<void>;
  /** Deliveries of this process's upstream channels that are not settled. */
  outstanding(): number;
  /** Closes the upstream connections of a superseded source. */
  close(): Promise<void>;
  onSettlements(callback: (items: Settlement[]) => void): void;
  /** Carried deliveries the copy's app has not settled. */
  carriedOutstanding(): number;
  /** Upstream lost while mute, attached or superseded. */
  onLost(callback: (why: string) => void): void;
  /** Mute, and nothing waits to be written upstream. */
  quiescent(): boolean;
}

const CLOSE_MS = 5000;

export class SessionRelay implements Relay {
  readonly connections = new Set<Connection>();
  readonly options: RelayOptions;
  /** New connections are accepted and wait. */
  private holding = false;
  private readonly servers: net.Server[] = [];
  private readonly blind = new BlindRelay();
  private readonly waiting = new Set<() => void>();
  private readonly connect: (host: string, port: number) => Promise<net.Socket>;
  private readonly brokers = new WeakMap<Connection, Broker>();
  private lastId = 0;
  private stopping = false;
  /** Counts of connections that are gone. */
  private delivered = 0;
  private published = 0;
  private tellSettlements: (items: Settlement[]) => void = () => undefined;
  private tellLost: (why: string) => void = () => undefined;
  private losses = 0;

  constructor(options: RelayOptions) {
    this.options = options;
    this.connect = options.connectUpstream ?? connectUpstream;
  }

  async start(): Promise<void> {
    for (const broker of this.options.brokers) {
      await this.listen(broker.listen, broker.port, (socket) => this.accept(socket, broker));
      for (const port of this.options.blindPorts) {
        const accept = (socket: net.Socket): void =>
          this.blind.accept(socket, port, () => this.connect(broker.host, port));
        await this.listen(broker.listen, port, accept).catch((error: unknown) => {
          // A container of the pod serves that port itself.
          this.options.log.warn({ port, error: String(error) }, 'port not relayed');
        });
      }
    }
  }

  private async listen(host: string, port: number, accept: (socket: net.Socket) => void): Promise<void> {
    const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, accept);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
    this.servers.push(server);
  }

  async stop(graceMs: number): Promise<void> {
    this.stopping = true;
    for (const server of this.servers) server.close();
    const needed = ({ app, session }: Connection): boolean => !app.destroyed && session.phase !== 'superseded';
    await this.until(() => ![...this.connections].some(needed), graceMs).catch(() => undefined);
    for (const connection of this.connections) connection.destroy();
    this.blind.drop();
  }

  // ---- connections

  private accept(app: net.Socket, broker: Broker): void {
    if (this.stopping) {
      app.resetAndDestroy();
      return;
    }
    this.lastId += 1;
    this.adopt(new Connection(new Session(this.lastId, `${broker.host}:${broker.port}`), app, this.events), broker);
  }

  /** Takes a connection among its own; without an upstream it gets one, now or when the holding ends. */
  adopt(connection: Connection, broker: Broker): void {
    this.connections.add(connection);
    this.brokers.set(connection, broker);
    if (!this.holding && !connection.upstream) this.open(connection, broker);
  }

  readonly events: ConnectionEvents = {
    warn: (fields, message) => this.options.log.warn(fields, message),
    settlements: (items) => this.tellSettlements(items),
    lost: (why) => {
      this.losses += 1;
      this.options.log.warn({ why }, 'session lost');
      this.tellLost(why);
    },
    changed: () => {
      if (this.waiting.size > 0) for (const look of [...this.waiting]) look();
    },
    gone: (connection) => {
      if (!this.connections.delete(connection)) return;
      this.delivered += connection.session.wires.delivered;
      this.published += connection.session.wires.published;
      this.events.changed();
    },
  };

  private open(connection: Connection, broker: Broker): void {
    this.dial(connection, broker).catch((error: unknown) => {
      this.options.log.warn({ broker: connection.session.broker, error: String(error) }, 'broker not reached');
      if (connection.parked && !this.holding) connection.app.resetAndDestroy();
    });
  }

  /** Gives a connection an upstream, unless it has been told to wait meanwhile. */
  private async dial(connection: Connection, broker: Broker): Promise<void> {
    const upstream = await this.connect(broker.host, broker.port);
    if (connection.upstream || connection.app.destroyed || this.holding) upstream.destroy();
    else connection.use(upstream);
  }

  private *served(): Generator<Connection> {
    for (const connection of this.connections) if (!connection.parked) yield connection;
  }

  private every(phase: Session['phase']): boolean {
    for (const connection of this.served()) if (connection.session.phase !== phase) return false;
    return true;
  }

  /** Resolves when it holds; looks whenever something was done. Rejects when time is over or `failed` says why. */
  private until(holds: () => boolean, timeoutMs?: number, failed: () => string | undefined = () => undefined) {
    return new Promise<void>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const end = (act: () => void): void => {
        this.waiting.delete(look);
        clearTimeout(timer);
        act();
      };
      const look = (): void => {
        const why = failed();
        if (why !== undefined) end(() => reject(new Error(why)));
        else if (holds()) end(resolve);
      };
      this.waiting.add(look);
      if (timeoutMs !== undefined)
        timer = setTimeout(() => end(() => reject(new Error(`not within ${timeoutMs} ms`))), timeoutMs);
      look();
    });
  }

  // ---- what is known

  report(): SessionReport {
    const report: SessionReport = {
      connections: [],
      hazards: this.blind.hazards(),
      delivered: this.delivered,
      published: this.published,
    };
    for (const { session } of this.served()) {
      report.delivered += session.wires.delivered;
      report.published += session.wires.published;
      report.hazards.push(...session.hazards());
      report.connections.push(session.report());
    }
    return report;
  }

  outstanding(): number {
    let sum = 0;
    for (const { session } of this.connections) sum += session.outstanding;
    return sum;
  }

  carriedOutstanding(): number {
    let sum = 0;
    for (const { session } of this.connections) sum += session.carried;
    return sum;
  }

  quiescent(): boolean {
    if (!this.holding || !this.every('mute')) return false;
    for (const { upstream } of this.connections) if (upstream && upstream.writableLength > 0) return false;
    return true;
  }

  onSettlements(callback: (items: Settlement[]) => void): void {
    this.tellSettlements = callback;
  }

  onLost(callback: (why: string) => void): void {
    this.tellLost = callback;
  }

  // ---- the source

  async mute(timeoutMs: number): Promise<MuteResult> {
    if (this.holding && this.every('mute')) return { carried: this.outstanding() };
    const { hazards } = this.report();
    if (hazards.length > 0) throw new ShadowError('SHADOW_E_SESSION', hazards.join('; '));
    // A second source for the same delivery would settle it twice.
    if (this.carriedOutstanding() > 0) throw new ShadowError('SHADOW_E_MUTE', 'carried deliveries are not settled yet');
    const losses = this.losses;
    this.holding = true;
    this.blind.hold();
    for (const connection of this.connections)
      if (!connection.park()) connection.guard(() => connection.session.mute());
    try {
      await this.until(
        () => this.quiescent(),
        timeoutMs,
        () => this.muteFailure(losses),
      );
    } catch (error) {
      await this.unmute();
      throw asShadowError(error, 'SHADOW_E_MUTE');
    }
    return { carried: this.outstanding() };
  }

  private muteFailure(losses: number): string | undefined {
    if (!this.holding) return 'un-muted meanwhile';
    if (this.losses > losses) return 'a session was lost meanwhile';
    for (const { session } of this.served()) if (session.phase === 'blind') return 'a connection is not AMQP 0-9-1';
    return undefined;
  }

  async unmute(): Promise<void> {
    this.release((connection) => connection.session.unmute());
  }

  /** The app is served again, or by this copy from now on; what waited at the door comes in. */
  private release(serve: (connection: Connection) => void): void {
    this.holding = false;
    for (const connection of [...this.connections]) {
      const broker = this.brokers.get(connection);
      if (connection.parked && broker) {
        this.open(connection, broker);
        continue;
      }
      connection.guard(() => serve(connection));
      if (!connection.upstream) connection.loseUpstream();
      connection.endIfAbandoned();
    }
    this.blind.release();
    this.events.changed();
  }

  supersede(): void {
    this.holding = true;
    for (const { session } of this.connections) session.supersede();
  }

  async settle(items: Settlement[]): Promise<void> {
    const touched: Connection[] = [];
    for (const connection of this.connections) {
      const theirs = items.filter((item) => item.connection === connection.session.id);
      if (theirs.length === 0 || !connection.upstream) continue;
      connection.guard(() => connection.session.settle(theirs));
      touched.push(connection);
    }
    await this.until(() => touched.every(({ upstream, session }) => !upstream || !session.settling));
  }

  async close(): Promise<void> {
    for (const connection of this.connections) connection.guard(() => connection.session.close());
    const closed = (): boolean =>
      [...this.connections].every(({ upstream, session }) => !upstream || !session.settling);
    await this.until(closed, CLOSE_MS).catch(() => undefined);
    for (const connection of this.connections) connection.abandonUpstream();
  }

  // ---- the copy

  becomeCopy(): void {
    this.holding = true;
    for (const connection of this.connections) {
      connection.abandonUpstream();
      if (!connection.parked) connection.guard(() => connection.session.detach());
    }
    this.blind.drop();
  }

  async attach(timeoutMs: number): Promise<void> {
    if (this.every('attached')) return;
    const connections = [...this.served()];
    let failure: string | undefined;
    let over = false;
    for (const connection of connections) {
      connection.abandonUpstream();
      connection.guard(() => connection.session.detach());
      const broker = this.brokers.get(connection)!;
      this.connect(broker.host, broker.port).then(
        (upstream) => {
          if (over) {
            upstream.destroy();
            return;
          }
          connection.use(upstream);
          connection.guard(() => connection.session.attach());
        },
        (error: unknown) => {
          failure = error instanceof Error ? error.message : String(error);
          this.events.changed();
        },
      );
    }
    const failed = (): string | undefined =>
      failure ?? connections.map((each) => each.failure?.message).find((each) => each !== undefined);
    try {
      await this.until(() => this.every('attached'), timeoutMs, failed);
    } catch (error) {
      over = true;
      for (const connection of connections) {
        connection.abandonUpstream();
        connection.guard(() => connection.session.detach());
      }
      throw asShadowError(error, 'SHADOW_E_ATTACH');
    }
  }

  live(): void {
    for (const { session } of this.served())
      if (session.phase === 'detached' || session.phase === 'attaching')
        throw new ShadowError('SHADOW_E_ATTACH', `connection ${session.id} is not attached`);
    this.release((connection) => connection.session.live());
  }
}

export const createRelay = (options: RelayOptions): Relay => new SessionRelay(options);
