/** The pod's relay: listens where the app looks for its brokers, and takes all sessions through a handoff together. */
import type net from 'node:net';
import type { MuteResult, SessionReport, Settlement } from '../api/control.ts';
import { attachAll, checkAttached, forsake } from './attach-all.ts';
import { Connection, type ConnectionEvents } from './connection.ts';
import type { Broker } from './doors.ts';
import { Entrance } from './entrance.ts';
import { refuseUnfit } from './fitness.ts';
import { podReport } from './hazards.ts';
import { nameOf } from './hosts.ts';
import { OldUpstreams } from './old-upstreams.ts';
import { PodMuting } from './pod-muting.ts';
import { Reattaching } from './reattach.ts';
import type { Losses, Relay, RelayOptions } from './relay-api.ts';
import type { RelayContext } from './relay-context.ts';
import { Replacing } from './replacing.ts';
import { RelayReplay } from './replay/relay-replay.ts';
import { Resuming } from './resuming.ts';
import { Session } from './session.ts';
import { Watch } from './watch.ts';

export type { Broker } from './doors.ts';
export type { Relay, RelayOptions } from './relay-api.ts';

/** Longest time that going live spends on an upstream connection that was lost just before. */
const LIVE_MS = 5000;

export class SessionRelay implements Relay {
  readonly connections = new Set<Connection>();
  readonly options: RelayOptions;
  /** New connections are accepted and wait. */
  private holding = false;
  private readonly watch = new Watch();
  private readonly entrance: Entrance;
  private readonly brokers = new WeakMap<Connection, Broker>();
  private lastId = 0;
  private stopping = false;
  /** Another pod serves the app. */
  private retired = false;
  /** Counts of connections that are gone. */
  private delivered = 0;
  private published = 0;
  private tellSettlements: (items: Settlement[]) => void = () => undefined;
  private tellLost: (why: string) => void = () => undefined;
  /** What is carried was carried by an un-mute, not by a handoff: it is settled here. */
  private settlesHere = false;
  private readonly reattaching: Reattaching<Connection>;

  constructor(options: RelayOptions) {
    this.options = options;
    this.entrance = new Entrance(options, (app, broker) => this.accept(app, broker));
    this.reattaching = new Reattaching({
      patienceMs: options.reattachMs ?? 0,
      dial: (connection) => this.dial(connection),
      shun: ({ session }) => this.entrance.hosts.shun(session.broker),
      log: options.log,
    });
  }

  async start(): Promise<void> {
    await this.entrance.open();
    this.replay.watch();
  }

  async stop(graceMs: number): Promise<void> {
    this.stopping = true;
    this.entrance.close();
    const needed = (): boolean => !this.retired && [...this.connections].some(({ app }) => !app.destroyed);
    await this.watch.until(() => !needed(), graceMs).catch(() => undefined);
    for (const connection of this.connections) connection.destroy();
    this.resuming.end();
    this.reattaching.drop();
    this.replay.drop();
    this.entrance.drop();
    // By the protocol, so that the app's last settlements are not overtaken by a reset.
    if (graceMs > 0) await this.olds.close();
    this.olds.drop();
  }

  // ---- connections

  private accept(app: net.Socket, broker: Broker): void {
    if (this.stopping) {
      app.resetAndDestroy();
      return;
    }
    this.lastId += 1;
    const session = new Session(this.lastId, nameOf(broker));
    const connection = new Connection(session, app, this.events);
    this.connections.add(connection);
    this.brokers.set(connection, broker);
    if (!this.holding) this.open(connection);
  }

  private readonly events: ConnectionEvents = {
    warn: (fields, message) => this.options.log.warn(fields, message),
    settlements: (items) => {
      if (this.settlesHere) void this.olds.settle(items);
      else this.tellSettlements(items);
      this.resuming.stir();
    },
    lost: (why) => {
      this.muting.lost();
      this.options.log.warn({ why }, 'session lost');
      this.replay.lost(why);
      this.tellLost(why);
    },
    changed: () => {
      this.watch.changed();
      this.replay.changed();
    },
    gone: (connection) => {
      if (!this.connections.delete(connection)) return;
      this.reattaching.end(connection);
      this.delivered += connection.session.wires.delivered;
      this.published += connection.session.wires.published;
      this.watch.changed();
    },
    mayHide: () => this.mayHide(),
    severed: (connection, why) => this.reattaching.begin(connection, why),
  };

  /** Upstream connections that only settle any more. */
  readonly olds = new OldUpstreams(this.events, this.watch);

  private readonly context: RelayContext = {
    connections: this.connections,
    watch: this.watch,
    served: () => this.served(),
    dial: (connection) => this.dial(connection),
    hold: () => {
      this.holding = true;
    },
    holding: () => this.holding,
    release: (act) => this.release(act),
    serve: (connection, act) => this.serve(connection, act),
    lose: (why) => this.events.lost(why),
    refuseUnfit: (code) => this.refuseUnfit(code),
  };

  readonly replay = new RelayReplay(this.context);

  private readonly muting = new PodMuting({
    ...this.context,
    hold: () => {
      this.holding = true;
      this.entrance.blind.hold();
    },
    replay: this.replay,
    unmute: () => this.unmute(),
  });

  private readonly resuming = new Resuming({ ...this.context, log: this.events });

  private readonly replacing = new Replacing({
    ...this.context,
    olds: this.olds,
    log: this.events,
    carries: () => {
      this.settlesHere = true;
    },
    wait: () => this.resuming.wait(),
    consume: () => this.consume(),
  });

  private async dial(connection: Connection): Promise<net.Socket> {
    const { socket, host } = await this.entrance.reach(this.brokers.get(connection)!);
    connection.session.broker = nameOf(host);
    return socket;
  }

  /** Gives a connection an upstream, unless it has been told to wait meanwhile. */
  private open(connection: Connection): void {
    this.dial(connection).then(
      (upstream) => {
        if (connection.upstream || connection.app.destroyed || this.holding) upstream.destroy();
        else connection.use(upstream);
      },
      (error: unknown) => {
        this.options.log.warn({ broker: connection.session.broker, error: String(error) }, 'broker not reached');
        if (connection.parked && !this.holding) connection.app.resetAndDestroy();
      },
    );
  }

  /** An ordinary day: no handoff begun, and of none before anything left (its losses are told as they are). */
  private mayHide(): boolean {
    if ((this.options.reattachMs ?? 0) <= 0 || this.stopping || this.holding || this.retired || this.replacing.active)
      return false;
    if (this.olds.size > 0 || !this.consuming() || this.replay.recording || this.replay.playing) return false;
    return this.carriedOutstanding() === 0;
  }

  private *served(): Generator<Connection> {
    for (const connection of this.connections) if (!connection.parked) yield connection;
  }

  // ---- what is known

  report(): SessionReport {
    const { delivered, published } = this;
    const sessions = [...this.served()].map(({ session }) => session);
    return podReport(sessions, this.entrance.blind.hazards(), { delivered, published });
  }

  reattached(): Losses {
    return this.reattaching.losses;
  }

  outstanding(): number {
    return this.olds.outstanding;
  }

  carriedOutstanding(): number {
    return this.resuming.carried;
  }

  quiescent(): boolean {
    return this.muting.quiescent();
  }

  onSettlements(callback: (items: Settlement[]) => void): void {
    this.tellSettlements = callback;
  }

  onLost(callback: (why: string) => void): void {
    this.tellLost = callback;
  }

  // ---- the source

  private refuseUnfit(code: 'SHADOW_E_MUTE' | 'SHADOW_E_FREEZE'): void {
    const { hazards } = this.report();
    let stale = 0;
    for (const { session } of this.connections) stale += session.stale;
    const { severed } = this.reattaching.losses;
    const carrying = this.carriedOutstanding() > 0 || this.olds.size > 0 || this.replacing.active || !this.consuming();
    refuseUnfit({ hazards, carrying, severed, stale }, code);
  }

  mute(timeoutMs: number): Promise<MuteResult> {
    return this.muting.mute(timeoutMs);
  }

  /** Those whose upstream may keep a delivery back, stuck to its cancelled consumer, are given another one if it can be had. */
  async unmute(): Promise<void> {
    this.replay.stopRecording();
    const stuck = [...this.connections].filter(({ session, upstream }) => upstream && session.stuck);
    this.release((connection) => !stuck.includes(connection) && connection.session.unmute());
    if (stuck.length > 0) await this.replacing.begin(stuck);
  }

  /** The app is served again, or by this copy from now on; what waited at the door comes in. */
  private release(act: (connection: Connection) => void): void {
    this.holding = false;
    for (const connection of [...this.connections]) {
      if (connection.parked) this.open(connection);
      else this.serve(connection, () => act(connection));
    }
    this.entrance.blind.release();
    this.watch.changed();
  }

  private serve(connection: Connection, act: () => void): void {
    connection.guard(act);
    if (!connection.upstream) connection.loseUpstream();
    connection.endIfAbandoned();
  }

  supersede(): void {
    this.replay.stopRecording();
    this.holding = true;
    this.retired = true;
    for (const connection of this.connections) {
      const { session } = connection;
      const left = session.phase === 'mute' ? connection.divide() : undefined;
      if (left) this.olds.adopt(left.half, left.socket, session.handshake.tune.heartbeat);
    }
  }

  settle(items: Settlement[]): Promise<void> {
    return this.olds.settle(items);
  }

  close(): Promise<void> {
    return this.olds.close();
  }

  // ---- the copy

  becomeCopy(): void {
    this.holding = true;
    this.settlesHere = false;
    if (!this.replay.becomeTwins()) for (const connection of this.connections) forsake(connection);
    this.entrance.blind.hold();
    this.entrance.blind.drop();
  }

  attach(timeoutMs: number): Promise<void> {
    return attachAll([...this.served()], (connection) => this.dial(connection), timeoutMs);
  }

  async live(withinMs = LIVE_MS): Promise<void> {
    if (this.replay.playing) await this.replay.takeOver(withinMs);
    else {
      checkAttached(this.served());
      this.release((connection) => connection.session.live());
    }
    this.resuming.begin();
  }

  consume(): void {
    this.resuming.consume();
  }

  consuming(): boolean {
    return !this.resuming.waiting;
  }
}

export const createRelay = (options: RelayOptions): Relay => new SessionRelay(options);
