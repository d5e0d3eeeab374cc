/**
 * One more upstream connection for a session: the app's handshake repeated, its channels opened, confirm mode and qos as
 * they were; no consumer. The session is not touched: it takes the connection when all is done. Pure.
 *
 * `probing`: it is done only when the queues of all consumers can be had. It asks on a channel of its own, because a declare
 * changes which queue an empty name means, and a refusal closes the channel.
 */
import type { Channel } from './channel.ts';
import { FRAME, Outlet, type Piece, Splitter } from './frames.ts';
import type { Handshake } from './handshake.ts';
import { Arguments, encode, METHOD, methodOf } from './methods.ts';

/** The broker knows of no such queue: waiting will not bring it back. */
export class QueueGone extends Error {}

export class Attachment {
  readonly splitter = new Splitter();
  readonly toBroker = new Outlet();
  done = false;
  private readonly handshake: Handshake;
  private readonly channels: readonly Channel[];
  private opened = false;
  /** Replies to come, by channel, in order. */
  private readonly owed = new Map<number, number[]>();

  private readonly probing: boolean;
  private probe = 0;

  constructor(handshake: Handshake, channels: readonly Channel[], maxMethod: number, probing = false) {
    this.handshake = handshake;
    this.probing = probing;
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
    if (piece.channel !== 0) this.reply(piece.channel, method, piece.bytes);
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
    if (this.probing) this.ask();
  }

  private ask(): void {
    const queues = new Set(this.channels.flatMap(({ consumers }) => [...consumers.values()].map(({ queue }) => queue)));
    const taken = new Set(this.channels.map(({ id }) => id));
    let id = this.handshake.tune.channelMax || 0xffff;
    while (taken.has(id)) id -= 1;
    if (queues.size === 0 || id === 0) return;
    this.probe = id;
    this.request(id, encode.channelOpen(id), METHOD.channelOpenOk);
    for (const queue of queues) this.request(id, encode.declarePassive(id, queue), METHOD.queueDeclareOk);
    this.request(id, encode.channelClose(id), METHOD.channelCloseOk);
  }

  private request(id: number, frame: Buffer, reply: number): void {
    this.toBroker.inject(frame);
    this.owed.set(id, [...(this.owed.get(id) ?? []), reply]);
  }

  private reply(id: number, method: number, bytes: Buffer): void {
    const owed = this.owed.get(id);
    if (id === this.probe && method === METHOD.channelClose) {
      const args = new Arguments(bytes);
      const text = `${args.short()} ${args.shortString()}`;
      // As opposed to one whose node is down.
      throw text.startsWith('404 NOT_FOUND - no queue') ? new QueueGone(text) : new Error(text);
    }
    if (owed?.shift() !== method) throw new Error(`the broker refused what channel ${id} had`);
    if (owed.length === 0) this.owed.delete(id);
  }
}
