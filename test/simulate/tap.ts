/**
 * Reads along with one upstream connection, both ways, by its own understanding of AMQP, and keeps the broker's view of it:
 * what it gave, what was settled, what was published. Says what no broker connection may ever show.
 */
import { type Fields, type Frame, FrameReader, fields, M, methodId, nameOf, readHeader } from './amqp.ts';

/** What may be said upstream at the moment (invariant 4). */
export type Voice =
  /** The app's own. */
  | 'full'
  /** A mute source: nothing of the app. */
  | 'silent'
  /** A superseded source: what its copy settles, one by one. */
  | 'settling'
  /** A copy before its commit: opens, consumes nothing. */
  | 'fenced';

export interface Given {
  readonly queue: string;
  readonly item: string;
  readonly redelivered: boolean;
}

/** What a tap tells the oracle. */
export interface TapEvents {
  given(tap: Tap, message: Given): void;
  /** `back`: to the queue. */
  settled(tap: Tap, message: Given, back: boolean): void;
  left(tap: Tap, messages: readonly Given[], closed: boolean): void;
  published(tap: Tap, id: string): void;
  confirmed(tap: Tap, id: string): void;
  wrong(invariant: string, what: string): void;
  trace(part: string, what: string): void;
}

interface Content {
  readonly method: number;
  readonly tag: number;
  readonly queue: string;
  readonly redelivered: boolean;
  size: number | undefined;
  id: string | undefined;
  body: Buffer;
  got: number;
}

class TapChannel {
  readonly consumers = new Map<string, string>();
  /** Queues that are got from, in the order of the requests. */
  readonly gets: string[] = [];
  readonly unsettled = new Map<number, Given>();
  /** Settled after all requests that the broker has answered: it may not have heard of it yet. */
  readonly unproven: Given[] = [];
  /** Requests without an answer, each with how many of `unproven` were settled before it. */
  asked: { readonly reply: number; before: number }[] = [];
  confirm = false;
  published = 0;
  readonly unconfirmed = new Map<number, string>();
  up: Content | undefined;
  down: Content | undefined;
}

const ALLOWED: Record<Exclude<Voice, 'full'>, readonly number[]> = {
  silent: [M.cancel, M.flow, M.close, M.closeOk, M.channelCloseOk],
  settling: [M.cancel, M.flow, M.close, M.closeOk, M.channelCloseOk, M.ack, M.nack, M.reject],
  fenced: [M.startOk, M.tuneOk, M.open, M.channelOpen, M.select, M.qos, M.closeOk, M.close],
};

const REPLY = new Map([
  [M.flow, M.flowOk],
  [M.declare, M.declareOk],
  [M.cancel, M.cancelOk],
  [M.consume, M.consumeOk],
]);

const START_OF_BODY = 120;

export class Tap {
  readonly name: string;
  /** The app whose connection it is; a copy carries on its source's. */
  readonly line: string;
  private readonly events: TapEvents;
  private readonly voice: () => Voice;
  private readonly channels = new Map<number, TapChannel>();
  private readonly up = new FrameReader(8);
  private readonly down = new FrameReader();

  constructor(name: string, line: string, voice: () => Voice, events: TapEvents) {
    this.name = name;
    this.line = line;
    this.voice = voice;
    this.events = events;
  }

  private wrong(invariant: string, what: string): void {
    this.events.wrong(invariant, `${this.name}: ${what}`);
  }

  private channel(id: number): TapChannel {
    const known = this.channels.get(id);
    if (known) return known;
    const made = new TapChannel();
    this.channels.set(id, made);
    return made;
  }

  /** The connection ends: what is unsettled is the broker's again. `closed`: by the protocol. */
  left(closed: boolean): void {
    const messages: Given[] = [];
    for (const channel of this.channels.values()) {
      messages.push(...channel.unsettled.values(), ...(closed ? [] : channel.unproven));
      channel.unsettled.clear();
      channel.unproven.splice(0);
    }
    this.events.left(this, messages, closed);
  }

  // ---- to the broker

  written(bytes: Buffer): void {
    for (const frame of this.up.push(bytes)) {
      if (frame.type === 8) continue;
      const voice = this.voice();
      const method = frame.type === 1 ? methodId(frame) : 0;
      if (voice !== 'full' && !ALLOWED[voice].includes(method))
        this.wrong('one voice', `${method ? nameOf(method) : 'content'} upstream while ${voice}`);
      this.upward(frame, method);
    }
  }

  private upward(frame: Frame, method: number): void {
    const channel = this.channel(frame.channel);
    if (frame.type !== 1) {
      this.content(frame, channel.up, 'up', (content) => {
        channel.up = undefined;
        this.publishedOn(channel, content);
      });
      return;
    }
    if (channel.up) this.wrong('frames', `${nameOf(method)} within a content upstream`);
    this.events.trace(this.name, `> ${frame.channel} ${nameOf(method)}`);
    const args = fields(frame);
    const reply = REPLY.get(method);
    if (reply !== undefined) channel.asked.push({ reply, before: channel.unproven.length });
    switch (method) {
      case M.close:
        this.left(true);
        return;
      case M.select:
        channel.confirm = true;
        return;
      case M.consume: {
        args.short();
        const queue = args.text();
        channel.consumers.set(args.text(), queue);
        return;
      }
      case M.get:
        args.short();
        channel.gets.push(args.text());
        return;
      case M.channelOpen:
        this.channels.set(frame.channel, new TapChannel());
        return;
      case M.publish: {
        args.short();
        channel.up = { ...EMPTY, method, body: Buffer.alloc(0) };
        return;
      }
      case M.ack:
      case M.nack:
      case M.reject:
        this.settle(channel, method, args);
    }
  }

  private settle(channel: TapChannel, method: number, args: Fields): void {
    const tag = args.longlong();
    const bits = args.octet();
    const multiple = method !== M.reject && (bits & 1) !== 0;
    const back = method === M.reject ? (bits & 1) !== 0 : method === M.nack && (bits & 2) !== 0;
    if (multiple && this.voice() === 'settling') this.wrong('nothing twice', `a multiple up to ${tag} for its copy`);
    const tags = [...channel.unsettled.keys()].filter((each) => (multiple ? tag === 0 || each <= tag : each === tag));
    if (tags.length === 0 && !(multiple && tag === 0))
      this.wrong('nothing twice', `settles tag ${tag}${multiple ? ' (multiple)' : ''}, of which nothing is unsettled`);
    for (const each of tags) {
      const message = channel.unsettled.get(each)!;
      channel.unsettled.delete(each);
      if (!back) channel.unproven.push(message);
      this.events.settled(this, message, back);
    }
  }

  private publishedOn(channel: TapChannel, content: Content): void {
    const id = idOf(content);
    this.events.published(this, id);
    if (!channel.confirm) return;
    channel.published += 1;
    channel.unconfirmed.set(channel.published, id);
  }

  // ---- from the broker

  read(bytes: Buffer): void {
    for (const frame of this.down.push(bytes)) {
      if (frame.type === 8) continue;
      const channel = this.channel(frame.channel);
      if (frame.type === 1) this.downward(frame, channel, methodId(frame));
      else
        this.content(frame, channel.down, 'down', (content) => {
          channel.down = undefined;
          this.got(channel, content);
        });
    }
  }

  private downward(frame: Frame, channel: TapChannel, method: number): void {
    this.events.trace(this.name, `< ${frame.channel} ${nameOf(method)}`);
    const args = fields(frame);
    switch (method) {
      case M.close:
      case M.channelClose:
        this.wrong('nothing twice', `${nameOf(method)} by the broker: ${args.short()} ${args.text()}`);
        return;
      case M.deliver: {
        const queue = channel.consumers.get(args.text()) ?? '?';
        const tag = args.longlong();
        channel.down = { ...EMPTY, method, tag, queue, redelivered: args.octet() !== 0, body: Buffer.alloc(0) };
        return;
      }
      case M.getEmpty:
        channel.gets.shift();
        return;
      case M.getOk: {
        const queue = channel.gets.shift() ?? '?';
        const tag = args.longlong();
        channel.down = { ...EMPTY, method, tag, queue, redelivered: args.octet() !== 0, body: Buffer.alloc(0) };
        return;
      }
      case M.return:
        channel.down = { ...EMPTY, method, body: Buffer.alloc(0) };
        return;
      case M.ack: {
        const seq = args.longlong();
        const multiple = (args.octet() & 1) !== 0;
        for (const [each, id] of channel.unconfirmed) {
          if (multiple ? each > seq : each !== seq) continue;
          channel.unconfirmed.delete(each);
          this.events.confirmed(this, id);
        }
        return;
      }
      case M.flowOk:
      case M.declareOk:
      case M.cancelOk:
      case M.consumeOk:
        this.prove(channel, method);
    }
  }

  /** An answer proves what was said before its request, and nothing that was said since. */
  private prove(channel: TapChannel, reply: number): void {
    const request = channel.asked.find((each) => each.reply === reply);
    if (!request) return;
    const { before } = request;
    channel.unproven.splice(0, before);
    channel.asked = channel.asked.filter((each) => each !== request);
    for (const each of channel.asked) each.before = Math.max(0, each.before - before);
  }

  private got(channel: TapChannel, content: Content): void {
    if (content.method === M.return) return;
    const { queue, tag, redelivered } = content;
    const message = { queue, item: idOf(content), redelivered };
    channel.unsettled.set(tag, message);
    this.events.given(this, message);
  }

  private content(frame: Frame, content: Content | undefined, way: string, whole: (content: Content) => void): void {
    if (!content || (frame.type === 2) !== (content.size === undefined)) {
      this.wrong('frames', `content out of place, ${way}`);
      return;
    }
    if (frame.type === 2) {
      const { size, properties } = readHeader(frame.payload);
      content.size = size;
      content.id = properties.correlation;
    } else {
      content.got += frame.payload.length;
      if (content.body.length < START_OF_BODY) content.body = Buffer.concat([content.body, frame.payload]);
    }
    if (content.got > content.size!) this.wrong('frames', `more body than the header says, ${way}`);
    if (content.got === content.size) whole(content);
  }
}

const EMPTY = { method: 0, tag: 0, queue: '', redelivered: false, size: undefined, id: undefined, got: 0 };

/** What a message is called: an answer or a call by its correlation id, others by what their body begins with. */
const idOf = ({ id, body }: Content): string =>
  id ?? body.toString('latin1', 0, Math.min(body.length, START_OF_BODY)).split(' ')[0]!;
