/** A pod: an app, and the process of its sidecar. Or an app alone, straight at the broker (a rival without us). */
import type net from 'node:net';
import { join } from 'node:path';
import { Connection, type ConnectionEvents } from '../../webhook/sidecar/connection.ts';
import { fresh, type Handoff, restarted } from '../../webhook/sidecar/handoff.ts';
import { claimOfMarker } from '../../webhook/sidecar/marker.ts';
import type { Broker, SessionRelay } from '../../webhook/sidecar/relay.ts';
import type { Session } from '../../webhook/sidecar/session.ts';
import type { App } from './app/app.ts';
import { deepClone } from './clone.ts';
import { BROKER, Sidecar } from './sidecar.ts';
import type { Surroundings } from './surroundings.ts';
import type { Voice } from './tap.ts';
import { PipeSocket, TICK_BYTES, Wire } from './wire.ts';

/** A connection of the app to its sidecar. */
interface AppLink {
  readonly connection: number;
  readonly wire: Wire;
  socket: PipeSocket;
  /** The app has closed its end. */
  left: boolean;
}

/** What a relay keeps to itself and a clone of its process has too. */
interface RelayInside {
  accept(socket: net.Socket, broker: Broker): void;
  readonly brokers: WeakMap<Connection, Broker>;
  readonly events: ConnectionEvents;
  readonly replay: { readonly recording: boolean; readonly stages: object };
}
const inside = (relay: SessionRelay): RelayInside => relay as unknown as RelayInside;

/** What an object remembers in plain values: a process that was a copy before may be cut again, and has it still. */
const plain = (object: object): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(object).filter(([, value]) => typeof value !== 'object' && typeof value !== 'function'),
  );

/** All that the two processes hold at the cut. */
export interface Snapshot {
  readonly app: App;
  readonly time: number;
  readonly links: readonly { readonly connection: number; readonly wire: Wire; readonly left: boolean }[];
  /** Of the relay's connections, in its order: the session, and the index of its link (-1: the app's end is gone). */
  readonly sessions: readonly { readonly session: Session; readonly parked: boolean; readonly link: number }[];
  readonly relay: Readonly<Record<string, unknown>>;
  readonly stages: Readonly<Record<string, unknown>>;
  readonly handoff: Handoff;
  /** The source goes on, and records. */
  readonly record: boolean;
  readonly process: string;
  readonly uid: string;
}

export interface PodOptions {
  readonly name: string;
  readonly uid: string;
  readonly dir: string;
}

export class Pod {
  readonly options: PodOptions;
  readonly app: App;
  sidecar: Sidecar;
  /** The app's processes are paused: they neither run nor age. */
  paused = false;
  gone = false;
  snapshot: Snapshot | undefined;
  restarts = 0;
  /** Length of the app's log at the cut that this pod was cloned at. */
  readonly forkedAt: number;
  private readonly around: Surroundings;
  private links: AppLink[] = [];
  private time = 0;

  constructor(around: Surroundings, options: PodOptions, app: App, snapshot?: Snapshot) {
    this.around = around;
    this.options = options;
    this.app = app;
    this.forkedAt = app.memory.log.length;
    this.sidecar = this.process(snapshot?.handoff ?? fresh, snapshot?.process ?? options.uid, snapshot?.uid);
    if (snapshot) this.restore(snapshot);
    else void this.sidecar.relay.start();
  }

  /** `source`: uid of the pod it is a copy of. */
  private process(handoff: Handoff, process: string, source?: string): Sidecar {
    const { uid, name, dir } = this.options;
    return new Sidecar(this.around, {
      uid,
      believes: source ?? uid,
      name,
      line: this.app.config.name,
      dir,
      process,
      handoff,
      voice: source !== undefined ? 'fenced' : 'full',
      onFrozen: () => this.frozen(),
    });
  }

  // ---- the cut

  private frozen(): void {
    if (this.sidecar.voice === 'fenced') return;
    const { relay, commands } = this.sidecar;
    const recorder = inside(relay).replay.recording;
    // The clone makes its record's beginning once more and throws it away: the very steps of a process that wakes as a copy.
    const handoff: Handoff = recorder ? { ...commands.state(), state: 'idle' } : commands.state();
    const ofRecord = new Set([...relay.connections].flatMap(({ session }) => [session.wires.tap, session.wires.valve]));
    const links = this.links.map(({ connection, wire, left }) => ({ connection, wire, left }));
    const sessions = [...relay.connections].map(({ session, parked, app }) => ({
      session,
      parked,
      link: this.links.findIndex(({ socket }) => socket.socket === app),
    }));
    const all: Snapshot = {
      app: this.app,
      time: this.time,
      links,
      sessions,
      relay: plain(relay),
      stages: plain(inside(relay).replay.stages),
      handoff,
      record: recorder,
      process: this.sidecar.options.process,
      uid: this.options.uid,
    };
    this.snapshot = deepClone(all, (value) => ofRecord.has(value as never));
    this.paused = true;
    this.around.trace(this.options.name, 'is cut');
  }

  /** The other process wakes: as the frozen source, until it looks who it is. */
  private restore(snapshot: Snapshot): void {
    const { relay } = this.sidecar;
    this.time = snapshot.time;
    Object.assign(relay, snapshot.relay);
    Object.assign(inside(relay).replay.stages, snapshot.stages);
    this.sidecar.listening = true;
    this.links = snapshot.links.map((link) => ({ ...link, socket: new PipeSocket(link.wire) }));
    for (const { session, parked, link } of snapshot.sessions) {
      const socket = this.links[link]?.socket ?? deadSocket();
      const connection = new Connection(session, socket.socket, inside(relay).events);
      relay.connections.add(connection);
      inside(relay).brokers.set(connection, BROKER);
      if (!parked) connection.use(this.oldUpstream());
    }
    const generation = 1;
    this.sidecar.prepareThaw(generation);
    this.sidecar.commands.handle(
      {
        type: 'freeze',
        id: 1,
        claim: snapshot.handoff.claim,
        epoch: snapshot.handoff.epoch,
        generation,
        deadlineMs: 1000,
        record: snapshot.record,
      },
      1,
    );
  }

  /** The source's upstream socket in the copy: dead, and whoever writes to it would have spoken as the source. */
  private oldUpstream(): net.Socket {
    const written = (): void =>
      this.around.wrong('one voice', `${this.options.name} writes to its source's connection`);
    return new PipeSocket(new Wire(1 << 20), { written, read: () => undefined, ended: () => undefined }).socket;
  }

  /** For people: what stands where. */
  describe(): string[] {
    if (this.gone) return [];
    const { sidecar, paused, links } = this;
    const { commands, relay } = sidecar;
    const state = `${commands.state().state}, voice ${sidecar.voice}${paused ? ', app paused' : ''}`;
    const sessions = [...relay.connections].map(({ session, parked, app, upstream }) => {
      const { phase, wantsApp, wires, outstanding, carried } = session;
      const link = links.find(({ socket }) => socket.socket === app);
      const what = `${phase}${parked ? ' parked' : ''} wantsApp ${wantsApp} outstanding ${outstanding} carried ${carried}`;
      const up = upstream ? (upstream as unknown as PipeSocket).describe() : 'none';
      return `session ${session.id}: ${what} withheld ${session.withheldBytes} closing ${wires.closing}; app ${link?.socket.describe()}; upstream ${up}`;
    });
    return [`${this.options.name}: ${state}`, ...sessions];
  }

  // ---- time

  /** No bytes under way between app, sidecar and broker. */
  get quiet(): boolean {
    return this.gone || [...this.links.map(({ wire }) => wire), ...this.sidecar.upstreams].every(({ quiet }) => quiet);
  }

  step(now: number): void {
    if (this.gone) return;
    this.sidecar.step(now);
    const { random, network } = this.around;
    for (const link of this.links) if (!network.slow || random.chance(0.5)) link.socket.pump(random, network.chunk);
    if (!this.paused) this.run();
    this.links = this.links.filter(({ socket, left }) => !(left && socket.destroyed));
  }

  private run(): void {
    const { app } = this;
    this.time += 1;
    for (const connection of app.dials.splice(0)) this.dial(connection);
    app.advance(this.time);
    for (const link of this.links) if (!link.left) this.exchange(link);
  }

  private dial(connection: number): void {
    const { sidecar, app } = this;
    if (sidecar.dead || !sidecar.listening) {
      app.closed(connection);
      return;
    }
    const wire = new Wire(this.around.network.room);
    const socket = new PipeSocket(wire);
    this.links.push({ connection, wire, socket, left: false });
    inside(sidecar.relay).accept(socket.socket, BROKER);
    app.begin(connection);
  }

  private exchange(link: AppLink): void {
    const { random, network } = this.around;
    const { wire, connection } = link;
    const { outward, inward } = wire;
    const reads = !network.slow || random.chance(0.5);
    for (let budget = reads ? TICK_BYTES : 0; budget > 0 && outward.bytes > 0; ) {
      const chunk = outward.take(random.between(1, network.chunk));
      budget -= chunk.length;
      this.app.fromBroker(connection, chunk);
    }
    for (const bytes of this.app.connections[connection]!.take()) inward.push(bytes);
    const over = outward.bytes === 0 && (outward.ended || wire.reset);
    if (!over && this.app.connections[connection]!.state !== 'closed') return;
    link.left = true;
    inward.ended = true;
    this.app.closed(connection);
  }

  // ---- ends

  /** The sidecar's container dies, and the kubelet starts it anew. `voice`: what it has then. */
  restartSidecar(voice: (mute: boolean) => Voice): void {
    this.sidecar.die();
    for (const { socket, wire } of this.links) {
      socket.silence();
      socket.destroy();
      wire.reset = true;
      wire.outward.drop();
    }
    this.restarts += 1;
    const { uid, dir } = this.options;
    const handoff = restarted(claimOfMarker(join(dir, 'run'), uid));
    this.sidecar = this.process(handoff, `${uid}/${this.restarts}`);
    this.sidecar.voice = voice(!handoff.session);
    if (handoff.session) void this.sidecar.relay.start();
  }

  /** The whole pod goes, as by a power cut. */
  kill(): void {
    if (this.gone) return;
    this.gone = true;
    this.sidecar.die();
    for (const { socket } of this.links) socket.silence();
  }
}

const deadSocket = (): PipeSocket => {
  const socket = new PipeSocket(new Wire(0));
  socket.destroyed = true;
  return socket;
};
