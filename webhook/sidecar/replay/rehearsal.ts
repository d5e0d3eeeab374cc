/** A copy's session while the record is played: the broker's side as the player says, the app's side a twin's. Pure. */
import type { AppSide } from '../app-side.ts';
import type { BrokerSide } from '../broker-side.ts';
import type { Channel } from '../channel.ts';
import { Outlet, type Piece, Splitter } from '../frames.ts';
import { encode } from '../methods.ts';
import type { Wires } from '../wires.ts';
import type { Settling } from './expectations.ts';
import type { Played } from './gates.ts';
import type { Made } from './publishes.ts';
import { Twin } from './twin.ts';

export class Rehearsal implements Played {
  readonly twin: Twin;
  /** The app does not read what it is given; its edge knows. */
  clogged = false;
  private readonly wires: Wires;
  private readonly brokerSide: BrokerSide;
  private readonly splitter = new Splitter();

  constructor(wires: Wires, appSide: AppSide, brokerSide: BrokerSide, maxMethod: number) {
    this.wires = wires;
    this.brokerSide = brokerSide;
    this.splitter.maxMethod = maxMethod;
    // What goes upstream, and what is recorded, is the source's.
    wires.toBroker = new Outlet();
    wires.tap = undefined;
    wires.valve = undefined;
    this.twin = new Twin(wires, appSide);
    wires.told = false;
  }

  get id(): number {
    return this.wires.connection;
  }

  channel(id: number): Channel | undefined {
    return this.wires.channels.get(id);
  }

  play(bytes: Buffer, withheld: boolean): void {
    this.wires.told = withheld;
    this.splitter.split(bytes, (piece) => this.brokerSide.handle(piece));
    this.wires.told = false;
    // What the session would say to the broker of itself, the source has said.
    this.wires.toBroker.take();
  }

  show(channel: number, tag: number): void {
    const found = this.wires.channels.get(channel);
    if (found) this.wires.show(found, tag);
  }

  kept(channel: number, tag: number): { consumer: string; bytes: () => Buffer } | undefined {
    const kept = this.wires.channels.get(channel)?.withheld.find((each) => each.tag === tag);
    if (!kept) return undefined;
    return { consumer: kept.consumer.upstreamTag, bytes: () => Buffer.concat(kept.pieces.map(({ bytes }) => bytes)) };
  }

  hasRoom(channel: number, upstreamTag: string | undefined): boolean {
    const found = this.wires.channels.get(channel);
    const consumer = upstreamTag === undefined ? undefined : found?.consumerOf(upstreamTag);
    return !found || !consumer || found.admits(consumer);
  }

  confirm(channel: Channel, seq: number, ack: boolean): void {
    if (this.wires.channels.get(channel.id) !== channel) return;
    if (channel.unconfirmed.delete(seq)) this.wires.toApp.inject(encode.outcome(channel.id, ack, seq));
  }

  drain(channel: number): void {
    this.twin.drain(channel);
  }

  get unitsWaiting(): number {
    return this.twin.waiting;
  }

  // ---- the copy speaks for itself

  /** Numbers begin anew on another upstream, which the wires lead to; what the app has settled alone is the source's to settle. */
  carry(publishes: readonly Made[], settlements: readonly Settling[]): void {
    const { wires } = this;
    for (const channel of wires.channels.values())
      channel.carry(publishes.filter((made) => made.channel === channel && made.seq > 0).map(({ seq }) => seq));
    for (const { channel, tag, how, requeue } of settlements)
      wires.settlements.push({ connection: this.id, channel, tag, kind: how, requeue });
    wires.told = undefined;
    wires.guarded = true;
    wires.unblock();
  }

  /** What waited, as the app sent it: publishes whose place in the books is taken go out as they are, the rest as any input. */
  goAhead(publishes: readonly Made[], input: (piece: Piece) => void): void {
    const { toBroker } = this.wires;
    const waiting = publishes.map(({ frames, order }) => ({
      order,
      act: () => toBroker.inject(Buffer.concat(frames)),
    }));
    const rest = this.twin.rest().map(({ piece, order }) => ({ order, act: () => input(piece) }));
    for (const { act } of [...waiting, ...rest].sort((one, other) => one.order - other.order)) act();
  }
}
