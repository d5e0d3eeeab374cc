/**
 * A session whose upstream is lost while its app is served: what of it can't be made good, what waits, and how it goes on with
 * another upstream. Nothing is said twice to a broker (invariant 2): publishes without an outcome are refused to the app, which
 * may say them again; requests without a reply are repeated, being such that have the same effect once or twice. Pure.
 */
import type { Channel, Consumer, Expected } from './channel.ts';
import { qos, request, resumeConsumers } from './consumers.ts';
import { FRAME, type Piece } from './frames.ts';
import { isForeignServerNamed, REPLY_TO } from './hazards.ts';
import { ARGUMENTS, Arguments, encode, METHOD } from './methods.ts';
import type { Names } from './topology.ts';
import type { Wires } from './wires.ts';

/** Of the app's bytes, what describes them included; the rest waits in its socket. A pod may have thousands of connections. */
export const HELD_BYTES = 1 << 16;
const PIECE_BYTES = 100;
/** connection.close: an operator or a shutdown wants the connection gone, and nobody has made a mistake. */
const CONNECTION_FORCED = 320;

/** They end with the connection, and what was in them. */
const PASSING: readonly string[] = ['exclusive', 'server-named', 'auto-delete'];

const consumerTies = ({ queue, exclusive, arguments: table }: Consumer, wires: Wires): boolean =>
  queue.startsWith(REPLY_TO) ||
  // The broker refuses it as long as it has not missed the old one, and many clients never ask again.
  exclusive ||
  // Where it would go on is not known.
  table.includes('x-stream-offset') ||
  isForeignServerNamed(queue, wires.queues) ||
  (wires.queues.get(queue) ?? []).some((trait) => PASSING.includes(trait));

/** Those that it has, and those it has asked for. */
const consumersOf = ({ consumers, expected }: Channel): Consumer[] => [
  ...consumers.values(),
  ...expected.flatMap(({ consumer }) => consumer ?? []),
];

const channelTies = (channel: Channel, wires: Wires): string | undefined => {
  if (channel.down && !channel.filling) return 'a message is half delivered';
  if (channel.transactional) return 'it uses transactions';
  // The answer would say that all it has published there has arrived.
  if (channel.state === 'closing' && channel.unproven)
    return 'it is closing a channel that it published on without confirms';
  for (const consumer of consumersOf(channel))
    if (consumerTies(consumer, wires)) return `its consumer of queue ${consumer.queue} can't be made again`;
  if (channel.expected.some(({ traits }) => traits?.some((trait) => PASSING.includes(trait))))
    return 'it is declaring a queue that ends with the connection';
  return undefined;
};

/** Why the app must learn of a loss now, in words for people; undefined: it need not. */
export const unhideable = (wires: Wires): string | undefined => {
  if (wires.closing) return 'it was closing';
  if (wires.renewedSecret) return 'it renewed its secret';
  if (wires.declared.vague) return 'it has declared more queues or exchanges than are remembered';
  for (const traits of wires.queues.values()) if (traits.includes('exclusive')) return 'it has an exclusive queue';
  if (!wires.toApp.atBoundary) return 'a message is half delivered';
  for (const channel of wires.channels.values()) {
    const why = channelTies(channel, wires);
    if (why) return why;
  }
  return undefined;
};

/** What another upstream must have, by name. */
export const needs = (wires: Wires): Names => {
  const queues = new Set(wires.declared.queues);
  // One that is asked for with the consumer itself may not be there yet.
  for (const { consumers } of wires.channels.values()) for (const { queue } of consumers.values()) queues.add(queue);
  queues.delete('');
  return { queues, exchanges: wires.declared.exchanges };
};

/** The broker wants to be rid of this connection, whatever it did. */
export const isForced = (piece: Piece): boolean =>
  piece.type === FRAME.method &&
  piece.method === METHOD.connectionClose &&
  new Arguments(piece.bytes).short() === CONNECTION_FORCED;

export class Severed {
  private readonly wires: Wires;
  private readonly pending = new Map<Channel, readonly Expected[]>();
  private held: Piece[] = [];
  private heldBytes = 0;
  /** The app has published without confirms, then or since. */
  unproven = false;

  /** Its upstream owes nothing any more. Only where nothing of it is `unhideable`. */
  constructor(wires: Wires) {
    this.wires = wires;
    for (const channel of [...wires.channels.values()]) {
      this.unproven ||= channel.unproven;
      if (channel.state !== 'closing') this.pending.set(channel, channel.sever());
      else {
        wires.channels.delete(channel.id);
        wires.toApp.inject(encode.channelCloseOk(channel.id));
      }
    }
  }

  get full(): boolean {
    return this.heldBytes >= HELD_BYTES;
  }

  /** Something the app says meanwhile. True: it wants to be gone. */
  hold(piece: Piece): boolean {
    if (piece.type === FRAME.heartbeat) return false;
    // Copied: it may wait for long.
    this.held.push(piece.kept());
    this.heldBytes += piece.length + PIECE_BYTES;
    if (piece.type !== FRAME.method) return false;
    const { method } = piece;
    if (method === METHOD.basicPublish) this.unproven ||= this.wires.channels.get(piece.channel)?.confirm !== true;
    return piece.channel === 0 && method === METHOD.connectionClose;
  }

  /**
   * The upstream that the wires lead to now has the open channels, as they were. What the broker refuses of the consumers and
   * requests it says on their channel, as ever. Returns what the app has said meanwhile.
   */
  restore(): Piece[] {
    const { wires } = this;
    wires.guarded = true;
    wires.unblock();
    for (const [channel, pending] of this.pending) {
      this.refuse(channel);
      const { state } = channel;
      if (state === 'open') resumeConsumers(wires, channel, true);
      this.repeat(channel, pending);
      if (state === 'opening') this.complete(channel, pending);
    }
    return this.held;
  }

  /** One that was opening, which the first of its requests has opened: what it was asked for without a reply. */
  private complete(channel: Channel, pending: readonly Expected[]): void {
    if (channel.confirm && !pending.some(({ reply }) => reply === METHOD.confirmSelectOk))
      request(this.wires, channel, encode.confirmSelect(channel.id), METHOD.confirmSelectOk);
    resumeConsumers(this.wires, channel, true);
  }

  /** Publishes whose outcome nobody will tell, one by one: a multiple might take more than them. */
  private refuse(channel: Channel): void {
    for (const seq of channel.doomed()) {
      channel.unconfirmed.delete(seq);
      this.wires.toApp.inject(encode.outcome(channel.id, false, seq));
    }
  }

  /** Each consumer with the qos it was asked for with, as in `resumeConsumers`. */
  private repeat(channel: Channel, pending: readonly Expected[]): void {
    let inForce = channel.prefetch;
    for (const each of pending) {
      const { request, reply, consumer } = each;
      if (!request) continue;
      if (consumer && consumer.prefetch !== inForce) {
        inForce = consumer.prefetch;
        qos(this.wires, channel, inForce, false);
      }
      if (reply === METHOD.basicQosOk && (request[ARGUMENTS + 6]! & 1) === 0)
        inForce = request.readUInt16BE(ARGUMENTS + 4);
      this.wires.injectUp(channel, request);
      channel.expected.push(each);
    }
    if (inForce !== channel.prefetch) qos(this.wires, channel, channel.prefetch, false);
  }
}
