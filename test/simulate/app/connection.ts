/** One connection of the simulated app: bytes in, bytes out, and what came of them for the app (`App` is told). */
import {
  type Fields,
  type Frame,
  FrameReader,
  fields,
  HEARTBEAT,
  M,
  methodId,
  nameOf,
  PROTOCOL,
  readHeader,
  write,
} from '../amqp.ts';
import { AppChannel, type Incoming } from './channel.ts';

/** What a connection tells its app. */
export interface Listener {
  ready(connection: AppConnection): void;
  opened(channel: AppChannel): void;
  delivered(channel: AppChannel, content: Incoming): void;
  returned(channel: AppChannel, content: Incoming): void;
  confirmed(channel: AppChannel, outputs: string[]): void;
  refused(outputs: string[]): void;
  cancelled(channel: AppChannel, consumer: string): void;
}

export class AppConnection {
  readonly index: number;
  state: 'down' | 'starting' | 'open' | 'closing' | 'closed' = 'down';
  channels: AppChannel[];
  /** What channels that are closed by now complained of. */
  private past: string[] = [];
  private readonly app: Listener;
  private readonly frameMax: number;
  private readonly heartbeat: number;
  private reader = new FrameReader();
  private out: Buffer[] = [];
  complaints: string[] = [];

  constructor(index: number, channels: AppChannel[], app: Listener, tune: { frameMax: number; heartbeat: number }) {
    this.index = index;
    this.channels = channels;
    this.app = app;
    this.frameMax = tune.frameMax;
    this.heartbeat = tune.heartbeat;
  }

  take(): Buffer[] {
    const out = [...this.out, ...this.channels.flatMap((channel) => channel.out)];
    this.out = [];
    for (const channel of this.channels) channel.out = [];
    return out;
  }

  ofChannels(): string[] {
    return [...this.past, ...this.channels.flatMap(({ complaints }) => complaints)];
  }

  /** The channel with this id, opened for one message's outputs. */
  side(id: number, confirm: boolean): AppChannel {
    const known = this.channels.find(({ config }) => config.id === id);
    if (known) return known;
    const config = { connection: this.index, id, confirm, prefetch: 0, global: false, consumers: [], side: true };
    const channel = new AppChannel(config);
    this.channels = [...this.channels, channel];
    if (this.state === 'open') channel.setUp([]);
    return channel;
  }

  complain(what: string): void {
    this.complaints.push(`connection ${this.index}: ${what}`);
  }

  begin(): void {
    this.state = 'starting';
    this.reader = new FrameReader();
    this.out = [PROTOCOL];
  }

  end(): void {
    if (this.state !== 'open') return;
    this.state = 'closing';
    this.out.push(write.close());
  }

  beat(): void {
    if (this.heartbeat > 0 && this.state === 'open') this.out.push(HEARTBEAT);
  }

  /** Outputs that may or may not have been published. */
  reset(): string[] {
    this.state = 'down';
    this.out = [];
    return this.channels.flatMap((channel) => channel.reset());
  }

  fromBroker(bytes: Buffer): void {
    for (const frame of this.reader.push(bytes)) {
      // What still comes after its own close is no concern of the app.
      if (this.state === 'closing' && !(frame.channel === 0 && frame.type === 1)) continue;
      if (frame.type === 8) continue;
      if (frame.channel === 0) this.control(methodId(frame), fields(frame));
      else this.channel(frame);
    }
  }

  private control(method: number, args: Fields): void {
    switch (method) {
      case M.start:
        this.out.push(write.startOk('guest', 'guest'));
        return;
      case M.tune:
        this.out.push(write.tuneOk(this.frameMax, this.heartbeat), write.open('/'));
        return;
      case M.openOk:
        this.state = 'open';
        this.app.ready(this);
        return;
      case M.close:
        this.complain(`closed by the broker: ${args.short()} ${args.text()}`);
        this.out.push(write.closeOk());
        return;
      case M.closeOk:
        if (this.state !== 'closing') this.complain('close-ok unasked');
        this.state = 'closed';
        return;
      case M.blocked:
      case M.unblocked:
        return;
      default:
        this.complain(`${nameOf(method)} on channel 0`);
    }
  }

  private channel(frame: Frame): void {
    const channel = this.channels.find(({ config }) => config.id === frame.channel);
    if (!channel) {
      this.complain(`a frame on channel ${frame.channel}, which is not open`);
      return;
    }
    const { incoming } = channel;
    if (frame.type === 1) {
      if (incoming) channel.complain('a method within a content');
      this.method(channel, methodId(frame), fields(frame));
    } else if (!incoming || (frame.type === 2) !== (incoming.size === undefined))
      channel.complain('content out of place');
    else if (frame.type === 2) {
      const { size, properties } = readHeader(frame.payload);
      incoming.size = size;
      incoming.properties = properties;
      this.contentDone(channel, incoming);
    } else {
      incoming.chunks.push(frame.payload);
      this.contentDone(channel, incoming);
    }
  }

  private contentDone(channel: AppChannel, incoming: Incoming): void {
    const got = incoming.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (got > incoming.size!) channel.complain('more body than the header said');
    if (got < incoming.size!) return;
    channel.incoming = undefined;
    if (incoming.method === M.return) this.app.returned(channel, incoming);
    else this.app.delivered(channel, incoming);
  }

  private method(channel: AppChannel, method: number, args: Fields): void {
    const content = { method, size: undefined, properties: {}, chunks: [] };
    switch (method) {
      case M.deliver:
        channel.incoming = {
          ...content,
          consumer: args.text(),
          tag: args.longlong(),
          redelivered: args.octet() !== 0,
        };
        return;
      case M.return:
        channel.incoming = { ...content, consumer: '', tag: 0, redelivered: false };
        return;
      case M.ack:
        this.app.confirmed(channel, channel.confirmed(args.longlong(), args.octet() !== 0));
        return;
      case M.nack:
        this.app.refused(channel.refused(args.longlong(), (args.octet() & 1) !== 0));
        return;
      case M.consumeOk:
        channel.replied(method);
        channel.consuming.add(args.text());
        return;
      case M.cancelOk: {
        channel.replied(method);
        const consumer = args.text();
        channel.consuming.delete(consumer);
        this.app.cancelled(channel, consumer);
        return;
      }
      case M.channelOpenOk:
        channel.open = true;
        channel.replied(method);
        this.app.opened(channel);
        return;
      case M.channelCloseOk:
        channel.replied(method);
        this.past.push(...channel.complaints);
        this.channels = this.channels.filter((each) => each !== channel);
        return;
      case M.getEmpty:
        channel.replied(M.getOk);
        return;
      case M.getOk:
        channel.replied(method);
        channel.incoming = {
          ...content,
          consumer: channel.config.consumers.find(({ polled }) => polled)?.tag ?? '?',
          tag: args.longlong(),
          redelivered: args.octet() !== 0,
        };
        return;
      case M.selectOk:
      case M.qosOk:
      case M.declareOk:
        channel.replied(method);
        return;
      case M.channelClose:
        channel.complain(`closed by the broker: ${args.short()} ${args.text()}`);
        channel.out.push(write.channelCloseOk(channel.config.id));
        return;
      default:
        channel.complain(`${nameOf(method)} from the broker`);
    }
  }
}
