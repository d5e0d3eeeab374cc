/** A broker in memory, as far as the sessions need one: it refuses what a real one would refuse. */
import { FRAME, type Piece, Splitter } from '../../../../webhook/sidecar/frames.ts';
import { Arguments, METHOD, methodOf, PROTOCOL_HEADER, readSettle } from '../../../../webhook/sidecar/methods.ts';
import { Assembly, type Content, content, long, method, octet, short, tag, text } from './frames.ts';

export interface Message extends Content {
  redelivered: boolean;
}
interface ModelConsumer {
  readonly tag: string;
  readonly queue: string;
  readonly prefetch: number;
  readonly noAck: boolean;
}
interface Unacked {
  readonly message: Message;
  readonly queue: string;
  readonly consumer: string;
}
class ModelChannel {
  readonly consumers: ModelConsumer[] = [];
  readonly unacked = new Map<number, Unacked>();
  nextTag = 0;
  prefetch = 0;
  confirm = false;
  published = 0;
  /** Publishes whose outcome is not said. */
  unsaid: number[] = [];
  readonly names: string[] = [];
  upload: Assembly | undefined;
}

/** What became of one publish: where it went. */
export interface Output extends Content {
  readonly key: string;
  readonly returned: boolean;
}

export type Random = () => number;

export class ModelBroker {
  /** Queue or exchange → why it can't be had. */
  readonly absent = new Map<string, string>();
  readonly queues = new Map<string, Message[]>();
  readonly outputs: Output[] = [];
  /** Settled by clients, by body: how often for good. */
  readonly settled = new Map<string, number>();
  /** Outcomes said, by key and body. */
  readonly said = new Map<string, boolean[]>();
  readonly connections = new Set<ModelConnection>();

  queue(name: string): Message[] {
    const queue = this.queues.get(name) ?? [];
    this.queues.set(name, queue);
    return queue;
  }

  publish(key: string, message: Content, mandatory: boolean): boolean {
    const routed = key !== 'nowhere';
    this.outputs.push({ key, ...message, returned: !routed && mandatory });
    // Whoever is called answers.
    if (key === 'rpc') this.queue('replies').push({ ...message, body: `re ${message.body}`, redelivered: false });
    // The app hears what it says itself.
    if (key === 'echo') this.queue('in').push({ ...message, redelivered: false });
    return routed;
  }

  /** One of the things a broker may do of itself; false: nothing to do. */
  step(random: Random): boolean {
    const acts = [...this.connections].flatMap((connection) => connection.acts());
    const act = acts[Math.floor(random() * acts.length)];
    act?.(random);
    return act !== undefined;
  }
}

export class ModelConnection {
  readonly out: Buffer[] = [];
  readonly channels = new Map<number, ModelChannel>();
  closed = false;
  /** Channels it has closed: what still comes on them it ignores. */
  private readonly refused = new Set<number>();
  private readonly broker: ModelBroker;
  private header = 0;
  private readonly splitter = new Splitter();

  constructor(broker: ModelBroker) {
    this.broker = broker;
    broker.connections.add(this);
  }

  receive(bytes: Buffer): void {
    let rest = bytes;
    if (this.header < 8) {
      const taken = bytes.subarray(0, 8 - this.header);
      if (!PROTOCOL_HEADER.subarray(this.header, this.header + taken.length).equals(taken)) throw new Error('no AMQP');
      this.header += taken.length;
      rest = bytes.subarray(taken.length);
      if (this.header === 8) this.say(method(0, METHOD.connectionStart, octet(0), octet(9)));
    }
    for (const piece of this.splitter.push(rest)) this.piece(piece);
  }

  private say(...frames: Buffer[]): void {
    this.out.push(...frames);
  }

  private piece(piece: Piece): void {
    if (piece.type === FRAME.heartbeat) return;
    const channel = this.channels.get(piece.channel);
    if (piece.type !== FRAME.method) {
      if (!channel?.upload) throw new Error(`content on channel ${piece.channel} without a publish`);
      if (channel.upload.add(piece.bytes, piece.first, piece.last)) this.published(piece.channel, channel);
      return;
    }
    if (channel?.upload) throw new Error('a method within a content');
    if (piece.channel === 0) this.control(methodOf(piece.bytes), piece.bytes);
    else this.method(piece.channel, methodOf(piece.bytes), Buffer.from(piece.bytes));
  }

  private control(id: number, bytes: Buffer): void {
    const tune = (): Buffer[] => [short(2047), long(131072), short(60)];
    if (id === METHOD.connectionStartOk) this.say(method(0, METHOD.connectionTune, ...tune()));
    else if (id === METHOD.connectionOpen) this.say(method(0, METHOD.connectionOpenOk, text('')));
    else if (id === METHOD.connectionClose) {
      this.say(method(0, METHOD.connectionCloseOk));
      this.gone();
    } else if (id !== METHOD.connectionTuneOk && bytes.length > 0)
      throw new Error(`control ${id >> 16}.${id & 0xffff}`);
  }

  /** Deliveries not settled, as the broker knows it. */
  get holds(): number {
    let sum = 0;
    for (const { unacked } of this.channels.values()) sum += unacked.size;
    return sum;
  }

  gone(): void {
    this.closed = true;
    this.broker.connections.delete(this);
    for (const channel of this.channels.values()) {
      for (const { queue, message } of [...channel.unacked.values()].reverse())
        this.broker.queue(queue).unshift({ ...message, redelivered: true });
    }
    this.channels.clear();
  }

  private method(id: number, of: number, bytes: Buffer): void {
    if (of === METHOD.channelOpen) {
      if (this.channels.has(id)) throw new Error(`channel ${id} opened twice`);
      this.channels.set(id, new ModelChannel());
      this.say(method(id, METHOD.channelOpenOk, long(0)));
      return;
    }
    const channel = this.channels.get(id);
    if (!channel && this.refused.has(id)) return;
    if (!channel) throw new Error(`method ${of >> 16}.${of & 0xffff} on channel ${id}, which is not open`);
    const args = new Arguments(bytes);
    switch (of) {
      case METHOD.confirmSelect:
        channel.confirm = true;
        this.say(method(id, METHOD.confirmSelectOk));
        return;
      case METHOD.basicQos:
        args.long();
        channel.prefetch = args.short();
        this.say(method(id, METHOD.basicQosOk));
        return;
      case METHOD.channelFlow:
        this.say(method(id, METHOD.channelFlowOk, octet(1)));
        return;
      case METHOD.queueDeclare:
      case METHOD.exchangeDeclare: {
        args.short();
        const name = args.shortString();
        const why = this.broker.absent.get(name);
        if (why === undefined)
          this.say(
            of === METHOD.queueDeclare
              ? method(id, METHOD.queueDeclareOk, text(name), long(0), long(0))
              : method(id, METHOD.exchangeDeclareOk),
          );
        else {
          this.channels.delete(id);
          this.refused.add(id);
          this.say(method(id, METHOD.channelClose, short(404), text(why), short(0), short(0)));
        }
        return;
      }
      case METHOD.basicConsume: {
        args.short();
        const queue = args.shortString();
        const name = args.shortString();
        const noAck = (args.octet() & 2) !== 0;
        channel.consumers.push({ tag: name, queue, prefetch: channel.prefetch, noAck });
        this.say(method(id, METHOD.basicConsumeOk, text(name)));
        return;
      }
      case METHOD.basicCancel: {
        const name = args.shortString();
        const at = channel.consumers.findIndex((each) => each.tag === name);
        if (at >= 0) channel.consumers.splice(at, 1);
        this.say(method(id, METHOD.basicCancelOk, text(name)));
        return;
      }
      case METHOD.channelClose:
        for (const { queue, message } of [...channel.unacked.values()].reverse())
          this.broker.queue(queue).unshift({ ...message, redelivered: true });
        this.channels.delete(id);
        this.say(method(id, METHOD.channelCloseOk));
        return;
      case METHOD.basicGet: {
        args.short();
        const queue = args.shortString();
        const message = this.broker.queue(queue).shift();
        if (!message) this.say(method(id, METHOD.basicGetEmpty, text('')));
        else {
          channel.nextTag += 1;
          channel.unacked.set(channel.nextTag, { message, queue, consumer: '' });
          const head = [tag(channel.nextTag), octet(message.redelivered ? 1 : 0), text(''), text(queue), long(0)];
          this.say(method(id, METHOD.basicGetOk, ...head), ...content(id, message));
        }
        return;
      }
      case METHOD.basicPublish:
        channel.upload = new Assembly(bytes);
        return;
      case METHOD.basicAck:
      case METHOD.basicNack:
      case METHOD.basicReject:
        this.settle(channel, of, bytes);
        return;
      default:
        throw new Error(`method ${of >> 16}.${of & 0xffff}`);
    }
  }

  private published(id: number, channel: ModelChannel): void {
    const { upload } = channel;
    if (!upload) return;
    channel.upload = undefined;
    const args = new Arguments(upload.method);
    args.short();
    const exchange = args.shortString();
    const key = args.shortString();
    const mandatory = (args.octet() & 1) !== 0;
    const routed = this.broker.publish(key, upload.content, mandatory);
    if (!routed && mandatory)
      this.say(
        method(id, METHOD.basicReturn, short(312), text('NO_ROUTE'), text(exchange), text(key)),
        ...content(id, upload.content),
      );
    if (!channel.confirm) return;
    channel.published += 1;
    channel.unsaid.push(channel.published);
    channel.names[channel.published] = `${key} ${upload.content.body}`;
  }

  private settle(channel: ModelChannel, of: number, bytes: Buffer): void {
    const { kind, tag: upTo, multiple, requeue } = readSettle(of, bytes);
    const tags = multiple ? [...channel.unacked.keys()].filter((each) => upTo === 0 || each <= upTo) : [upTo];
    if (tags.length === 0 && upTo !== 0) throw new Error(`406: unknown delivery tag ${upTo}`);
    for (const each of tags) {
      const unacked = channel.unacked.get(each);
      if (!unacked) throw new Error(`406: unknown delivery tag ${each}`);
      channel.unacked.delete(each);
      const { body } = unacked.message;
      if (kind !== 'ack' && requeue) this.broker.queue(unacked.queue).push({ ...unacked.message, redelivered: true });
      else this.broker.settled.set(body, (this.broker.settled.get(body) ?? 0) + 1);
    }
  }

  acts(): ((random: Random) => void)[] {
    const acts: ((random: Random) => void)[] = [];
    for (const [id, channel] of this.channels) {
      for (const consumer of channel.consumers) {
        const held = [...channel.unacked.values()].filter((each) => each.consumer === consumer.tag).length;
        const room = consumer.noAck || consumer.prefetch === 0 || held < consumer.prefetch;
        if (room && this.broker.queue(consumer.queue).length > 0) acts.push(() => this.deliver(id, channel, consumer));
      }
      if (channel.unsaid.length > 0) acts.push((random) => this.confirm(id, channel, random));
    }
    return acts;
  }

  private deliver(id: number, channel: ModelChannel, consumer: ModelConsumer): void {
    const message = this.broker.queue(consumer.queue).shift()!;
    channel.nextTag += 1;
    if (!consumer.noAck)
      channel.unacked.set(channel.nextTag, { message, queue: consumer.queue, consumer: consumer.tag });
    const head = [text(consumer.tag), tag(channel.nextTag), octet(message.redelivered ? 1 : 0)];
    this.say(method(id, METHOD.basicDeliver, ...head, text(''), text(consumer.queue)), ...content(id, message));
  }

  /** Out of order, one by one or many at once; now and then a nack. */
  private confirm(id: number, channel: ModelChannel, random: Random): void {
    const index = Math.floor(random() * channel.unsaid.length);
    const seq = channel.unsaid[index]!;
    const multiple = random() < 0.5;
    const nack = random() < 0.1;
    for (const each of channel.unsaid) {
      if (multiple ? each > seq : each !== seq) continue;
      const name = channel.names[each]!;
      this.broker.said.set(name, [...(this.broker.said.get(name) ?? []), !nack]);
    }
    channel.unsaid = channel.unsaid.filter((each) => (multiple ? each > seq : each !== seq));
    this.say(method(id, nack ? METHOD.basicNack : METHOD.basicAck, tag(seq), octet(multiple ? 1 : 0)));
  }
}
