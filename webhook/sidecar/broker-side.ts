/** Frames from the broker to the app: what they change in the session, and how they go on. */
import { type Channel, type Consumer, TAGGED, type Withheld } from './channel.ts';
import { FRAME, type Piece } from './frames.ts';
import { ARGUMENTS, Arguments, encode, METHOD, readBrokerTag, writeShortString, writeTag } from './methods.ts';
import { OffsetReader } from './streams.ts';
import { progress, type Wires } from './wires.ts';

export class BrokerSide {
  private readonly wires: Wires;
  constructor(wires: Wires) {
    this.wires = wires;
  }

  handle(piece: Piece): void {
    if (piece.type === FRAME.method) this.method(piece);
    else if (piece.type === FRAME.heartbeat) this.wires.toApp.forward(piece);
    else this.content(piece);
  }

  private content(piece: Piece): void {
    const channel = this.wires.channels.get(piece.channel);
    if (channel?.offsets?.read(piece)) channel.offsets = undefined;
    if (channel?.filling) keep(channel, channel.filling, piece);
    else this.wires.toApp.forward(piece);
    if (!channel?.down || !progress(channel.down, piece)) return;
    if (channel.filling) channel.filling.whole = true;
    channel.filling = undefined;
    channel.down = undefined;
    this.wires.release(channel);
  }

  private method(piece: Piece): void {
    const { method } = piece;
    const channel = this.wires.channels.get(piece.channel);
    if (piece.channel === 0) this.connectionMethod(method, piece);
    else if (!channel) this.wires.toApp.forward(piece);
    else this.channelMethod(channel, method, piece);
  }

  private connectionMethod(method: number, piece: Piece): void {
    if (method === METHOD.connectionClose) {
      this.wires.closing = 'broker';
      this.wires.giveBackAll();
    }
    if (method === METHOD.connectionBlocked) this.wires.blocked = true;
    if (method === METHOD.connectionUnblocked) this.wires.blocked = false;
    this.wires.control.answer(method);
    this.wires.toApp.forward(piece);
  }

  private channelMethod(channel: Channel, method: number, piece: Piece): void {
    switch (method) {
      case METHOD.basicDeliver:
        this.deliver(channel, piece);
        return;
      case METHOD.basicAck:
      case METHOD.basicNack:
        this.confirm(channel, method === METHOD.basicAck, piece);
        return;
      case METHOD.basicReturn:
        channel.down = { left: undefined };
        break;
      case METHOD.basicCancel:
        this.endConsumer(channel, new Arguments(piece.bytes).shortString(), piece);
        break;
      case METHOD.channelClose:
        this.wires.giveBack(channel, channel.dismantle());
        channel.filling = undefined;
        channel.down = undefined;
        channel.state = 'refused';
        break;
      default:
        if (this.reply(channel, method, piece)) return;
    }
    this.wires.toApp.forward(piece);
  }

  /** True: it answered a request of our own and goes no further. */
  private reply(channel: Channel, method: number, piece: Piece): boolean {
    const tagged = TAGGED.includes(method);
    const name = tagged || method === METHOD.queueDeclareOk ? new Arguments(piece.bytes).shortString() : undefined;
    const expected = channel.answer(method, tagged ? name : undefined);
    if (expected?.ours) return true;
    switch (method) {
      case METHOD.channelOpenOk:
        channel.state = 'open';
        break;
      case METHOD.channelCloseOk:
        if (expected) this.wires.channels.delete(channel.id);
        break;
      case METHOD.basicConsumeOk:
        if (expected?.consumer && name !== undefined) channel.consumers.set(name, named(expected.consumer, name));
        break;
      case METHOD.basicCancelOk:
        if (name !== undefined) this.endConsumer(channel, name, piece);
        break;
      case METHOD.queueDeclareOk:
        if (name !== undefined) this.declared(channel, name, expected?.traits);
        break;
      case METHOD.exchangeDeclareOk:
        if (expected?.exchange !== undefined) this.wires.declared.addExchange(expected.exchange);
        break;
      case METHOD.basicRecoverOk:
        // What arrived since the request had been taken back with the rest.
        this.wires.recover(channel);
        break;
      case METHOD.basicGetOk:
        this.got(channel, expected?.noAck ?? false, piece);
        break;
    }
    return false;
  }

  private declared(channel: Channel, name: string, traits: readonly string[] | undefined): void {
    channel.lastQueue = name;
    if (!traits) return;
    this.wires.declared.addQueue(name);
    if (traits.length > 0) this.wires.queues.set(name, traits);
  }

  /** The app knows it by its own tag. */
  private endConsumer(channel: Channel, upstreamTag: string, piece: Piece): void {
    const consumer = channel.consumerOf(upstreamTag);
    if (!consumer) return;
    if (consumer.tag !== upstreamTag) writeShortString(piece.bytes, ARGUMENTS, consumer.tag);
    this.wires.endConsumer(channel, consumer.tag);
  }

  private deliver(channel: Channel, piece: Piece): void {
    this.wires.delivered += 1;
    const { chunk } = piece;
    const name = piece.start + ARGUMENTS;
    const at = name + 1 + chunk[name]!;
    const consumer = channel.consumerOf(channel.tagOf(chunk, name + 1, at));
    if (consumer && consumer.tag !== consumer.upstreamTag) writeShortString(chunk, name, consumer.tag);
    const withheld = consumer !== undefined && this.wires.withholds(channel, consumer);
    // On a channel the app is closing, nothing will be settled any more.
    const noAck = consumer?.noAck === true || channel.state !== 'open';
    const tag = channel.deliveries.deliver(readBrokerTag(chunk, at, piece.end - 1), consumer, { noAck, withheld });
    if (channel.deliveries.offset > 0) writeTag(chunk, at, tag);
    channel.down = { left: undefined };
    channel.offsets = OffsetReader.of(consumer);
    if (!withheld) {
      this.wires.toApp.forward(piece);
      return;
    }
    channel.filling = { consumer, tag, pieces: [], whole: false };
    channel.withheld.push(channel.filling);
    consumer.withheld += 1;
    keep(channel, channel.filling, piece);
  }

  private got(channel: Channel, noAck: boolean, piece: Piece): void {
    this.wires.delivered += 1;
    this.wires.releaseBefore(channel);
    const tag = channel.deliveries.deliver(readBrokerTag(piece.bytes, ARGUMENTS), undefined, {
      noAck,
      withheld: false,
    });
    if (channel.deliveries.offset > 0) writeTag(piece.bytes, ARGUMENTS, tag);
    channel.down = { left: undefined };
  }

  /**
   * Outcome of publishes. A multiple is never widened: those of the table are told one by one, and all others up to its number
   * are confirmed by it or were before.
   */
  private confirm(channel: Channel, ack: boolean, piece: Piece): void {
    const at = piece.start + ARGUMENTS;
    const upstream = readBrokerTag(piece.chunk, at, piece.end - 2);
    const multiple = (piece.chunk[at + 8]! & 1) !== 0;
    const told = channel.confirmedOfTable(upstream, multiple);
    for (const seq of told) this.wires.toApp.inject(encode.outcome(channel.id, ack, seq));
    if (told.length > 0) this.wires.tap?.outcome(channel, told, ack);
    if (upstream <= channel.forwarded) return;
    const tag = upstream + channel.confirmBase;
    const confirmed = channel.confirmed(tag, multiple);
    this.wires.tap?.outcome(channel, confirmed, ack);
    if (channel.confirmBase > 0) writeTag(piece.chunk, at, tag);
    this.wires.toApp.forward(piece);
  }
}

const named = (consumer: Consumer, tag: string): Consumer =>
  consumer.tag === tag ? consumer : { ...consumer, tag, upstreamTag: tag };

/** Copied: a withheld delivery must not keep whole chunks alive. One that was dropped meanwhile is not kept at all. */
const keep = (channel: Channel, withheld: Withheld, piece: Piece): void => {
  if (!channel.withheld.includes(withheld)) return;
  withheld.pieces.push(piece.kept());
  channel.withheldBytes += piece.length;
};
