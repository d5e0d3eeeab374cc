/**
 * One more upstream connection for a session: the app's handshake repeated, its channels opened, confirm mode and qos as
 * they were; no consumer. The session is not touched: it takes the connection when all is done. Pure.
 */
import type { Channel } from './channel.ts';
import { FRAME, Outlet, type Piece, Splitter } from './frames.ts';
import type { Handshake } from './handshake.ts';
import { encode, METHOD, methodOf } from './methods.ts';

export class Attachment {
  readonly splitter = new Splitter();
  readonly toBroker = new Outlet();
  done = false;
  private readonly handshake: Handshake;
  private readonly channels: readonly Channel[];
  private opened = false;
  /** Replies to come, by channel, in order. */
  private readonly owed = new Map<number, number[]>();

  constructor(handshake: Handshake, channels: readonly Channel[], maxMethod: number) {
    this.handshake = handshake;
    this.channels = channels;
    this.splitter.maxMethod = maxMethod;
    this.toBroker.raw(handshake.begin());
  }

  /** Throws what is wrong, in words for people. */
  fromBroker(chunk: Buffer): void {
    for (const piece of this.splitter.push(chunk)) if (piece.type === FRAME.method) this.method(piece);
  }

  private method(piece: Piece): void {
    const method = methodOf(piece.bytes);
    // It has not published yet, so being blocked says nothing new.
    if (method === METHOD.connectionBlocked || method === METHOD.connectionUnblocked) return;
    if (piece.channel !== 0) this.reply(piece.channel, method);
    else {
      const answer = this.handshake.answer(method, piece.bytes);
      if (answer === 'open') this.open();
      else for (const frame of answer) this.toBroker.inject(frame);
    }
    this.done = this.opened && this.owed.size === 0;
  }

  private open(): void {
    this.opened = true;
    for (const channel of this.channels) {
      const { id } = channel;
      this.request(id, encode.channelOpen(id), METHOD.channelOpenOk);
      if (channel.confirm) this.request(id, encode.confirmSelect(id), METHOD.confirmSelectOk);
      if (channel.prefetch !== 0) this.request(id, encode.qos(id, channel.prefetch, false), METHOD.basicQosOk);
      if (channel.globalPrefetch !== 0)
        this.request(id, encode.qos(id, channel.globalPrefetch, true), METHOD.basicQosOk);
    }
  }

  private request(id: number, frame: Buffer, reply: number): void {
    this.toBroker.inject(frame);
    this.owed.set(id, [...(this.owed.get(id) ?? []), reply]);
  }

  private reply(id: number, method: number): void {
    const owed = this.owed.get(id);
    if (owed?.shift() !== method) throw new Error(`the broker refused what channel ${id} had`);
    if (owed.length === 0) this.owed.delete(id);
  }
}
