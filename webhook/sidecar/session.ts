/**
 * One app connection and its upstream, as a pure state machine: bytes and commands in, bytes and events out (`take`). No
 * socket, no clock: deadlines come in as commands.
 *
 * opening → open ⇄ muting → mute, then at the source superseded; in a copy detached → attaching → attached → open again.
 */
import type { Settlement } from '../api/control.ts';
import { AppSide } from './app-side.ts';
import { attachChannel, resumeConsumers, suspendConsumers } from './attach.ts';
import { BrokerSide } from './broker-side.ts';
import type { Channel } from './channel.ts';
import { FRAME, Malformed, Outlet, type Piece, Splitter } from './frames.ts';
import { Handshake } from './handshake.ts';
import { type ConnectionReport, connectionReport, hazardsOf } from './hazards.ts';
import { encode, HEARTBEAT, METHOD, methodOf } from './methods.ts';
import { settleFrames, silent } from './superseded.ts';
import { Wires } from './wires.ts';

export type Phase =
  | 'opening'
  | 'open'
  | 'muting'
  | 'mute'
  | 'superseded'
  | 'detached'
  | 'attaching'
  | 'attached'
  /** Not AMQP 0-9-1: bytes pass, nothing is known. */
  | 'blind';

/** What came of the inputs since the last `take`. */
export interface Actions {
  readonly toApp: Buffer[];
  readonly toBroker: Buffer[];
  readonly settlements: Settlement[];
  /** What can't be made good: the upstream, or a channel of it, is lost while it is needed. */
  readonly lost: string | undefined;
}

export class Session {
  readonly id: number;
  readonly broker: string;
  phase: Phase = 'opening';
  readonly wires: Wires;
  readonly handshake = new Handshake();
  /** The app's frames that wait for un-mute or live, in order. */
  private held: Piece[] = [];
  /** The broker's connection.close, kept from the app while mute. */
  private deferred: Piece | undefined;
  private muteWanted = false;
  private stage: 'replies' | 'cancels' | 'barrier' = 'replies';
  private calm = false;
  private lost: string | undefined;
  private appGone = false;
  private appSplitter = new Splitter();
  private brokerSplitter = new Splitter();
  private readonly appSide: AppSide;
  private readonly brokerSide: BrokerSide;

  constructor(id: number, broker: string) {
    this.id = id;
    this.broker = broker;
    this.wires = new Wires(id);
    this.appSide = new AppSide(this.wires);
    this.brokerSide = new BrokerSide(this.wires);
  }

  take(): Actions {
    const { toApp, toBroker, settlements } = this.wires;
    const lost = this.lost;
    this.wires.settlements = [];
    this.lost = undefined;
    return { toApp: toApp.take(), toBroker: toBroker.take(), settlements, lost };
  }

  /** Whether bytes of the app may be read now. */
  get wantsApp(): boolean {
    if (this.phase === 'muting') return this.uploading();
    if (this.phase === 'opening') return !(this.muteWanted && this.handshake.asked);
    return this.phase === 'open' || this.phase === 'blind';
  }

  get withheldBytes(): number {
    let sum = 0;
    for (const channel of this.wires.channels.values()) sum += channel.withheldBytes;
    return sum;
  }

  // ---- bytes

  fromApp(chunk: Buffer): void {
    if (this.phase === 'blind') {
      this.wires.toBroker.raw(chunk);
      return;
    }
    let rest: Buffer | undefined = chunk;
    if (!this.handshake.headerTaken) {
      const before = this.handshake.header;
      const taken = this.handshake.takeHeader(chunk);
      if (taken === 'other') {
        this.phase = 'blind';
        this.wires.toBroker.raw(Buffer.concat([before, chunk]));
        return;
      }
      rest = taken;
      if (taken) this.wires.toBroker.raw(this.handshake.header);
    }
    if (rest) for (const piece of this.appSplitter.push(rest)) this.appPiece(piece);
    this.advance();
  }

  private appPiece(piece: Piece): void {
    if (this.holds(piece)) {
      if (piece.type !== FRAME.heartbeat) this.held.push(piece);
      return;
    }
    if (this.phase === 'opening' && piece.type === FRAME.method && piece.channel === 0)
      this.handshake.fromApp(methodOf(piece.bytes), piece.bytes);
    this.appSide.handle(piece);
  }

  /** A content half sent upstream is let through to its end; everything else of the app waits (invariant 4). */
  private holds(piece: Piece): boolean {
    if (this.phase === 'opening') return this.muteWanted && this.handshake.asked;
    if (this.phase === 'open') return false;
    if (this.phase !== 'muting') return true;
    return this.wires.toBroker.atBoundary && !this.wires.channels.get(piece.channel)?.up;
  }

  private uploading(): boolean {
    if (!this.wires.toBroker.atBoundary) return true;
    for (const channel of this.wires.channels.values()) if (channel.up) return true;
    return false;
  }

  fromBroker(chunk: Buffer): void {
    // A broker that refuses the protocol header answers with its own.
    if (this.phase === 'opening' && this.wires.toApp.untouched && chunk[0] === 0x41) this.phase = 'blind';
    if (this.phase === 'blind') this.wires.toApp.raw(chunk);
    else if (this.phase !== 'detached') {
      for (const piece of this.brokerSplitter.push(chunk)) this.brokerPiece(piece);
      this.advance();
    }
  }

  private brokerPiece(piece: Piece): void {
    const method = piece.type === FRAME.method ? methodOf(piece.bytes) : 0;
    switch (this.phase) {
      case 'attaching':
        this.attachPiece(method, piece);
        return;
      case 'superseded':
        this.lost ??= silent(this.wires, method, piece);
        return;
      case 'opening':
        this.brokerSide.handle(piece);
        if (method === METHOD.connectionOpenOk) this.opened();
        return;
      case 'mute':
      case 'attached':
        if (method === METHOD.connectionClose) {
          this.deferred = piece;
          this.wires.toBroker.inject(encode.connectionCloseOk());
          this.lose('the broker closed the connection');
          return;
        }
        if (method === METHOD.channelClose) this.lose(`the broker closed channel ${piece.channel}`);
        if (this.phase === 'attached' && piece.type === FRAME.heartbeat) return;
        break;
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

  private opened(): void {
    this.handshake.done = true;
    const { frameMax } = this.handshake.tune;
    // A method frame is a table at most; without a limit agreed on, ours holds.
    this.appSplitter.maxMethod = frameMax === 0 ? 1 << 24 : frameMax;
    this.brokerSplitter.maxMethod = this.appSplitter.maxMethod;
    this.phase = 'open';
    if (this.muteWanted) this.mute();
  }

  private lose(why: string): void {
    this.lost ??= `connection ${this.id} to ${this.broker}: ${why}`;
  }

  // ---- mute and un-mute

  mute(): void {
    this.muteWanted = true;
    if (this.phase === 'open' && !this.wires.closing) {
      this.phase = 'muting';
      this.stage = 'replies';
      this.calm = false;
      this.advance();
    }
  }

  /** Each stage waits until nothing is owed on any channel. */
  private advance(): void {
    if (this.phase !== 'muting' || this.uploading() || this.owed()) return;
    if (this.stage === 'replies') {
      if (!this.calm && !this.sated()) return;
      this.stage = 'cancels';
      for (const channel of this.openChannels()) suspendConsumers(this.wires, channel);
      if (this.owed()) return;
    }
    if (this.stage === 'cancels') {
      // After flow-ok nothing that the broker had for us before the cancels is under way any more.
      this.stage = 'barrier';
      for (const channel of this.openChannels()) {
        this.wires.injectUp(channel, encode.flow(channel.id));
        channel.expected.push({ reply: METHOD.channelFlowOk, ours: true });
      }
      if (this.owed()) return;
    }
    for (const channel of this.wires.channels.values()) if (channel.unconfirmed.size > 0 || channel.down) return;
    if (this.brokerSplitter.atBoundary) this.phase = 'mute';
  }

  /**
   * A quorum queue's deliveries that are under way when its consumer is cancelled reach nobody until the channel closes
   * (RabbitMQ's client of it has forgotten the consumer). So consumers are cancelled when nothing can be under way: the
   * app settles nothing now, so each is soon full, or its queue has nothing for it.
   */
  private sated(): boolean {
    for (const channel of this.openChannels())
      for (const consumer of channel.consumers.values())
        if (consumer.noAck || consumer.prefetch === 0 || consumer.held + consumer.withheld < consumer.prefetch)
          return false;
    return true;
  }

  /** Waiting for `quiet`. */
  get awaitsQuiet(): boolean {
    return this.phase === 'muting' && this.stage === 'replies' && !this.calm;
  }

  /** The broker has sent nothing for a while. */
  quiet(): void {
    this.calm = true;
    this.advance();
  }

  private owed(): boolean {
    if (this.wires.control.expected.length > 0) return true;
    for (const channel of this.wires.channels.values()) if (channel.expected.length > 0) return true;
    return false;
  }

  private *openChannels(): Generator<Channel> {
    for (const channel of this.wires.channels.values()) if (channel.state === 'open') yield channel;
  }

  /** Also from the midst of muting. */
  unmute(): void {
    this.muteWanted = false;
    if (this.phase === 'opening') {
      this.releaseHeld();
      return;
    }
    if (this.phase !== 'muting' && this.phase !== 'mute') return;
    if (!this.wires.closing) {
      this.wires.guarded = true;
      for (const channel of this.openChannels()) resumeConsumers(this.wires, channel, false);
    }
    this.serve();
  }

  /** The app is served (again): what it was kept from comes first. */
  private serve(): void {
    this.phase = 'open';
    if (this.deferred) this.brokerSide.handle(this.deferred);
    this.deferred = undefined;
    this.releaseHeld();
    if (this.appGone) this.wires.giveBackAll();
  }

  private releaseHeld(): void {
    const held = this.held;
    this.held = [];
    for (const piece of held) this.appPiece(piece);
  }

  // ---- the copy

  /** The upstream is left behind (also one that an attach tried in vain). What the app has not been given yet stays in `toApp` and in the socket's queue. */
  detach(): void {
    if (!['mute', 'detached', 'attaching', 'attached'].includes(this.phase))
      throw new Malformed(`detach in phase ${this.phase}`);
    this.phase = 'detached';
    this.brokerSplitter = new Splitter();
    this.brokerSplitter.maxMethod = this.appSplitter.maxMethod;
    this.wires.toBroker = new Outlet();
    this.wires.guarded = true;
    for (const channel of this.wires.channels.values()) channel.carry();
    this.wires.toApp.inject(HEARTBEAT);
  }

  attach(): void {
    this.phase = 'attaching';
    this.wires.toBroker.raw(this.handshake.begin());
  }

  private attachPiece(method: number, piece: Piece): void {
    if (method === 0) return;
    if (method === METHOD.connectionBlocked || method === METHOD.connectionUnblocked) this.brokerSide.handle(piece);
    else if (piece.channel === 0) {
      const answer = this.handshake.answer(method, piece.bytes);
      if (answer !== 'open') for (const frame of answer) this.wires.toBroker.inject(frame);
      else for (const channel of this.wires.channels.values()) attachChannel(this.wires, channel);
    } else {
      const channel = this.wires.channels.get(piece.channel);
      if (!channel?.answer(method)) throw new Error(`the broker refused what channel ${piece.channel} had`);
      if (method === METHOD.channelOpenOk) channel.state = 'open';
    }
    const opening = [...this.wires.channels.values()].some((each) => each.state === 'opening');
    if (!opening && !this.owed() && (piece.channel !== 0 || method === METHOD.connectionOpenOk))
      this.phase = 'attached';
  }

  /** Only after the commit: from here on the copy speaks for the app (invariant 4). */
  live(): void {
    if (this.phase !== 'attached') return;
    this.muteWanted = false;
    if (this.wires.blocked) this.wires.toApp.inject(encode.unblocked());
    this.wires.blocked = false;
    if (!this.wires.closing) for (const channel of this.openChannels()) resumeConsumers(this.wires, channel, true);
    this.serve();
  }

  // ---- the source after its commit

  supersede(): void {
    if (this.phase === 'mute') this.phase = 'superseded';
  }

  /** Settlements of the copy's app, once per tag; `settling` until a barrier has proven them. */
  settle(items: readonly Settlement[]): void {
    settleFrames(this.wires, items);
  }

  get settling(): boolean {
    return this.owed();
  }

  /** Deliveries of this upstream that are not settled. */
  get outstanding(): number {
    let sum = 0;
    for (const channel of this.wires.channels.values()) sum += channel.deliveries.size;
    return sum;
  }

  get carried(): number {
    let sum = 0;
    for (const channel of this.wires.channels.values()) sum += channel.deliveries.carried;
    return sum;
  }

  close(): void {
    if (this.wires.closing) return;
    this.wires.closing = 'app';
    this.wires.control.expected.push({ reply: METHOD.connectionCloseOk, ours: true });
    this.wires.toBroker.inject(encode.connectionClose());
  }

  // ---- events

  /** Every half heartbeat interval: whom we keep silent, we speak for. */
  tick(): void {
    const { phase, handshake, wires } = this;
    if (!handshake.done) return;
    if (['muting', 'mute', 'superseded', 'attached'].includes(phase)) wires.toBroker.inject(HEARTBEAT);
    if (['detached', 'attaching', 'attached'].includes(phase)) wires.toApp.inject(HEARTBEAT);
  }

  /** The app's socket is gone. A source that is mute keeps its upstream: its copy may need it. */
  appClosed(): void {
    this.appGone = true;
    if (this.phase === 'open' || this.phase === 'muting') this.wires.giveBackAll();
  }

  /** The upstream socket is gone; true if the app must be told now. */
  upstreamClosed(): boolean {
    switch (this.phase) {
      case 'mute':
      case 'attached':
        this.lose('the upstream connection is lost');
        return false;
      case 'superseded': {
        const { outstanding } = this;
        if (outstanding > 0 || !this.wires.closing)
          this.lose(`the upstream connection is lost; the broker hands out ${outstanding} deliveries again`);
        for (const channel of this.wires.channels.values()) channel.dismantle();
        this.wires.control.expected = [];
        return false;
      }
      case 'detached':
      case 'attaching':
        return false;
      default:
        if (!this.wires.closing) this.wires.giveBackAll();
        this.wires.closing ??= 'broker';
        return true;
    }
  }

  report(): ConnectionReport {
    return connectionReport(this.id, this.broker, this.handshake.vhost, this.wires);
  }

  hazards(): string[] {
    return hazardsOf(this.id, this.phase === 'blind', this.wires);
  }
}
