/** How a session falls silent, stage by stage; each waits until nothing is owed on any channel. */
import type { Channel } from './channel.ts';
import { suspendConsumers } from './consumers.ts';
import type { Piece } from './frames.ts';
import { encode, METHOD } from './methods.ts';
import type { QueueType, Wires } from './wires.ts';

export class Muting {
  /** idle: not begun. */
  private stage: 'idle' | 'replies' | 'cancels' | 'barrier' = 'idle';
  private calm = false;
  /** Deliveries may have been under way inside the broker when the consumers were cancelled. */
  private doubtful = false;
  /** Asked for, of a session that may not be there yet. */
  wanted = false;
  /** The broker's connection.close, kept from the app while mute. */
  deferred: Piece | undefined;
  private readonly wires: Wires;
  constructor(wires: Wires) {
    this.wires = wires;
  }

  begin(): void {
    this.stage = 'replies';
    this.calm = false;
    this.doubtful = false;
  }

  /** The app is served: returns what was deferred. */
  end(): Piece | undefined {
    const { deferred } = this;
    this.stage = 'idle';
    this.deferred = undefined;
    return deferred;
  }

  /** The consumers are, or are being, cancelled. */
  get cancelled(): boolean {
    return this.stage === 'cancels' || this.stage === 'barrier';
  }

  /** A delivery may be stuck to the cancelled consumers of an upstream that would go on. */
  get stuck(): boolean {
    return this.cancelled && this.doubtful && !this.wires.closing && !this.deferred;
  }

  /** True when nothing is owed or under way any more. */
  advance(): boolean {
    if (this.uploading() || this.owed()) return false;
    if (this.stage === 'replies') {
      // Until here nothing is changed: a mute that fails for want of a confirm is undone without a trace.
      if (this.unconfirmed() || this.awaitsQuiet) return false;
      this.stage = 'cancels';
      this.doubtful = !this.sated && this.consumes((type) => type === 'quorum' || type === undefined);
      for (const channel of this.wires.openChannels()) suspendConsumers(this.wires, channel);
      if (this.owed()) return false;
    }
    if (this.stage === 'cancels') {
      // After flow-ok nothing that the broker had for us before the cancels is under way any more.
      this.stage = 'barrier';
      for (const channel of this.wires.openChannels()) {
        this.wires.injectUp(channel, encode.flow(channel.id));
        channel.expected.push({ reply: METHOD.channelFlowOk, ours: true });
      }
      if (this.owed()) return false;
    }
    return !this.some((channel) => channel.down !== undefined);
  }

  /** A content of the app is half sent upstream. */
  uploading(): boolean {
    return !this.wires.toBroker.atBoundary || this.some((channel) => channel.up !== undefined);
  }

  private owed(): boolean {
    return this.wires.control.expected.length > 0 || this.some((channel) => channel.expected.length > 0);
  }

  private unconfirmed(): boolean {
    return this.some((channel) => channel.unconfirmed.size > 0);
  }

  private some(holds: (channel: Channel) => boolean): boolean {
    for (const channel of this.wires.channels.values()) if (holds(channel)) return true;
    return false;
  }

  /**
   * Every consumer holds all that its prefetch allows: nothing can be under way to it, and consuming would bring it nothing.
   * A quorum queue's deliveries that are under way when a consumer is cancelled reach nobody: RabbitMQ's client of the queue
   * (3.10) returns them to the queue's back, or they stay checked out until the channel closes. So with one declared as quorum a
   * mute waits, briefly, until all are sated or all is quiet, which makes it rare; the latter kind is made harmless by closing the
   * channel first. A classic queue sends before cancel-ok what it has, so that waiting would only make the pause longer.
   */
  get sated(): boolean {
    for (const channel of this.wires.openChannels())
      for (const { noAck, prefetch, held, withheld } of channel.consumers.values())
        if (noAck || prefetch === 0 || held + withheld < prefetch) return false;
    return true;
  }

  /** Waiting for `quiet`. */
  get awaitsQuiet(): boolean {
    return this.stage === 'replies' && !this.calm && !this.sated && this.consumes((type) => type === 'quorum');
  }

  private consumes(of: (type: QueueType | undefined) => boolean): boolean {
    for (const channel of this.wires.openChannels())
      for (const { queue } of channel.consumers.values()) if (of(this.wires.queueTypes.get(queue))) return true;
    return false;
  }

  quiet(): void {
    this.calm = true;
  }
}
