/**
 * What a session shows of itself while a record is made of it, or played to it: the app's outputs and the broker's inputs as
 * they take effect. Without a tap a session spends nothing on it.
 */
import type { Channel } from './channel.ts';
import type { Piece } from './frames.ts';
import type { Settle } from './methods.ts';

export interface Tap {
  /** A publish of the app begins: the whole method frame. `seq`: its number in confirm mode, else 0. */
  publish(channel: Channel, method: Buffer, seq: number): void;
  /** One more piece of its content. */
  content(channel: Channel, piece: Piece): void;
  /** Tags that one settlement of the app settled, the app's numbering. `all`: it named none, but all there is. */
  settled(channel: Channel, tags: readonly number[], settlement: Settle, all: boolean): void;
  /** Any other method of the app that has an effect or a reply, as the app sent it. */
  request(channel: number, method: Buffer): void;
  /** One piece from the broker, before anything in it is changed. */
  fromBroker(piece: Piece, channel: Channel | undefined): void;
  /** Publishes that the broker confirmed or refused, the app's numbering. */
  outcome(channel: Channel, seqs: readonly number[], ack: boolean): void;
  /** A delivery that was withheld is handed to the app. */
  shown(channel: Channel, tag: number): void;
}

/** Lets withheld deliveries through to the app by credit. One for all sessions of a pod. */
export class Valve {
  credit = Number.POSITIVE_INFINITY;
  take(): boolean {
    if (this.credit < 1) return false;
    this.credit -= 1;
    return true;
  }
}
