/** A copy's session while the record is played: the broker's side as the player says, the app's side a twin's. Pure. */
import type { AppSide } from '../app-side.ts';
import type { BrokerSide } from '../broker-side.ts';
import type { Channel } from '../channel.ts';
import { Splitter } from '../frames.ts';
import { encode } from '../methods.ts';
import type { Wires } from '../wires.ts';
import type { Played } from './gates.ts';
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
    for (const piece of this.splitter.push(bytes)) this.brokerSide.handle(piece);
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
}
