/** One AMQP channel as the session knows it: what attach must set up again, and what must be finished before a cut. */
import { Deliveries, type Holder } from './deliveries.ts';
import type { Piece } from './frames.ts';
import { Ledger } from './ledger.ts';
import { type ConsumeFields, METHOD } from './methods.ts';

export interface Consumer extends ConsumeFields, Holder {
  /** Its tag at the broker: of the same length, so that frames are patched in place (see Channel.alias). */
  upstreamTag: string;
  /** Its deliveries that wait for the app to settle others. */
  withheld: number;
  /** We cancelled it upstream; the app does not know. */
  suspended: boolean;
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
}

/** A content (method, header, bodies) under way: its bytes to come, undefined until the header tells. */
export interface Content {
  left: number | undefined;
}

/** A delivery kept from the app by its prefetch. */
export interface Withheld {
  readonly consumer: Consumer;
  readonly tag: number;
  readonly pieces: Piece[];
  whole: boolean;
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
  /** Publishes in confirm mode, the app's numbering. */
  published = 0;
  /** Publishes confirmed before this upstream channel was opened: its own numbering begins after them. */
  confirmBase = 0;
  readonly unconfirmed = new Ledger<true>();
  readonly deliveries = new Deliveries();
  expected: Expected[] = [];
  /** Contents under way: from the app, and from the broker. */
  up: Content | undefined;
  down: Content | undefined;
  /** The delivery that the content from the broker belongs to, if it is withheld. */
  filling: Withheld | undefined;
  withheld: Withheld[] = [];
  withheldBytes = 0;
  /** Frames of our own that wait for the end of a content of the app. */
  waitingUp: Buffer[] = [];
  private aliases = 0;
  /** The queue that an empty name means: the last one declared. */
  lastQueue = '';

  constructor(id: number) {
    this.id = id;
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
    const wanted = reply === METHOD.basicGetEmpty ? METHOD.basicGetOk : reply;
    const find = (asked: string | undefined): number =>
      this.expected.findIndex((each) => each.reply === wanted && (asked === undefined || each.tag === asked));
    // A consume without a tag is answered with the one the broker made up.
    const index = tag !== undefined && find(tag) < 0 ? find('') : find(tag);
    return index < 0 ? undefined : this.expected.splice(index, 1)[0];
  }

  /** Confirm outcome in the app's numbering: takes it (multiple: and all before it) off the list. */
  confirmed(tag: number, multiple: boolean): void {
    if (!multiple) this.unconfirmed.delete(tag);
    else for (const [each] of this.unconfirmed.upTo(tag === 0 ? this.published : tag)) this.unconfirmed.delete(each);
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
    return this.deliveries.clear();
  }

  /** The upstream is left behind by a copy: the next one starts its numbers at 1. */
  carry(): void {
    this.deliveries.carry();
    this.confirmBase = this.published;
    this.expected = [];
    this.down = undefined;
    for (const consumer of this.consumers.values()) consumer.suspended = true;
    if (this.state === 'refused') this.state = 'orphan';
    if (this.state === 'opening') this.state = 'open';
  }
}
