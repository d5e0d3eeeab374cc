/** Apps, sessions and the model broker, moved on step by step by a random schedule: whole handoffs, without a socket or a clock. */

import type { Settlement } from '../../../../webhook/api/control.ts';
import type { Attachment } from '../../../../webhook/sidecar/attachment.ts';
import { Decoder } from '../../../../webhook/sidecar/replay/entries.ts';
import { Player, type PlayerOptions } from '../../../../webhook/sidecar/replay/player.ts';
import { Recorder } from '../../../../webhook/sidecar/replay/recorder.ts';
import { Session } from '../../../../webhook/sidecar/session.ts';
import type { Superseded } from '../../../../webhook/sidecar/superseded.ts';
import { Valve } from '../../../../webhook/sidecar/tap.ts';
import { type AppOptions, ModelApp } from './app.ts';
import { ModelBroker, ModelConnection, type Random } from './broker.ts';
import { fork } from './clone.ts';

/** Bytes on their way. */
export class Pipe {
  private bytes: Buffer = Buffer.alloc(0);
  push(chunks: readonly Buffer[]): void {
    if (chunks.length > 0) this.bytes = Buffer.concat([this.bytes, ...chunks]);
  }
  get length(): number {
    return this.bytes.length;
  }
  /** Some of them: a few, many, or all. */
  take(random: Random): Buffer {
    const most = [9, 60, 700, this.bytes.length][Math.floor(random() * 4)]!;
    const chunk = Buffer.from(this.bytes.subarray(0, 1 + Math.floor(random() * most)));
    this.bytes = this.bytes.subarray(chunk.length);
    return chunk;
  }
}

/** An app with its session, and what is under way between them: what is forked at a cut. */
export class Pair {
  readonly app: ModelApp;
  session: Session;
  readonly toSession = new Pipe();
  readonly toApp = new Pipe();
  readonly toBroker = new Pipe();
  settlements: Settlement[] = [];
  lost: string | undefined;
  constructor(options: AppOptions) {
    this.app = new ModelApp(options);
    this.session = new Session(1, 'broker:5672');
    this.app.open();
  }

  /** What the session has to say is on its way. */
  drain(): void {
    const { toApp, toBroker, settlements, lost } = this.session.take();
    this.toApp.push(toApp);
    this.toBroker.push(toBroker);
    this.settlements.push(...settlements);
    this.lost ??= lost;
  }

  /** What may happen on the app's side. */
  acts(random: Random): (() => void)[] {
    const acts: (() => void)[] = [];
    const { app, session } = this;
    this.toSession.push(app.out.splice(0));
    if (this.toApp.length > 0) acts.push(() => app.receive(this.toApp.take(random)));
    if (this.toSession.length > 0 && session.wantsApp)
      acts.push(() => {
        session.fromApp(this.toSession.take(random));
        this.drain();
      });
    if (app.able.length > 0) acts.push(() => app.step(random));
    return acts;
  }
}

/** A line of events: one source, and perhaps the copy that follows it. */
export class World {
  readonly broker = new ModelBroker();
  readonly random: Random;
  pair: Pair;
  connection: ModelConnection;
  copy: Pair | undefined;
  recorder: Recorder | undefined;
  valve: Valve | undefined;
  player: Player | undefined;
  private decoder = new Decoder();
  private readonly record = new Pipe();
  private old:
    | { half: Superseded; connection: ModelConnection; toBroker: Pipe; settling: Settlement[]; closing: boolean }
    | undefined;
  private now = 1;
  private readonly fed: string[] = [];
  readonly bodies: string[];

  constructor(random: Random, options: AppOptions, count: number) {
    this.random = random;
    this.pair = new Pair(options);
    this.connection = new ModelConnection(this.broker);
    this.bodies = Array.from({ length: count }, (_, index) => String(index + 1));
    this.fed.push(...this.bodies);
    for (let n = 1; n <= count; n += 3)
      this.broker.queue('more').push({ body: `m${n}`, correlation: '', redelivered: false });
  }

  private upstream(pair: Pair, connection: ModelConnection): (() => void)[] {
    const { random } = this;
    const acts: (() => void)[] = [];
    if (pair.toBroker.length > 0) acts.push(() => connection.receive(pair.toBroker.take(random)));
    if (connection.out.length > 0 && pair.session.wantsBroker)
      acts.push(() => {
        const whole = new Pipe();
        whole.push(connection.out.splice(0));
        pair.session.fromBroker(whole.take(random));
        if (whole.length > 0) connection.out.unshift(whole.take(() => 0.999999));
        pair.drain();
      });
    return acts;
  }

  private oldActs(): (() => void)[] {
    const { old, random } = this;
    if (!old) return [];
    const acts: (() => void)[] = [];
    const take = (): void => old.toBroker.push(old.half.take().toBroker);
    take();
    if (old.toBroker.length > 0) acts.push(() => old.connection.receive(old.toBroker.take(random)));
    if (old.connection.out.length > 0)
      acts.push(() => {
        old.half.fromBroker(Buffer.concat(old.connection.out.splice(0)));
        take();
      });
    if (old.settling.length > 0)
      acts.push(() => {
        const items = old.settling.splice(0, 1 + Math.floor(random() * old.settling.length));
        old.half.settle(items);
        // Said twice, done once.
        old.half.settle(items);
      });
    const over = old.half.outstanding === 0 && !old.half.settling && old.settling.length === 0;
    if (over && !old.closing)
      acts.push(() => {
        old.closing = true;
        old.half.close();
      });
    if (old.half.closed)
      acts.push(() => {
        this.old = undefined;
        this.consume();
      });
    return acts;
  }

  consume(): void {
    this.pair.session.consume();
    this.pair.drain();
  }

  private playActs(): (() => void)[] {
    const { copy, player, recorder, random } = this;
    if (!copy || !player || !recorder) return [];
    const acts = copy.acts(random).map((act) => () => {
      act();
      this.say();
    });
    for (let chunk = recorder.stream.next(); chunk; chunk = recorder.stream.next()) {
      this.record.push([chunk.bytes]);
      recorder.stream.wanted(chunk.offset + chunk.bytes.length, false);
    }
    if (this.record.length > 0)
      acts.push(() => {
        player.feed(this.decoder.push(this.record.take(random)));
        this.say();
      });
    return acts;
  }

  private say(): void {
    this.now += 1;
    this.player?.tick(this.now);
    this.player?.advance();
    this.copy?.drain();
  }

  /** One thing that may happen happens; false: nothing may. */
  step(): boolean {
    const acts = [
      ...this.pair.acts(this.random),
      ...this.upstream(this.pair, this.connection),
      ...this.oldActs(),
      ...this.playActs(),
    ];
    if (this.fed.length > 0)
      acts.push(() => {
        const body = this.fed.shift()!;
        this.broker.queue('in').push({ body, correlation: '', redelivered: false });
      });
    const { valve } = this;
    if (valve && valve.credit < 3 && this.pair.session.phase === 'open')
      acts.push(() => {
        valve.credit = Math.min(3, valve.credit + 1);
        this.pair.session.handOut(1);
        this.pair.drain();
      });
    const broker = this.random() < 0.3;
    if ((broker || acts.length === 0) && this.broker.step(this.random)) return true;
    const act = acts[Math.floor(this.random() * acts.length)];
    act?.();
    if (this.pair.session.awaitsQuiet) this.pair.session.quiet();
    return act !== undefined;
  }

  /** Steps until it holds; false: nothing can happen any more before it does. */
  until(holds: () => boolean, most = 200_000): boolean {
    for (let count = 0; !holds(); count++) {
      if (count > most) throw new Error('it goes on for ever');
      if (!this.step()) return holds();
    }
    return true;
  }

  run(steps: number): void {
    for (let count = 0; count < steps; count++) if (!this.step()) return;
  }

  // ---- a handoff

  /** The cut of the running source, and its copy. */
  cut(options: PlayerOptions, throttled: boolean): void {
    const { pair } = this;
    pair.session.halt();
    if (!this.until(() => pair.session.halted)) throw new Error('no content boundary');
    const copy = fork(pair);
    this.recorder = new Recorder();
    pair.session.wires.tap = this.recorder.tap(1);
    this.valve = new Valve();
    if (throttled) this.valve.credit = 0;
    pair.session.wires.valve = this.valve;
    this.recorder.stream.wanted(0, false);
    pair.session.goOn();
    pair.drain();
    this.decoder = new Decoder();
    this.record.take(() => 0.999999);
    copy.session.becomeTwin();
    // What it has to say to the broker is the source's.
    copy.drain();
    while (copy.toBroker.length > 0) copy.toBroker.take(() => 0.999999);
    this.copy = copy;
    this.player = new Player([copy.session.rehearsal!], options);
    this.player.tick(this.now);
    copy.session.rehearse(this.player);
    this.say();
  }

  /** The source falls silent, and ends its record. */
  mute(): void {
    const { session } = this.pair;
    session.mute();
    this.pair.drain();
    if (!this.until(() => session.phase === 'mute')) throw new Error(`it never becomes mute: ${session.phase}`);
    this.recorder?.end();
  }

  /** No copy: the source serves on. */
  abort(): void {
    const { session } = this.pair;
    session.wires.tap = undefined;
    session.wires.valve = undefined;
    this.copy = undefined;
    this.player = undefined;
    this.valve = undefined;
    this.recorder = undefined;
    // As relay and session do it: one that is mute hands out when it is served again.
    if (session.phase === 'open') session.handOut();
    session.unmute();
    this.pair.drain();
  }

  /** The copy speaks from here on. */
  commit(): void {
    const { copy, player, pair } = this;
    if (!copy || !player) throw new Error('no copy');
    const { connection, attachment } = this.attach(copy);
    pair.session.wires.tap = undefined;
    pair.session.wires.valve = undefined;
    const half = pair.session.divide();
    this.succeed(copy, half, connection);
    copy.session.takeOver(attachment, player.publishesOf(1), player.settlementsOf(1));
    copy.drain();
    this.copy = undefined;
    this.player = undefined;
    this.recorder = undefined;
    this.valve = undefined;
  }

  /** Mute first, and no more than one of them runs: as StopAndCopy does it. `commit` false: it is undone. */
  stopAndCopy(commit: boolean): void {
    const { pair } = this;
    pair.session.mute();
    pair.drain();
    const still = (): boolean => pair.session.phase === 'mute' && pair.toBroker.length === 0;
    if (!this.until(still)) throw new Error(`it never becomes mute: ${pair.session.phase}`);
    if (!commit) {
      pair.session.unmute();
      pair.drain();
      return;
    }
    const copy = fork(pair);
    const half = pair.session.divide();
    copy.session.detach();
    const { connection, attachment } = this.attach(copy);
    this.succeed(copy, half, connection);
    copy.session.adopt(attachment);
    copy.session.live();
    copy.drain();
  }

  /** The copy is the pod from here on; the source's half settles what was carried. */
  private succeed(copy: Pair, half: Superseded, connection: ModelConnection): void {
    const { toBroker } = this.pair;
    this.old = { half, connection: this.connection, toBroker, settling: copy.settlements, closing: false };
    this.pair = copy;
    this.connection = connection;
  }

  private attach(copy: Pair): { connection: ModelConnection; attachment: Attachment } {
    const connection = new ModelConnection(this.broker);
    const attachment = copy.session.attachment();
    while (!attachment.done) {
      for (const bytes of attachment.toBroker.take()) connection.receive(bytes);
      for (const bytes of connection.out.splice(0)) attachment.fromBroker(bytes);
    }
    return { connection, attachment };
  }

  // ---- death

  /** Apps that had a voice and died, and sources that died while they settled for their copy. */
  readonly dead: ModelApp[] = [];
  lostHalves = 0;

  /** App and sidecar die, with the copy that follows them; the broker has back what they had not settled. Another one begins. */
  crash(): void {
    this.crashOld();
    this.dead.push(this.pair.app);
    this.connection.gone();
    this.copy = undefined;
    this.player = undefined;
    this.recorder = undefined;
    this.valve = undefined;
    this.pair = new Pair(this.pair.app.options);
    this.connection = new ModelConnection(this.broker);
    this.until(() => this.pair.app.ready > 0);
  }

  /** The source of a copy that serves dies: what it has not settled for it comes again. */
  crashOld(): void {
    if (!this.old) return;
    // A settlement may be said and not heard yet.
    if (this.old.connection.holds > 0) this.lostHalves += 1;
    this.old.connection.gone();
    this.old = undefined;
    this.consume();
  }

  /** What the broker has got, by key and body. */
  got(): Map<string, number> {
    const found = new Map<string, number>();
    for (const { key, body } of this.broker.outputs) {
      const name = `${key} ${body}`;
      found.set(name, (found.get(name) ?? 0) + 1);
    }
    return found;
  }

  get handedOver(): boolean {
    return this.old === undefined && this.pair.session.carried === 0;
  }

  get fedAll(): boolean {
    return this.fed.length === 0;
  }
}
