/** Frames from the app to the broker: what they change in the session, and how they go on. */
import { Channel, type Consumer, type Expected } from './channel.ts';
import { FRAME, type Piece } from './frames.ts';
import {
  ARGUMENTS,
  Arguments,
  encode,
  hasNoWait,
  METHOD,
  REQUESTS,
  readSettle,
  readTag,
  writeShortString,
  writeTag,
} from './methods.ts';
import { valueIn } from './tables.ts';
import { progress, type QueueType, type Wires } from './wires.ts';

/** A queue that expires sooner may be gone before the copy consumes from it. */
const LONGEST_PAUSE_MS = 60_000;

const TAG_BYTES = 8;
/** Payload of a basic.ack: class and method, tag, bits. */
const ACK_BYTES = 4 + TAG_BYTES + 1;

/** Of queue.declare. */
const DURABLE = 2;
const EXCLUSIVE = 4;
const AUTO_DELETE = 8;

/**
 * undefined: it is that of the virtual host (default_queue_type), which AMQP tells nobody. Only what every type can be gets that
 * one, so a queue that is not durable, or exclusive, or deleted by itself is classic.
 */
const typeOf = (given: string | number | undefined, flags: number): QueueType | undefined => {
  if (given === 'quorum' || given === 'stream') return given;
  const lasting = (flags & DURABLE) !== 0 && (flags & (EXCLUSIVE | AUTO_DELETE)) === 0;
  return given === undefined && lasting ? undefined : 'classic';
};

export class AppSide {
  private readonly wires: Wires;
  constructor(wires: Wires) {
    this.wires = wires;
  }

  handle(piece: Piece): void {
    if (piece.type === FRAME.method) this.method(piece);
    else if (piece.type === FRAME.heartbeat) this.wires.toBroker.forward(piece);
    else this.content(piece);
  }

  private content(piece: Piece): void {
    const channel = this.wires.channels.get(piece.channel);
    if (channel?.state === 'orphan') return;
    if (channel?.up?.lost) {
      if (progress(channel.up, piece)) this.endLost(channel);
      return;
    }
    // The end of a frame whose beginning went to an upstream that is lost.
    if (!piece.first && this.wires.toBroker.atBoundary) return;
    this.wires.toBroker.forward(piece);
    if (!channel?.up) return;
    this.wires.tap?.content(channel, piece);
    if (progress(channel.up, piece)) this.wires.endUp(channel);
  }

  /** The app has said all of a publish that no broker has whole: it may say it again (invariant 1). */
  private endLost(channel: Channel): void {
    this.wires.endUp(channel);
    if (channel.unconfirmed.delete(channel.published))
      this.wires.toApp.inject(encode.outcome(channel.id, false, channel.published));
  }

  private method(piece: Piece): void {
    const { method } = piece;
    if (piece.channel === 0) {
      this.connectionMethod(method, piece);
      return;
    }
    if (method === METHOD.channelOpen) this.wires.channels.set(piece.channel, new Channel(piece.channel));
    const channel = this.wires.channels.get(piece.channel);
    if (channel?.state === 'orphan') this.orphan(channel, method);
    else if (!channel || channel.state === 'refused') this.unheard(channel, method, piece);
    else this.channelMethod(channel, method, piece);
  }

  private connectionMethod(method: number, piece: Piece): void {
    this.wires.tap?.request(0, piece.bytes);
    const request = REQUESTS.get(method);
    if (request) this.wires.control.expected.push({ reply: request.reply, ours: false });
    if (method === METHOD.connectionUpdateSecret) this.wires.renewedSecret = true;
    if (method === METHOD.connectionClose) {
      this.wires.closing ??= 'app';
      this.wires.giveBackAll();
    }
    this.wires.toBroker.forward(piece);
  }

  /** The broker that closed this channel was another one: this broker must not hear of it. */
  private orphan(channel: Channel, method: number): void {
    if (method === METHOD.channelCloseOk) this.wires.channels.delete(channel.id);
  }

  /** The broker ignores all on a channel it closed but the app's close-ok; one that was never opened is its to refuse. */
  private unheard(channel: Channel | undefined, method: number, piece: Piece): void {
    if (channel && method === METHOD.channelCloseOk) {
      this.wires.channels.delete(channel.id);
      this.wires.tap?.request(channel.id, piece.bytes);
    }
    this.wires.toBroker.forward(piece);
  }

  private channelMethod(channel: Channel, method: number, piece: Piece): void {
    switch (method) {
      case METHOD.basicAck:
        if (!this.ackOne(channel, piece)) this.settle(channel, method, piece);
        return;
      case METHOD.basicNack:
      case METHOD.basicReject:
        this.settle(channel, method, piece);
        return;
      case METHOD.basicPublish:
        this.publish(channel, piece);
        this.wires.toBroker.forward(piece);
        return;
    }
    // What follows a close is nobody's any more.
    if (channel.state !== 'closing') this.wires.tap?.request(channel.id, piece.bytes);
    switch (method) {
      case METHOD.basicRecover:
      case METHOD.basicRecoverAsync:
        this.wires.recover(channel);
        break;
      case METHOD.channelClose:
        this.wires.giveBack(channel, channel.dismantle());
        channel.state = 'closing';
        break;
    }
    const request = REQUESTS.get(method);
    if (request) this.request(channel, method, request.reply, hasNoWait(request, piece.bytes), piece.bytes);
    this.wires.toBroker.forward(piece);
  }

  private publish(channel: Channel, piece: Piece): void {
    this.wires.published += 1;
    channel.up = { left: undefined };
    if (channel.confirm) {
      channel.published += 1;
      channel.unconfirmed.add(channel.published, true);
    } else if (channel.state !== 'closing') channel.unproven = true;
    if (channel.state !== 'closing')
      this.wires.tap?.publish(channel, piece.bytes, channel.confirm ? channel.published : 0);
  }

  /** What `settle` comes to for the ack that most messages have: of one delivery, unrecorded. False: it is another, and nothing was done. */
  private ackOne(channel: Channel, piece: Piece): boolean {
    const { chunk, start, size } = piece;
    const at = start + ARGUMENTS;
    if (this.wires.tap || size !== ACK_BYTES || (chunk[at + TAG_BYTES]! & 1) !== 0) return false;
    const tag = readTag(chunk, at);
    const upstream = channel.deliveries.settleOwn(tag);
    if (upstream === 0) return false;
    if (upstream !== tag) writeTag(chunk, at, upstream);
    this.wires.toBroker.forward(piece);
    this.wires.release(channel);
    return true;
  }

  /** Carried tags leave as settlements; the rest goes upstream in the broker's numbering (invariants 1 and 2). */
  private settle(channel: Channel, method: number, piece: Piece): void {
    const settlement = readSettle(method, piece.bytes);
    const { kind, tag, multiple, requeue } = settlement;
    channel.settlesMany ||= multiple;
    const { tags, carried, upstream } = channel.deliveries.settle(tag, multiple);
    this.wires.settled(channel, carried, kind, requeue);
    if (tags.length > 0 || (tag === 0 && multiple)) this.wires.tap?.settled(channel, tags, settlement, tag === 0);
    // Of what it does not hold: the broker answers by closing the channel.
    else if (upstream.length > 0 && channel.state !== 'closing') this.wires.tap?.request(channel.id, piece.bytes);
    const only = upstream.length === 1 ? upstream[0] : undefined;
    if (only && only.multiple === multiple) {
      if (only.tag !== tag) writeTag(piece.bytes, ARGUMENTS, only.tag);
      this.wires.toBroker.forward(piece);
    } else {
      for (const each of upstream)
        this.wires.toBroker.inject(encode.settle(channel.id, kind, each.tag, each.multiple, requeue));
    }
    this.wires.release(channel);
  }

  /** What a request changes now, and what its reply will. */
  private request(channel: Channel, method: number, reply: number, noWait: boolean, bytes: Buffer): void {
    const args = new Arguments(bytes);
    let expected: Expected = { reply, ours: false };
    switch (method) {
      case METHOD.basicQos: {
        args.long();
        const prefetch = args.short();
        if ((args.octet() & 1) !== 0) channel.globalPrefetch = prefetch;
        else channel.prefetch = prefetch;
        break;
      }
      case METHOD.basicConsume: {
        const consumer = readConsume(channel, args);
        expected = { ...expected, tag: consumer.tag, consumer };
        if (noWait) channel.consumers.set(consumer.tag, consumer);
        break;
      }
      case METHOD.basicCancel: {
        const tag = args.shortString();
        const consumer = channel.consumers.get(tag);
        const upstreamTag = consumer?.upstreamTag ?? tag;
        // One that waits to be made again must not be: the broker answers for a consumer it has never heard of, too.
        if (consumer) consumer.suspended = false;
        writeShortString(bytes, ARGUMENTS, upstreamTag);
        expected = { ...expected, tag: upstreamTag };
        if (noWait) this.wires.endConsumer(channel, tag);
        break;
      }
      case METHOD.basicGet:
        args.short();
        args.shortString();
        expected = { ...expected, noAck: (args.octet() & 1) !== 0 };
        break;
      case METHOD.queueDeclare:
        expected = { ...expected, ...this.declared(channel, args, noWait) };
        break;
      case METHOD.queueDelete:
        this.deleted(args);
        break;
      case METHOD.exchangeDeclare:
        expected = { ...expected, ...this.exchangeDeclared(args, noWait) };
        break;
      case METHOD.exchangeDelete:
        args.short();
        this.wires.declared.exchanges.delete(args.shortString());
        break;
      case METHOD.confirmSelect:
        channel.confirm = true;
        break;
      case METHOD.txSelect:
        channel.transactional = true;
        break;
    }
    if (!noWait) channel.expected.push({ ...expected, request: Buffer.from(bytes) });
  }

  private declared(channel: Channel, args: Arguments, noWait: boolean): { traits?: readonly string[] } {
    args.short();
    const name = args.shortString();
    const flags = args.octet();
    const passive = (flags & 1) !== 0;
    if (noWait && name !== '') channel.lastQueue = name;
    if (passive) return {};
    const table = args.table();
    const type = typeOf(valueIn(table, 'x-queue-type'), flags);
    if (type !== undefined) this.wires.queueTypes.set(name, type);
    const traits: string[] = [];
    if (name === '') traits.push('server-named');
    if ((flags & EXCLUSIVE) !== 0) traits.push('exclusive');
    if ((flags & AUTO_DELETE) !== 0) traits.push('auto-delete');
    if (table.includes('x-single-active-consumer')) traits.push('single active consumer');
    const expires = valueIn(table, 'x-expires');
    if (typeof expires === 'number' && expires < LONGEST_PAUSE_MS)
      traits.push(`gone after ${expires} ms without consumers`);
    if (noWait && name !== '') this.wires.declared.addQueue(name);
    if (noWait && traits.length > 0) this.wires.queues.set(name, traits);
    return { traits };
  }

  private deleted(args: Arguments): void {
    args.short();
    const name = args.shortString();
    this.wires.queues.delete(name);
    this.wires.declared.queues.delete(name);
  }

  private exchangeDeclared(args: Arguments, noWait: boolean): { exchange?: string } {
    args.short();
    const exchange = args.shortString();
    args.shortString();
    const passive = (args.octet() & 1) !== 0;
    if (passive) return {};
    if (noWait) this.wires.declared.addExchange(exchange);
    return { exchange };
  }
}

const readConsume = (channel: Channel, args: Arguments): Consumer => {
  args.short();
  const queue = args.shortString();
  const tag = args.shortString();
  const flags = args.octet();
  return {
    tag,
    upstreamTag: tag,
    queue: queue === '' ? channel.lastQueue : queue,
    noLocal: (flags & 1) !== 0,
    noAck: (flags & 2) !== 0,
    exclusive: (flags & 4) !== 0,
    arguments: args.table(),
    prefetch: channel.prefetch,
    held: 0,
    withheld: 0,
    suspended: false,
  };
};
