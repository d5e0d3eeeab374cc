/** When an entry of the record may reach the copy's app: when that has come as far as the source's had. Pure. */
import type { Channel } from '../channel.ts';
import { ARGUMENTS, METHOD, methodOf } from '../methods.ts';
import { contentOf, returnedFrom } from './content.ts';
import type { Down, Entry, Shown } from './entries.ts';
import type { Requests, Settles } from './expectations.ts';
import type { Publishes } from './publishes.ts';

/** A copy's session as its player needs it. */
export interface Played {
  readonly id: number;
  /** The channel as it is now. */
  channel(id: number): Channel | undefined;
  /** A unit from the broker; `withheld`: it is kept from the app until it is shown. */
  play(bytes: Buffer, withheld: boolean): void;
  show(channel: number, tag: number): void;
  /** A delivery that is kept from the app: its consumer's tag at the broker, and its frames. */
  kept(channel: number, tag: number): { readonly consumer: string; readonly bytes: () => Buffer } | undefined;
  /** The outcome of a publish of the app, in its own numbering; nothing if it is known, or nobody's. */
  confirm(channel: Channel, seq: number, ack: boolean): void;
  /** Goes on with what the app asked for on a channel. */
  drain(channel: number): void;
  /** Units of the app that wait. */
  readonly unitsWaiting: number;
  /** Whether the app may hold one more delivery of a consumer (by its tag at the broker), by its prefetch. */
  hasRoom(channel: number, consumer: string | undefined): boolean;
  /** The app does not read what it has been given already. */
  readonly clogged: boolean;
}

/** An ack of the source's app is waited for so long before a delivery that came after it, milliseconds. */
const SOFT_MS = 30;

/** What a delivery may be the answer to. */
interface Content {
  readonly body: string;
  readonly correlation: string;
}

export class Gates {
  private readonly sessions: ReadonlyMap<number, Played>;
  private readonly publishes: Publishes;
  private readonly settles: Settles;
  private readonly requests: Requests;
  private looked: { readonly entry: Down | Shown; readonly content: Content } | undefined;

  constructor(sessions: ReadonlyMap<number, Played>, publishes: Publishes, settles: Settles, requests: Requests) {
    this.sessions = sessions;
    this.publishes = publishes;
    this.settles = settles;
    this.requests = requests;
  }

  /**
   * The copy's app gets it when it has done what the source's had done when it came: settled what was settled, asked what was
   * asked on its channel, published what this may be the answer to (invariant 3, and that a reply never comes before its
   * question).
   */
  gated(entry: Entry, now: number): boolean {
    if (entry.kind === 'shown') {
      const kept = this.sessions.get(entry.connection)?.kept(entry.channel, entry.tag);
      return (
        kept !== undefined && this.deliveryWaits(entry, now, kept.consumer, () => this.contentOf(entry, kept.bytes))
      );
    }
    if (entry.kind !== 'down') return false;
    const { connection, channel, bytes, withheld } = entry;
    if (this.requests.missingOn(connection, channel)) return true;
    if (withheld) return false;
    if (this.sessions.get(connection)?.clogged) return true;
    switch (methodOf(bytes)) {
      case METHOD.basicDeliver:
        return this.deliveryWaits(entry, now, consumerOf(bytes), () => this.contentOf(entry, () => bytes));
      case METHOD.basicGetOk:
        return this.deliveryWaits(entry, now, undefined, () => this.contentOf(entry, () => bytes));
      case METHOD.basicReturn: {
        const { exchange, key } = returnedFrom(bytes);
        return this.publishes.mayReturn(exchange, key, () => this.contentOf(entry, () => bytes).body);
      }
      // It takes no more of what is on its way.
      case METHOD.channelClose:
      case METHOD.connectionClose:
        return this.settles.missing > 0 || this.publishes.missingOn(connection, channel);
      default:
        return false;
    }
  }

  private deliveryWaits(at: Shown | Down, now: number, consumer: string | undefined, content: () => Content): boolean {
    if (this.settles.missesRefusal) return true;
    // An ack that takes long (by a timer, with others) is waited for no longer than the broker would: it makes room.
    const late = now - (this.settles.oldest ?? now) >= SOFT_MS;
    if (this.settles.missing > 0 && !(late && this.sessions.get(at.connection)?.hasRoom(at.channel, consumer)))
      return true;
    return this.publishes.missing > 0 && this.answersMissing(content());
  }

  /** It is asked for again and again while it waits. */
  private contentOf(entry: Down | Shown, bytes: () => Buffer): Content {
    if (this.looked?.entry !== entry) this.looked = { entry, content: contentOf(bytes()) };
    return this.looked.content;
  }

  private answersMissing({ body, correlation }: Content): boolean {
    return this.publishes.answers(body, correlation);
  }
}

/** The consumer's tag at the broker. */
const consumerOf = (deliver: Buffer): string =>
  deliver.toString('latin1', ARGUMENTS + 1, ARGUMENTS + 1 + deliver[ARGUMENTS]!);
