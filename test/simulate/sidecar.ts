/** One process of a sidecar: the real relay and the real commands, over sockets in memory. What sidecar.ts wires in a pod. */
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StateChange } from '../../webhook/api/control.ts';
import { asShadowError } from '../../webhook/api/errors.ts';
import { RUN_FILE } from '../../webhook/api/names.ts';
import type { Log } from '../../webhook/log.ts';
import { type Commands, createCommands } from '../../webhook/sidecar/commands.ts';
import { freeze } from '../../webhook/sidecar/freeze.ts';
import type { Handoff } from '../../webhook/sidecar/handoff.ts';
import type { Paths } from '../../webhook/sidecar/identity.ts';
import { type Broker, SessionRelay } from '../../webhook/sidecar/relay.ts';
import { Link } from './link.ts';
import { bury } from './mortal.ts';
import type { Network, Surroundings } from './surroundings.ts';
import { Tap, type Voice } from './tap.ts';
import { dial, Upstream } from './upstream.ts';

export const BROKER: Broker = { host: 'broker', port: 5672, listen: '127.0.0.1' };
const CHECK_TICKS = 100;
const REATTACH_MS = 60_000;

export interface SidecarOptions {
  readonly uid: string;
  /** The pod it takes itself for: a copy that has not woken yet is its source. */
  readonly believes: string;
  readonly name: string;
  /** Its app's. */
  readonly line: string;
  readonly dir: string;
  /** Random per process; a copy has its source's. */
  readonly process: string;
  readonly handoff: Handoff;
  readonly voice: Voice;
  /** Right when it stands still: the one instant at which it may be cloned. */
  readonly onFrozen: () => void;
}

/** A pod's volumes: who it is, and its run directory. */
export const makePaths = (dir: string, uid: string): Paths => {
  const paths = { idDir: join(dir, 'id'), runDir: join(dir, 'run') };
  mkdirSync(paths.idDir, { recursive: true });
  mkdirSync(paths.runDir, { recursive: true });
  writeFileSync(join(paths.idDir, 'uid'), uid);
  return paths;
};

export class Sidecar {
  readonly options: SidecarOptions;
  readonly relay: SessionRelay;
  readonly commands: Commands;
  readonly link: Link;
  readonly upstreams = new Set<Upstream>();
  readonly network: Network;
  voice: Voice;
  dead = false;
  /** Its relay takes connections of the app. */
  listening = false;
  private readonly around: Surroundings;
  private readonly paths: Paths;
  private dialled = 0;
  private now = 0;
  /** The broker can't be reached until then. */
  awayUntil = 0;
  private awake: boolean;
  private unmuted = false;

  constructor(around: Surroundings, options: SidecarOptions) {
    this.around = around;
    this.options = options;
    this.voice = options.voice;
    this.awake = options.voice !== 'fenced';
    this.paths = makePaths(options.dir, options.uid);
    this.network = around.network;
    const log = this.log();
    this.relay = new SessionRelay({
      brokers: [],
      blindPorts: [],
      log,
      connectUpstream: () => this.connect(),
      reattachMs: REATTACH_MS,
    });
    const start = this.relay.start.bind(this.relay);
    this.relay.start = () => {
      this.listening = true;
      return start();
    };
    this.link = new Link(
      {
        hello: () => ({ type: 'hello', version: 'simulated', process: options.process, ...this.commands.hello() }),
        opened: () => this.commands.opened(),
        handle: (message, connection) => {
          around.trace(options.name, `gets ${message.type}`);
          this.heard(message.type);
          this.commands.handle(message, connection);
        },
        arrived: (socket, hello) => around.hub.arrived(options.uid, socket, hello),
        received: (socket, message) => around.hub.received(socket, message),
        dropped: (socket) => around.hub.dropped(socket),
      },
      around.random,
      around.network.controlLatency,
    );
    this.commands = createCommands({
      relay: this.relay,
      control: () => this.control(),
      health: { rest: async () => undefined },
      freeze: (how) => {
        options.onFrozen();
        return freeze(how);
      },
      paths: this.paths,
      uid: options.believes,
      handoff: options.handoff,
      die: (why) => around.wrong('one voice', `${options.name} dies: ${why}`),
      log,
    });
  }

  private log(): Log {
    const tell =
      (level: string) =>
      (fields: object, message: string): void => {
        const { err, ...rest } = fields as { err?: unknown };
        const why = err === undefined ? '' : ` ${asShadowError(err).message}`;
        this.around.trace(this.options.name, `${level}: ${message} ${JSON.stringify(rest)}${why}`);
      };
    return { debug: tell('debug'), info: tell('info'), warn: tell('warn'), error: tell('error') } as unknown as Log;
  }

  private control(): Pick<Link, 'connection' | 'send' | 'flush' | 'redial'> {
    const { link } = this;
    // A copy that has not woken yet answers over its source's connection, which is not its own: nothing arrives.
    if (!this.awake) {
      return {
        connection: () => 1,
        send: () => undefined,
        flush: () => Promise.resolve(true),
        redial: () => {
          this.awake = true;
        },
      };
    }
    return {
      connection: link.connection,
      flush: link.flush,
      redial: link.redial,
      send: (message) => {
        if (message.type === 'state' && !this.dead) this.said(message);
        link.send(message);
      },
    };
  }

  /** From the moment it says so, it is held to it. */
  private said({ state, play, record }: StateChange): void {
    const { lag, received, waiting, diverged, divergence } = play ?? {};
    const played = play
      ? `, received ${received} lag ${lag} waiting ${waiting} diverged ${diverged} ${divergence ?? ''}`
      : '';
    const recorded = record ? `, recorded ${record.entries} throttle ${record.throttle}` : '';
    this.around.trace(this.options.name, `says ${state}${played}${recorded}`);
    if (record && record.throttle < 1) this.around.count('throttled (reports)');
    if (state === 'mute' && this.voice === 'full' && !this.unmuted) this.voice = 'silent';
  }

  /** An abort gives it its voice back, even if it is on the way to being mute. */
  private heard(type: string): void {
    if (type === 'mute') this.unmuted = false;
    if (type !== 'unmute') return;
    this.unmuted = true;
    if (this.voice === 'silent') this.voice = 'full';
  }

  private async connect() {
    if (this.dead) throw new Error('the process is gone');
    if (this.now < this.awayUntil) throw new Error('the broker is away');
    const real = await dial(this.around.port);
    if (this.dead) {
      real.destroy();
      throw new Error('the process is gone');
    }
    this.dialled += 1;
    const { name, line } = this.options;
    const tap = new Tap(`${name}/up${this.dialled}`, line, () => this.voice, this.around.taps);
    const upstream: Upstream = new Upstream(real, tap, this.network.room, () => this.upstreams.delete(upstream));
    this.upstreams.add(upstream);
    return upstream.near.socket;
  }

  /** A cut of this generation ends at once: the clone is made in between. */
  prepareThaw(generation: number): void {
    writeFileSync(join(this.paths.runDir, RUN_FILE.thaw), String(generation));
  }

  step(now: number): void {
    if (this.dead) return;
    this.now = now;
    if (this.awake) this.link.step(now);
    for (const upstream of [...this.upstreams])
      if (!this.network.slow || this.around.random.chance(0.4)) upstream.pump(this.around.random, this.network.chunk);
    if (now % CHECK_TICKS === 0) this.commands.check();
  }

  /** The process ends as by SIGKILL. Its run directory is its successor's from now on. */
  die(): void {
    if (this.dead) return;
    this.around.trace(this.options.name, 'is killed');
    this.dead = true;
    this.link.die();
    for (const upstream of [...this.upstreams]) upstream.die(this.around.random.chance(0.5));
    // What is still under way in this process must not write into its successor's files.
    const { dir } = this.options;
    const grave = `${dir}.dead`;
    rmSync(grave, { recursive: true, force: true });
    renameSync(dir, grave);
    makePaths(dir, this.options.uid);
    const marker = join(grave, 'run', RUN_FILE.mute);
    if (existsSync(marker)) copyFileSync(marker, join(this.paths.runDir, RUN_FILE.mute));
    bury(this.relay.replay);
    void this.relay.stop(0);
  }
}
