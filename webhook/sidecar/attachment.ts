/**
 * One more upstream connection for a session: the app's handshake repeated, its channels opened, confirm mode and qos as
 * they were; no consumer. The session is not touched: it takes the connection when all is done. Pure.
 *
 * `needed`: first of all it asks whether the broker has these queues and exchanges, on a channel of its own, which is gone
 * before the app's are opened: a declare changes which queue an empty name means, and a refusal closes the channel.
 */
import type { Channel } from './channel.ts';
import { FRAME, Outlet, type Piece, Splitter } from './frames.ts';
import type { Handshake } from './handshake.ts';
import { Arguments, encode, METHOD, methodOf } from './methods.ts';
import type { Names } from './topology.ts';

/** The broker knows of no such queue or exchange: waiting will not bring it back. */
export class Gone extends Error {}

const PROBE = 1;
const isGone = (text: string): boolean => /^404 NOT_FOUND - no (queue|exchange)/.test(text);

export class Attachment {
  readonly splitter = new Splitter();
  readonly toBroker = new Outlet();
  done = false;
  private readonly handshake: Handshake;
  private readonly channels: readonly Channel[];
  private readonly needed: Names | undefined;
  private opened = false;
  private asking = false;
  /** What is still to be done once it is open; each when all that was asked before is answered. */
  private readonly steps = [() => this.ask(), () => this.setUp()];
  /** Replies to come, by channel, in order. */
  private readonly owed = new Map<number, number[]>();

  constructor(handshake: Handshake, channels: readonly Channel[], maxMethod: number, needed?: Names) {
    this.handshake = handshake;
    this.needed = needed;
    this.channels = channels;
    this.splitter.maxMethod = maxMethod;
    this.toBroker.raw(handshake.begin());
  }

  /** About how many requests it takes. */
  get size(): number {
    return this.channels.length + (this.needed?.queues.size ?? 0) + (this.needed?.exchanges.size ?? 0);
  }

  /** Throws what is wrong, in words for people. */
  fromBroker(chunk: Buffer): void {
    this.splitter.split(chunk, (piece) => {
      if (piece.type === FRAME.method) this.method(piece);
    });
  }

  private method(piece: Piece): void {
    const method = methodOf(piece.bytes);
    // It has not published yet, so being blocked says nothing new.
    if (method === METHOD.connectionBlocked || method === METHOD.connectionUnblocked) return;
    if (piece.channel !== 0) this.reply(piece.channel, method, piece.bytes);
    else {
      const answer = this.handshake.answer(method, piece.bytes);
      if (answer === 'open') this.opened = true;
      else for (const frame of answer) this.toBroker.inject(frame);
    }
    while (this.opened && this.owed.size === 0 && !this.done) {
      const next = this.steps.shift();
      if (next) next();
      else this.done = true;
    }
  }

  private ask(): void {
    if (!this.needed || this.needed.queues.size + this.needed.exchanges.size === 0) return;
    this.asking = true;
    this.request(PROBE, encode.channelOpen(PROBE), METHOD.channelOpenOk);
    for (const queue of this.needed.queues)
      this.request(PROBE, encode.declarePassive(PROBE, queue), METHOD.queueDeclareOk);
    for (const exchange of this.needed.exchanges)
      this.request(PROBE, encode.exchangePassive(PROBE, exchange), METHOD.exchangeDeclareOk);
    this.request(PROBE, encode.channelClose(PROBE), METHOD.channelCloseOk);
  }

  private setUp(): void {
    this.asking = false;
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
    const owed = this.owed.get(id);
    if (owed) owed.push(reply);
    else this.owed.set(id, [reply]);
  }

  private reply(id: number, method: number, bytes: Buffer): void {
    const owed = this.owed.get(id);
    if (this.asking && method === METHOD.channelClose) {
      const args = new Arguments(bytes);
      const text = `${args.short()} ${args.shortString()}`;
      // As opposed to one whose node is down.
      throw isGone(text) ? new Gone(text) : new Error(text);
    }
    if (owed?.shift() !== method) throw new Error(`the broker refused what channel ${id} had`);
    if (owed.length === 0) this.owed.delete(id);
  }
}
