/** One AMQP channel as the session knows it: what attach must set up again, and what must be finished before a cut. */
import { Deliveries, type Holder } from './deliveries.ts';
import type { Piece } from './frames.ts';
import { Ledger } from './ledger.ts';
import { Arguments, type ConsumeFields, METHOD } from './methods.ts';
import type { OffsetReader } from './streams.ts';

/** Replies that name the consumer they are about. */
export const TAGGED: readonly number[] = [METHOD.basicConsumeOk, METHOD.basicCancelOk];

export interface Consumer extends ConsumeFields, Holder {
  /** Its tag at the broker: of the same length, so that frames are patched in place (see Channel.alias). */
  upstreamTag: string;
  /** Its deliveries that wait for the app to settle others. */
  withheld: number;
  /** We cancelled it upstream; the app does not know. */
  suspended: boolean;
  /** Offset of its last delivery, of a stream; false: its queue is none. */
  place?: number | false;
}

/** A reply the broker owes. `ours`: to a request of our own, the app never sees it. */
export interface Expected {
  readonly reply: number;
  readonly ours: boolean;
  /** The consumer a consume-ok will bring to life, the tag a cancel-ok will end. */
  readonly consumer?: Consumer;
  readonly tag?: string;
  /** Of a basic.get. */
  readonly noAck?: boolean;
  /** Of a queue.declare: what makes the queue unfit to be handed over. */
  readonly traits?: readonly string[];
  /** Of an exchange.declare: its name. */
  readonly exchange?: string;
  /** The request itself, of the app: an upstream that is lost may owe it to the next one. */
  readonly request?: Buffer;
}

/** A content (method, header, bodies) under way: its bytes to come, undefined until the header tells. */
export interface Content {
  left: number | undefined;
  /** Begun on an upstream that is lost: the rest of it goes nowhere. */
  lost?: true;
}

/** A delivery kept from the app by its prefetch. */
export interface Withheld {
  readonly consumer: Consumer;
  readonly tag: number;
  readonly pieces: Piece[];
  whole: boolean;
  /** Its consumer is gone and acknowledges nothing: the app gets it as soon as it is whole. */
  parting?: true;
}

/**
 * opening, open; closing: the app sent channel.close; refused: the broker did, and the app's close-ok is to come;
 * orphan: refused before an attach, so that the close-ok has nowhere to go.
 */
export type ChannelState = 'opening' | 'open' | 'closing' | 'refused' | 'orphan';

export class Channel {
  readonly id: number;
  state: ChannelState = 'opening';
  readonly consumers = new Map<string, Consumer>();
  /** basic.qos in force: for new consumers, and for the channel as a whole (global). */
  prefetch = 0;
  globalPrefetch = 0;
  confirm = false;
  transactional = false;
  /** The app has published without confirms: only the end of the channel tells it that all has arrived. */
  unproven = false;
  /** Publishes in confirm mode, the app's numbering. */
  published = 0;
  /**
   * By how much the app's numbering of publishes is ahead of this upstream channel's, but for the first of them: those the app
   * had made before this channel was opened have any numbers (upstream → the app's), until they are confirmed.
   */
  confirmBase = 0;
  forwarded = 0;
  readonly confirmTable = new Map<number, number>();
  readonly unconfirmed = new Ledger<true>();
  readonly deliveries = new Deliveries();
  expected: Expected[] = [];
  /** Contents under way: from the app, and from the broker. */
  up: Content | undefined;
  down: Content | undefined;
  /** Reads where in a stream the content from the broker is, if it may be of one. */
  offsets: OffsetReader | undefined;
  /** The delivery that the content from the broker belongs to, if it is withheld. */
  filling: Withheld | undefined;
  withheld: Withheld[] = [];
  withheldBytes = 0;
  /** The first that was withheld at the last look. */
  stuck: Withheld | undefined;
  /** The app settles several at once. */
  settlesMany = false;
  /** Frames of our own that wait for the end of a content of the app. */
  waitingUp: Buffer[] = [];
  private aliases = 0;
  /** The consumer tag that was read last, and its bytes: mostly the next one's, too. */
  private lastTag = '';
  private lastTagBytes: Buffer = Buffer.alloc(0);
  /** The queue that an empty name means: the last one declared. */
  lastQueue = '';

  constructor(id: number) {
    this.id = id;
  }

  /** A consumer tag at the broker, as `consumerOf` takes it: these bytes of a frame. */
  tagOf(bytes: Buffer, start: number, end: number): string {
    const known = this.lastTagBytes;
    let same = end - start === known.length;
    for (let at = 0; same && at < known.length; at += 1) same = known[at] === bytes[start + at];
    if (!same) {
      this.lastTag = bytes.toString('latin1', start, end);
      this.lastTagBytes = Buffer.from(bytes.subarray(start, end));
    }
    return this.lastTag;
  }

  /** The consumer with this tag at the broker. */
  consumerOf(upstreamTag: string): Consumer | undefined {
    const named = this.consumers.get(upstreamTag);
    if (named?.upstreamTag === upstreamTag) return named;
    for (const consumer of this.consumers.values()) if (consumer.upstreamTag === upstreamTag) return consumer;
    return undefined;
  }

  /**
   * A tag for a consumer that was cancelled on this very channel and comes back. With its old one RabbitMQ would mix the
   * two up: credit for deliveries of the old one goes to the new one, and a quorum queue stops delivering.
   */
  alias(tag: string): string {
    const digits = Math.min(4, tag.length);
    for (let count = 0; ; count++) {
      let alias = tag.slice(0, tag.length - digits);
      for (let digit = 0, rest = this.aliases++; digit < digits; digit++, rest = Math.floor(rest / 94))
        alias += String.fromCharCode(33 + (rest % 94));
      if ((!this.consumers.has(alias) && !this.consumerOf(alias)) || count > 1000) return alias;
    }
  }

  /** May the app be given one more delivery of this consumer? */
  admits(consumer: Consumer): boolean {
    if (consumer.noAck) return true;
    if (consumer.prefetch !== 0 && consumer.held >= consumer.prefetch) return false;
    return this.globalPrefetch === 0 || this.deliveries.held < this.globalPrefetch;
  }

  /** Takes the request that this reply answers off the list. */
  answer(reply: number, tag?: string): Expected | undefined {
    const index = this.asked(reply, tag);
    return index < 0 ? undefined : this.expected.splice(index, 1)[0];
  }

  /** Whether this reply answers a request of our own. */
  owesUs(reply: number, bytes: Buffer): boolean {
    if (this.expected.length === 0) return false;
    const index = this.asked(reply, TAGGED.includes(reply) ? new Arguments(bytes).shortString() : undefined);
    return this.expected[index]?.ours === true;
  }

  private asked(reply: number, tag: string | undefined): number {
    const wanted = reply === METHOD.basicGetEmpty ? METHOD.basicGetOk : reply;
    const find = (asked: string | undefined): number =>
      this.expected.findIndex((each) => each.reply === wanted && (asked === undefined || each.tag === asked));
    // A consume without a tag is answered with the one the broker made up.
    return tag !== undefined && find(tag) < 0 ? find('') : find(tag);
  }

  /** Confirm outcome in the app's numbering: takes it (multiple: and all before it) off the list; those it took. */
  confirmed(tag: number, multiple: boolean): number[] {
    if (!multiple) return this.unconfirmed.delete(tag) ? [tag] : [];
    return this.unconfirmed.takeUpTo(tag === 0 ? this.published : tag);
  }

  /** As `confirmed`, of those in the table, by the upstream channel's numbering. */
  confirmedOfTable(upstream: number, multiple: boolean): number[] {
    const taken: number[] = [];
    for (const [number, seq] of this.confirmTable) {
      if (multiple ? number > upstream : number !== upstream) continue;
      this.confirmTable.delete(number);
      if (this.unconfirmed.delete(seq)) taken.push(seq);
    }
    return taken;
  }

  /**
   * The upstream channel is no more: nothing is owed on it. Returns the carried tags, which must be given back. A content
   * under way to the app (or withheld) may still be followed by its rest.
   */
  dismantle(): number[] {
    this.consumers.clear();
    this.expected = [];
    this.up = undefined;
    this.withheld = [];
    this.withheldBytes = 0;
    this.waitingUp = [];
    this.unconfirmed.clear();
    this.confirmTable.clear();
    return this.deliveries.clear();
  }

  /**
   * The upstream is lost while the app is served: nothing that it owed will come. Returns the app's requests it left unanswered,
   * in order.
   */
  sever(): Expected[] {
    const pending = this.expected.filter(({ ours }) => !ours);
    this.expected = [];
    this.down = undefined;
    this.filling = undefined;
    this.withheld = [];
    this.withheldBytes = 0;
    this.stuck = undefined;
    this.waitingUp = [];
    if (this.up) this.up.lost = true;
    this.deliveries.forsake();
    this.forwarded = 0;
    this.confirmBase = this.published;
    this.confirmTable.clear();
    for (const consumer of this.consumers.values()) {
      consumer.withheld = 0;
      // One that is being cancelled must not be made again: the broker answers for a consumer it has never heard of, too.
      consumer.suspended = !pending.some(
        ({ reply, tag }) => reply === METHOD.basicCancelOk && tag === consumer.upstreamTag,
      );
    }
    if (this.state === 'refused') this.state = 'orphan';
    return pending;
  }

  /** Numbers of publishes whose outcome nobody will tell; that of a content half sent is told at its end. */
  doomed(): number[] {
    const half = this.up ? this.published : 0;
    return [...this.unconfirmed.tags()].filter((seq) => seq !== half);
  }

  /**
   * The upstream is left behind by a copy: the next one starts its numbers at 1. `waiting`: the app's numbers of publishes
   * that the next one will be sent first; all others are confirmed.
   */
  carry(waiting: readonly number[] = []): void {
    this.deliveries.carry();
    this.forwarded = waiting.length;
    this.confirmBase = this.published - this.forwarded;
    this.confirmTable.clear();
    for (const [index, seq] of waiting.entries()) this.confirmTable.set(index + 1, seq);
    this.expected = [];
    this.down = undefined;
    for (const consumer of this.consumers.values()) consumer.suspended = true;
    if (this.state === 'refused') this.state = 'orphan';
    if (this.state === 'opening') this.state = 'open';
  }
}
