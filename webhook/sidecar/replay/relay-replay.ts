/** The relay's part in record and play: takes all sessions of the pod through a cut that the source goes on after. */
import { asShadowError, ShadowError } from '../../api/errors.ts';
import type { Connection } from '../connection.ts';
import type { RelayContext } from '../relay-context.ts';
import type { Valve } from '../tap.ts';
import { isFull, LOOK_MS, Load } from './load.ts';
import type { Player } from './player.ts';
import type { Recorder } from './recorder.ts';
import type { Rehearsal } from './rehearsal.ts';
import { Stage } from './staged.ts';

/** An app as its relay sees it. */
export interface AppLoad {
  /** Deliveries a second, if it has all it can do (see load.ts). */
  readonly saturated: number | undefined;
  /** Deliveries it holds. */
  readonly held: number;
}

/** What record and play ask of a relay. */
export interface ReplayRelay {
  /**
   * Every session stands still at a content boundary of each direction; new connections wait. Rejects with SHADOW_E_FREEZE
   * (or SHADOW_E_SESSION, before anything is touched) and goes on as before.
   */
  halt(withinMs: number): Promise<void>;
  halted(): boolean;
  /** As it has been until now. */
  load(): AppLoad;
  /** Halted: all that takes effect from here on is recorded; deliveries reach the app through the valve. */
  record(recorder: Recorder, valve: Valve): void;
  /** After a halt: goes on. */
  goOn(): void;
  /** The record is given up, or complete. */
  stopRecording(): void;
  /** The valve has been opened a little. */
  handOut(): void;
  /** Something may have been recorded, played or lost. */
  onChange(callback: (() => void) | undefined): void;
  /** The sessions of a copy of a source that goes on. */
  rehearsals(): Rehearsal[];
  /** Their app is served from the record from now on. */
  play(player: Player): void;
  /** What the record, or one session's input, allows is said by all sessions that it concerns. */
  playOn(): void;
  /** Opens the upstream connections of a copy that replays, as its channels are now. Rejects with SHADOW_E_ATTACH. */
  stage(withinMs: number): Promise<void>;
  staged(): boolean;
}

export class RelayReplay implements ReplayRelay {
  private readonly context: RelayContext;
  recording = false;
  private halting = false;
  private player: Player | undefined;
  private speaking = false;
  private readonly stages = new Stage();
  private tellChange: (() => void) | undefined;
  private readonly loads = new Load();
  private looking: NodeJS.Timeout | undefined;

  constructor(context: RelayContext) {
    this.context = context;
  }

  // ---- events of the relay

  changed(): void {
    this.playOn();
    this.tellChange?.();
  }

  onChange(callback: (() => void) | undefined): void {
    this.tellChange = callback;
  }

  lost(why: string): void {
    this.player?.gone(why);
  }

  drop(): void {
    clearInterval(this.looking);
    this.stages.end();
  }

  // ---- the source

  /** From the start on: a cut comes without a warning. */
  watch(): void {
    this.looking ??= setInterval(() => this.look(), LOOK_MS).unref();
  }

  private look(): void {
    const sessions = [...this.context.served()].map(({ session }) => session);
    const delivered = sessions.reduce((sum, { wires }) => sum + wires.delivered, 0);
    this.loads.look({ at: performance.now(), held: this.held(), full: isFull(sessions), delivered });
  }

  private held(): number {
    let held = 0;
    for (const { session } of this.context.served())
      for (const { deliveries } of session.wires.openChannels()) held += deliveries.held;
    return held;
  }

  load(): AppLoad {
    return { saturated: this.loads.saturated(performance.now()), held: this.held() };
  }

  idleMs(): number {
    return this.loads.idleMs(performance.now());
  }

  async halt(withinMs: number): Promise<void> {
    this.stopRecording();
    this.context.refuseUnfit('SHADOW_E_FREEZE');
    this.context.hold();
    this.halting = true;
    for (const connection of [...this.context.connections])
      if (!connection.park()) connection.guard(() => connection.session.halt());
    try {
      await this.context.watch.until(() => this.halted(), withinMs);
    } catch (error) {
      this.goOn();
      throw new ShadowError('SHADOW_E_FREEZE', 'no content boundary', { cause: error, retryable: true });
    }
  }

  halted(): boolean {
    if (!this.halting) return false;
    for (const { session } of this.context.served()) if (!session.halted) return false;
    return true;
  }

  record(recorder: Recorder, valve: Valve): void {
    this.recording = true;
    for (const { session } of this.context.served()) {
      session.wires.tap = recorder.tap(session.id);
      session.wires.valve = valve;
    }
  }

  goOn(): void {
    this.halting = false;
    if (!this.recording) this.context.release((connection) => connection.session.goOn());
    else for (const connection of [...this.context.served()]) connection.guard(() => connection.session.goOn());
  }

  stopRecording(): void {
    if (!this.recording) return;
    this.recording = false;
    for (const connection of [...this.context.connections]) {
      const { session } = connection;
      session.wires.tap = undefined;
      session.wires.valve = undefined;
      if (session.phase !== 'mute') connection.guard(() => session.handOut());
    }
  }

  /** By turns, one of each channel, until the credit is used up. */
  handOut(): void {
    for (let more = true; more; ) {
      more = false;
      for (const connection of [...this.context.served()]) {
        if (connection.session.phase !== 'open') continue;
        connection.guard(() => {
          if (connection.session.handOut(1) > 0) more = true;
        });
      }
    }
  }

  /**
   * A mute has failed. True: without a trace, and the record goes on. Once it has cancelled consumers a copy would not
   * understand what comes now, and the record is lost.
   */
  recordOn(): boolean {
    if (!this.recording) return false;
    const connections = [...this.context.served()];
    if (connections.some(({ session }) => session.muting.cancelled)) {
      this.context.lose('a mute that failed has spoilt the record');
      return false;
    }
    for (const connection of connections) this.context.serve(connection, () => connection.session.unmute());
    return true;
  }

  // ---- the copy

  /** Of a cut that the source goes on after: true if it was one. Nothing of the upstreams is read any more. */
  becomeTwins(): boolean {
    if (!this.recording) return false;
    this.recording = false;
    this.halting = false;
    this.tellChange = undefined;
    for (const connection of [...this.context.connections]) {
      connection.abandonUpstream();
      if (!connection.parked) connection.guard(() => connection.session.becomeTwin());
    }
    return true;
  }

  get playing(): boolean {
    return this.player !== undefined;
  }

  rehearsals(): Rehearsal[] {
    return [...this.context.served()].flatMap(({ session }) => session.rehearsal ?? []);
  }

  play(player: Player): void {
    this.player = player;
    for (const connection of [...this.context.served()]) connection.guard(() => connection.session.rehearse(player));
  }

  playOn(): void {
    const { player } = this;
    if (!player || this.speaking) return;
    this.speaking = true;
    player.advance();
    while (player.touched.size > 0) {
      const { touched } = player;
      player.touched = new Set();
      for (const connection of [...this.context.connections]) if (touched.has(connection.session.id)) connection.act();
      player.advance();
    }
    this.speaking = false;
  }

  private *unstaged(): Generator<Connection> {
    for (const connection of this.context.served())
      if (!connection.session.wires.closing && !this.stages.has(connection.session)) yield connection;
  }

  staged(): boolean {
    return this.unstaged().next().done === true;
  }

  async stage(withinMs: number): Promise<void> {
    const signal = AbortSignal.timeout(withinMs);
    const prepare = (connection: Connection): Promise<void> =>
      this.stages.prepare(connection.session, () => this.context.dial(connection), signal);
    try {
      await Promise.all([...this.unstaged()].map(prepare));
    } catch (error) {
      throw asShadowError(error, 'SHADOW_E_ATTACH');
    }
  }

  /** All at once, so that nothing comes between what the record holds and what the copy says itself. */
  async takeOver(withinMs: number): Promise<void> {
    const { player } = this;
    if (!player) return;
    if (!this.staged()) await this.stage(withinMs);
    if (!this.staged()) throw new ShadowError('SHADOW_E_ATTACH', 'channels changed meanwhile', { retryable: true });
    this.player = undefined;
    this.context.release((connection) => this.takeOne(connection, player));
    this.stages.end();
  }

  private takeOne(connection: Connection, player: Player): void {
    const { session } = connection;
    const staged = this.stages.take(session);
    if (!staged) {
      // The app is closing it.
      connection.app.end();
      return;
    }
    connection.useFor(staged.socket, () =>
      session.takeOver(staged.attachment, player.publishesOf(session.id), player.settlementsOf(session.id)),
    );
  }
}
