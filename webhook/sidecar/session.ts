/**
 * One app connection and its upstream, as a pure state machine: bytes and commands in, bytes and events out (`take`). No
 * socket, no clock: deadlines come in as commands.
 *
 * opening → open ⇄ muting → mute → detached (its upstream half left behind or split off) → attached → open again.
 * A copy of a source that goes on: open, halted → replaying → open.
 * An upstream that is lost on an ordinary day: open → severed → open.
 */
import { AppSide } from './app-side.ts';
import { Attachment } from './attachment.ts';
import { BrokerSide } from './broker-side.ts';
import { resumeConsumers } from './consumers.ts';
import { FRAME, Malformed, Outlet, type Piece, REPLY, Splitter } from './frames.ts';
import { Handshake } from './handshake.ts';
import { type ConnectionReport, connectionReport, declaredBy, hazardsOf, type Traits } from './hazards.ts';
import { encode, HEARTBEAT, METHOD } from './methods.ts';
import { Muting } from './muting.ts';
import type { Actions, Phase } from './phases.ts';
import { spokenBy } from './protocols.ts';
import type { Settling } from './replay/expectations.ts';
import type { Made } from './replay/publishes.ts';
import { Rehearsal } from './replay/rehearsal.ts';
import type { Judge } from './replay/twin.ts';
import { type Refusal, Severance } from './severance.ts';
import { isForced, needs, unhideable } from './severed.ts';
import { oldChannel, Superseded } from './superseded.ts';
import { Wires } from './wires.ts';

export class Session {
  readonly id: number;
  /** `host:port`, of several hosts the one its connection was made to last. */
  broker: string;
  phase: Phase = 'opening';
  readonly wires: Wires;
  readonly handshake = new Handshake();
  /** The app's frames that wait for un-mute or live, in order. */
  private held: Piece[] = [];
  /** It stands still at the next content boundary of each direction, for a cut. */
  private halting = false;
  /** What the broker sent beyond that boundary. */
  private heldDown: Piece[] = [];
  /** While a record is played to it. */
  rehearsal: Rehearsal | undefined;
  private readonly severance: Severance;
  readonly muting: Muting;
  private lost: string | undefined;
  /** Blind: what it is, for people. */
  private spoken = '';
  private appGone = false;
  /** It was told why it is of no use any more. */
  private refused = false;
  private appSplitter = new Splitter();
  private brokerSplitter = new Splitter();
  private readonly appSide: AppSide;
  private readonly brokerSide: BrokerSide;

  constructor(id: number, broker: string) {
    this.id = id;
    this.broker = broker;
    this.wires = new Wires(id);
    this.severance = new Severance(this.wires);
    this.muting = new Muting(this.wires);
    this.appSide = new AppSide(this.wires);
    this.brokerSide = new BrokerSide(this.wires);
  }

  take(): Actions {
    const { toApp, toBroker, settlements } = this.wires;
    const { lost, severance } = this;
    const { justForced: forced, justSevered: severed } = severance;
    this.wires.settlements = [];
    this.lost = undefined;
    severance.justForced = false;
    severance.justSevered = false;
    return { toApp: toApp.take(), toBroker: toBroker.take(), settlements, lost, forced, severed };
  }

  /** Whether bytes of the app may be read now. */
  get wantsApp(): boolean {
    if (this.phase === 'muting') return this.muting.uploading();
    if (this.phase === 'opening') return !(this.muting.wanted && this.handshake.asked);
    if (this.phase === 'replaying') return this.rehearsal?.twin.judge !== undefined;
    if (this.phase === 'severed') return this.severance.roomy;
    if (this.phase === 'open' && this.halting) return this.muting.uploading();
    return this.phase === 'open' || this.phase === 'blind';
  }

  /** Whether bytes of the broker may be read now. */
  get wantsBroker(): boolean {
    return !(this.halting && this.wires.betweenContents);
  }

  get withheldBytes(): number {
    return this.wires.withheldBytes;
  }

  // ---- bytes

  fromApp(chunk: Buffer): void {
    if (this.refused) return;
    if (this.phase === 'blind') {
      this.wires.toBroker.raw(chunk);
      return;
    }
    let rest: Buffer | undefined = chunk;
    if (!this.handshake.headerTaken) {
      const before = this.handshake.header;
      const taken = this.handshake.takeHeader(chunk);
      if (taken === 'other') {
        this.goBlind(Buffer.concat([before, chunk]));
        return;
      }
      rest = taken;
      if (taken) this.wires.toBroker.raw(this.handshake.header);
    }
    if (rest) this.appSplitter.split(rest, (piece) => this.appPiece(piece));
    this.advance();
  }

  private goBlind(first: Buffer): void {
    this.phase = 'blind';
    this.spoken = spokenBy(first);
    this.wires.toBroker.raw(first);
  }

  private appPiece(piece: Piece): void {
    if (this.phase === 'severed') {
      if (this.severance.hold(piece)) this.phase = 'open';
      return;
    }
    if (this.holds(piece)) {
      if (piece.type !== FRAME.heartbeat) this.held.push(piece.kept());
      return;
    }
    if (this.rehearsal) {
      this.rehearsal.twin.fromApp(piece);
      return;
    }
    if (this.phase === 'opening' && piece.type === FRAME.method && piece.channel === 0)
      this.handshake.fromApp(piece.method, piece.bytes);
    this.appSide.handle(piece);
  }

  /** A content half sent upstream is let through to its end; everything else of the app waits (invariant 4). */
  private holds(piece: Piece): boolean {
    if (this.phase === 'opening') return this.muting.wanted && this.handshake.asked;
    if (this.phase === 'replaying') return this.rehearsal?.twin.judge === undefined;
    if (this.phase === 'open' ? !this.halting : this.phase !== 'muting') return this.phase !== 'open';
    return this.wires.toBroker.atBoundary && !this.wires.channels.get(piece.channel)?.up;
  }

  fromBroker(chunk: Buffer): void {
    // A broker that refuses the protocol header answers with its own.
    if (this.phase === 'opening' && this.brokerSplitter.untouched && chunk[0] === 0x41) {
      this.phase = 'blind';
      this.spoken = 'speaks AMQP 0-9-1 to a broker that does not';
    }
    if (this.phase === 'blind') this.wires.toApp.raw(chunk);
    else if (this.phase !== 'detached' && this.phase !== 'replaying') {
      this.fromKnownBroker(chunk);
      this.advance();
    }
  }

  /** What is wrong with it is no fault of the app's. */
  private fromKnownBroker(chunk: Buffer): void {
    try {
      this.brokerSplitter.split(chunk, (piece) => this.brokerPiece(piece));
    } catch (error) {
      if (error instanceof Malformed) throw new Malformed(`the broker sent a ${error.message}`, 'INTERNAL_ERROR');
      throw error;
    }
  }

  private brokerPiece(piece: Piece): void {
    if (this.halting && this.phase === 'open' && (this.heldDown.length > 0 || this.wires.betweenContents)) {
      this.heldDown.push(piece.kept());
      return;
    }
    if (this.wires.tap) this.wires.tap.fromBroker(piece, this.wires.channels.get(piece.channel));
    const method = piece.type === FRAME.method ? piece.method : 0;
    switch (this.phase) {
      case 'opening':
        this.brokerSide.handle(piece);
        if (method === METHOD.connectionOpenOk) this.opened();
        return;
      case 'mute':
      case 'attached':
        if (method === METHOD.connectionClose) {
          this.muting.deferred = piece.kept();
          this.wires.toBroker.inject(encode.connectionCloseOk());
          this.lose('the broker closed the connection');
          return;
        }
        if (method === METHOD.channelClose) this.lose(`the broker closed channel ${piece.channel}`);
        if (this.phase === 'attached' && piece.type === FRAME.heartbeat) return;
        break;
      case 'open':
        if (this.parts(method, piece)) return;
        break;
      case 'severed':
        return;
      case 'muting':
        // It ends by itself: the app's close-ok must get through.
        if (method === METHOD.connectionClose) {
          this.brokerSide.handle(piece);
          this.unmute();
          return;
        }
        break;
    }
    this.brokerSide.handle(piece);
  }

  /** The broker says good-bye, or has: the app may not need to know. */
  private parts(method: number, piece: Piece): boolean {
    if (this.severance.parting) return true;
    if (method !== METHOD.connectionClose || !isForced(piece) || this.hiding !== undefined) return false;
    this.severance.part(piece);
    return true;
  }

  private opened(): void {
    this.handshake.done = true;
    const { frameMax } = this.handshake.tune;
    // A method frame is a table at most; without a limit agreed on, ours holds.
    this.appSplitter.maxMethod = frameMax === 0 ? 1 << 24 : frameMax;
    this.brokerSplitter.maxMethod = this.appSplitter.maxMethod;
    this.phase = 'open';
    if (this.muting.wanted) this.mute();
  }

  private lose(why: string): void {
    this.lost ??= `connection ${this.id} to ${this.broker}: ${why}`;
  }

  // ---- mute and un-mute

  mute(): void {
    this.muting.wanted = true;
    if (this.phase === 'open' && !this.wires.closing) {
      this.phase = 'muting';
      this.muting.begin();
      this.advance();
    }
  }

  private advance(): void {
    if (this.phase === 'muting' && this.muting.advance() && this.brokerSplitter.atBoundary) this.phase = 'mute';
  }

  get awaitsQuiet(): boolean {
    return this.phase === 'muting' && this.muting.awaitsQuiet;
  }

  /** The broker has sent nothing for a while. */
  quiet(): void {
    this.muting.quiet();
    this.advance();
  }

  /** Whether an un-mute must not go on with this upstream, once it is mute: a delivery may be stuck to its channels. */
  get stuck(): boolean {
    if (this.phase !== 'mute' && this.phase !== 'muting') return false;
    return this.muting.stuck && !this.appGone;
  }

  /** On the upstream it has; also from the midst of muting. */
  unmute(): void {
    this.muting.wanted = false;
    if (this.phase === 'opening') {
      this.releaseHeld();
      return;
    }
    if (this.phase !== 'muting' && this.phase !== 'mute') return;
    if (!this.wires.closing) {
      this.wires.guarded = true;
      for (const channel of this.wires.openChannels()) resumeConsumers(this.wires, channel, false);
    }
    this.serve();
  }

  /** The app is served (again): what it was kept from comes first. */
  private serve(): void {
    this.phase = 'open';
    const deferred = this.muting.end();
    if (deferred) this.brokerSide.handle(deferred);
    this.releaseHeld();
    this.handOut();
    if (this.appGone) this.wires.giveBackAll();
  }

  private releaseHeld(): void {
    const held = this.held;
    this.held = [];
    for (const piece of held) this.appPiece(piece);
  }

  // ---- a cut that it goes on after, and its copy

  /** It stops at the next content boundary of each direction (see `halted`), until `goOn`. */
  halt(): void {
    this.halting = true;
  }

  /** What two processes have of it now is the same, and neither needs what the other reads next. */
  get halted(): boolean {
    const still = this.phase === 'open' && this.halting && !this.wires.closing && !this.appGone;
    return still && this.wires.betweenContents && !this.muting.uploading();
  }

  goOn(): void {
    this.halting = false;
    const down = this.heldDown;
    this.heldDown = [];
    for (const piece of down) this.brokerPiece(piece);
    this.releaseHeld();
  }

  /** Restored from a cut of a source that goes on: its upstream, and what came from it, is the source's. */
  becomeTwin(): void {
    if (!this.halted) throw new Malformed(`becomeTwin in phase ${this.phase}`);
    this.phase = 'replaying';
    this.halting = false;
    this.heldDown = [];
    const { wires, appSide, brokerSide } = this;
    this.rehearsal = new Rehearsal(wires, appSide, brokerSide, this.appSplitter.maxMethod);
    this.pulse();
  }

  /** The app hears of its peer, whatever comes next; if it has agreed to heartbeats. */
  private pulse(): void {
    if (this.handshake.tune.heartbeat > 0) this.wires.toApp.inject(HEARTBEAT);
  }

  /** The app is served, by whoever knows the record. */
  rehearse(judge: Judge): void {
    if (!this.rehearsal) throw new Malformed(`rehearse in phase ${this.phase}`);
    this.rehearsal.twin.judge = judge;
    this.releaseHeld();
  }

  /**
   * From here on this process speaks for the app (invariant 4: only after the commit), on an upstream that has the channels of
   * now. `publishes`, in the app's order, and `settlements` are what the app has done that the source's has not (invariants 1
   * and 2: each is said once). It consumes nothing yet.
   */
  takeOver(attachment: Attachment, publishes: readonly Made[], settlements: readonly Settling[]): void {
    const { rehearsal, wires } = this;
    if (!rehearsal) throw new Malformed(`takeOver in phase ${this.phase}`);
    this.rehearsal = undefined;
    this.join(attachment);
    rehearsal.carry(publishes, settlements);
    this.phase = 'open';
    rehearsal.goAhead(publishes, (piece) => this.appPiece(piece));
    this.handOut();
    if (this.appGone) wires.giveBackAll();
  }

  /** Withheld deliveries that may reach the app by now; `most` of each channel. Returns how many did. */
  handOut(most = Number.POSITIVE_INFINITY): number {
    let count = 0;
    for (const channel of this.wires.channels.values()) count += this.wires.release(channel, most);
    return count;
  }

  // ---- an upstream that is lost on an ordinary day

  /** Why the app would have to know if its upstream were lost now, in words for people; undefined: as far as it goes, it would not. */
  get hiding(): string | undefined {
    if (this.phase !== 'open' || this.halting || this.appGone) return 'it is not served as on an ordinary day';
    // Consumers that wait do so for another process to close its channels (invariant 3).
    if (this.wires.tap || this.rehearsal || this.waitsToConsume) return 'the pod is being handed over';
    return unhideable(this.wires);
  }

  private sever(): void {
    this.wires.toBroker = new Outlet();
    this.phase = 'severed';
    this.severance.begin();
    this.pulse();
  }

  /** Takes what an attachment has set up; the app is served again. */
  restore(attachment: Attachment): void {
    if (this.phase !== 'severed') throw new Malformed(`restore in phase ${this.phase}`);
    this.phase = 'open';
    this.join(attachment);
    for (const piece of this.severance.restore()) this.appPiece(piece);
  }

  /** No other upstream can be had. `refusal`: what a broker said instead. False: the app has not been told in words. */
  giveUp(refusal?: Refusal): boolean {
    if (this.phase !== 'severed') return true;
    this.phase = 'open';
    return this.severance.giveUp(refusal);
  }

  /** How the app has closed the connection while there was no broker to hear it; undefined: it has not. */
  get left(): Severance['left'] {
    return this.severance.left;
  }

  /** Deliveries of an upstream that is lost, which the app has not settled. */
  get stale(): number {
    return this.wires.stale;
  }

  // ---- another upstream

  /** The upstream is left behind. What the app has not been given yet stays in `toApp` and in the socket's queue. */
  detach(): void {
    if (this.phase !== 'mute' && this.phase !== 'detached' && this.phase !== 'attached')
      throw new Malformed(`detach in phase ${this.phase}`);
    this.phase = 'detached';
    this.brokerSplitter = new Splitter();
    this.brokerSplitter.maxMethod = this.appSplitter.maxMethod;
    this.wires.toBroker = new Outlet();
    this.wires.guarded = true;
    for (const channel of this.wires.channels.values()) channel.carry();
    this.pulse();
  }

  /** As `detach`, but the upstream half lives on: what the app settles of it goes there. */
  divide(): Superseded {
    const stream = { splitter: this.brokerSplitter, toBroker: this.wires.toBroker };
    const half = new Superseded(this, [...this.wires.openChannels()].map(oldChannel), stream);
    this.detach();
    return half;
  }

  /** What sets up another upstream connection; `adopt` takes it. `probing`: only if the broker has all that the app has declared. */
  attachment(probing = false): Attachment {
    const needed = probing ? needs(this.wires) : undefined;
    return new Attachment(this.handshake, [...this.wires.openChannels()], this.appSplitter.maxMethod, needed);
  }

  private join({ splitter, toBroker }: Attachment): void {
    this.brokerSplitter = splitter;
    this.wires.toBroker = toBroker;
  }

  adopt(attachment: Attachment): void {
    if (this.phase !== 'detached') throw new Malformed(`adopt in phase ${this.phase}`);
    this.phase = 'attached';
    this.join(attachment);
  }

  /** From here on this process speaks for the app (invariant 4: only after the commit); it consumes nothing yet. */
  live(): void {
    if (this.phase !== 'attached') return;
    this.muting.wanted = false;
    this.wires.unblock();
    this.serve();
  }

  /** The consumers that the new upstream has not heard of yet. */
  consume(): void {
    if (this.phase !== 'open' || this.wires.closing) return;
    for (const channel of this.wires.openChannels()) resumeConsumers(this.wires, channel, true);
  }

  get waitsToConsume(): boolean {
    return this.wires.waitsToConsume;
  }

  /** Deliveries that are not settled. */
  get outstanding(): number {
    return this.wires.outstanding;
  }

  get carried(): number {
    return this.wires.carried;
  }

  // ---- events

  /** Every half heartbeat interval: whom we keep silent, we speak for. */
  tick(): void {
    const { phase, handshake, wires } = this;
    if (!handshake.done) return;
    for (const channel of wires.channels.values()) wires.loosen(channel);
    if (phase === 'muting' || phase === 'mute' || phase === 'attached') wires.toBroker.inject(HEARTBEAT);
    if (phase === 'detached' || phase === 'attached' || phase === 'replaying' || phase === 'severed')
      wires.toApp.inject(HEARTBEAT);
  }

  /** The broker is silent; before the app judges it by that, it will be taken for lost. */
  reassure(): void {
    if (this.hiding === undefined) this.wires.toApp.inject(HEARTBEAT);
  }

  /** The app's socket is gone. A source that is mute keeps its upstream: its copy may need it. */
  appClosed(): void {
    this.appGone = true;
    if ((this.wires.tap || this.rehearsal) && this.wires.closing !== 'app')
      this.lose('the app ended it without a word');
    if (this.phase === 'open' || this.phase === 'muting') this.wires.giveBackAll();
  }

  /** The upstream socket is gone; true if the app must be told now. `mayHide`: it need not be, as far as the pod goes. */
  upstreamClosed(mayHide = false): boolean {
    switch (this.phase) {
      case 'mute':
      case 'attached':
        this.lose('the upstream connection is lost');
        return false;
      case 'detached':
      case 'replaying':
      case 'severed':
        return false;
      default:
        if (mayHide && this.hiding === undefined) {
          this.sever();
          return false;
        }
        if (this.severance.parting) this.brokerSide.handle(this.severance.parting);
        if (this.wires.tap && !this.wires.closing) this.lose('the upstream connection is lost');
        if (!this.wires.closing) this.wires.giveBackAll();
        this.wires.closing ??= 'broker';
        return true;
    }
  }

  /**
   * One of its inputs was wrong: nothing of it goes on. The app is told by connection.close; false: it can't be, or it need not
   * know yet (before open-ok the specification has the connection closed without a word).
   */
  refuse(error: Error): boolean {
    const { wires, handshake } = this;
    const served = this.phase === 'open' || this.phase === 'muting';
    if (this.refused || !served || !handshake.done || wires.closing || !wires.toApp.atBoundary) return false;
    const reply = error instanceof Malformed ? error.reply : 'INTERNAL_ERROR';
    this.refused = true;
    if (wires.tap) this.lose(error.message);
    wires.closing = 'broker';
    wires.giveBackAll();
    wires.toApp.inject(encode.connectionClosed(REPLY[reply], `${reply} - ${error.message}`));
    return true;
  }

  report(): ConnectionReport {
    return connectionReport(this.id, this.broker, this.handshake.vhost, this.wires);
  }

  /** `declared`: by whatever connection of the pod to this virtual host. */
  hazards(declared: Traits = declaredBy([this.wires])): string[] {
    return hazardsOf(this.id, this.phase === 'blind' ? this.spoken : undefined, this.wires, declared);
  }
}
