/**
 * Delivery tags of one channel. The app's numbering never restarts: after a handoff the new upstream channel counts from
 * 1 again, and the app sees `upstream tag + offset`. Tags up to the offset are *carried*: they belong to a channel that
 * another process holds, and their settlements travel there one by one (invariant 2: once per tag). Those up to `stale` are
 * of a channel that is lost: the broker gives their messages out anew, and their settlements are nobody's.
 */
import { Ledger } from './ledger.ts';

/** A consumer as far as prefetch is concerned. */
export interface Holder {
  /** Largest number of unsettled deliveries the app may hold; 0: no limit. */
  readonly prefetch: number;
  /** Deliveries the app holds unsettled. */
  held: number;
}

interface Delivery {
  /** Undefined for basic.get, which no prefetch limits. */
  readonly holder: Holder | undefined;
  /** False while it is withheld from the app. */
  seen: boolean;
}

/** What one settlement of the app means upstream and for the carried. */
export interface Settled {
  /** All of them, carried, stale or neither, the app's numbering. */
  readonly tags: readonly number[];
  /** Carried tags, the app's numbering. */
  readonly carried: readonly number[];
  /** Settlements for the upstream channel, its numbering. */
  readonly upstream: readonly { readonly tag: number; readonly multiple: boolean }[];
}

const NOTHING: Settled = { tags: [], carried: [], upstream: [] };

/** A tag no broker ever gave out: passing it on makes the broker say what it says to an unknown tag. */
export const UNKNOWN_TAG = Number.MAX_SAFE_INTEGER;

export class Deliveries {
  offset = 0;
  private stale = 0;
  /** Highest tag given to the app, or withheld for it. */
  highest = 0;
  /** Deliveries to consumers the app holds unsettled: what a channel-wide prefetch limits. */
  held = 0;
  private readonly unsettled = new Ledger<Delivery>();
  private withheldCount = 0;
  /** Highest tag the app has been handed. */
  private highestSeen = 0;
  /**
   * Handed out behind higher ones (see Wires.release), which no broker does: an app that settles up to a higher tag may not
   * know of them yet, and settle them again.
   */
  private readonly late = new Set<number>();
  private readonly settledLate = new Set<number>();

  /** The app's tag for a delivery of the upstream channel. `noAck`: nothing will settle it. */
  deliver(upstreamTag: number, holder: Holder | undefined, options: { noAck: boolean; withheld: boolean }): number {
    const tag = upstreamTag + this.offset;
    if (tag > this.highest) this.highest = tag;
    if (options.noAck) {
      if (!options.withheld) this.highestSeen = tag;
      return tag;
    }
    const delivery: Delivery = { holder, seen: false };
    this.unsettled.add(tag, delivery);
    this.withheldCount += 1;
    if (!options.withheld) this.see(tag, delivery);
    return tag;
  }

  /** A withheld delivery is handed to the app. */
  show(tag: number): void {
    const delivery = this.unsettled.get(tag);
    if (delivery) this.see(tag, delivery);
  }

  private see(tag: number, delivery: Delivery): void {
    if (tag < this.highestSeen) this.late.add(tag);
    else this.highestSeen = tag;
    delivery.seen = true;
    this.withheldCount -= 1;
    if (!delivery.holder) return;
    delivery.holder.held += 1;
    this.held += 1;
  }

  /** A settlement by the app, of a tag it has seen. */
  settle(tag: number, multiple: boolean): Settled {
    return multiple ? this.settleUpTo(tag) : this.settleOne(tag);
  }

  /** As `settle` of one that the app has seen and this upstream has given out: its tag there. 0: it is none, and nothing was done. */
  settleOwn(tag: number): number {
    const delivery = tag > this.offset ? this.unsettled.get(tag) : undefined;
    if (!delivery?.seen) return 0;
    this.forget(tag, delivery);
    return tag - this.offset;
  }

  private settleOne(tag: number): Settled {
    if (this.settledLate.delete(tag)) return NOTHING;
    const own = this.settleOwn(tag);
    if (own > 0) return { tags: [tag], carried: [], upstream: [{ tag: own, multiple: false }] };
    const delivery = this.unsettled.get(tag);
    if (!delivery?.seen) return { tags: [], carried: [], upstream: [{ tag: this.mistaken(tag), multiple: false }] };
    this.forget(tag, delivery);
    return { tags: [tag], carried: tag > this.stale ? [tag] : [], upstream: [] };
  }

  /** A tag the app may not settle, as one that the broker refuses too: never one that means something else to it. */
  private mistaken(tag: number): number {
    return tag > this.offset && !this.has(tag) ? tag - this.offset : UNKNOWN_TAG;
  }

  private settleUpTo(tag: number): Settled {
    const limit = tag === 0 ? this.highest : tag;
    const tags: number[] = [];
    const carried: number[] = [];
    const upstream: number[] = [];
    let lowestWithheld = Number.POSITIVE_INFINITY;
    for (const [each, delivery] of this.unsettled.upTo(limit)) {
      if (!delivery.seen) {
        if (each > this.offset) lowestWithheld = Math.min(lowestWithheld, each - this.offset);
        continue;
      }
      this.overtake(each, tag);
      this.forget(each, delivery);
      tags.push(each);
      if (each > this.offset) upstream.push(each - this.offset);
      else if (each > this.stale) carried.push(each);
    }
    if (upstream.length === 0) {
      // A multiple that covers nothing upstream must not go there: RabbitMQ closes the channel (406). One that covers
      // nothing at all is the app's own mistake, and the broker's to judge.
      const mistake = tag !== 0 && tags.length === 0 && !this.settledLate.delete(tag);
      return { tags, carried, upstream: mistake ? [{ tag: this.mistaken(tag), multiple: true }] : [] };
    }
    if (lowestWithheld === Number.POSITIVE_INFINITY)
      // "All" is named: at the broker 0 would also settle what is under way to us, and our books would be wrong.
      return { tags, carried, upstream: [{ tag: tag === 0 ? upstream.at(-1)! : tag - this.offset, multiple: true }] };
    // A withheld delivery lies among them: a multiple would settle what the app has never seen.
    const before = upstream.filter((each) => each < lowestWithheld);
    const singles = upstream.filter((each) => each > lowestWithheld);
    const last = before.at(-1);
    return {
      tags,
      carried,
      upstream: [
        ...(last === undefined ? [] : [{ tag: last, multiple: true }]),
        ...singles.map((each) => ({ tag: each, multiple: false })),
      ],
    };
  }

  private overtake(tag: number, by: number): void {
    if (tag < by && this.late.has(tag)) this.settledLate.add(tag);
  }

  /** Takes one delivery out, seen or withheld: false if it is settled. */
  remove(tag: number): boolean {
    const delivery = this.unsettled.get(tag);
    if (!delivery) return false;
    this.forget(tag, delivery);
    return true;
  }

  /** Takes all out (recover, or the channel is gone): returns the carried tags among them. */
  clear(): number[] {
    const carried: number[] = [];
    for (const [tag, delivery] of this.unsettled.upTo(this.highest)) {
      this.forget(tag, delivery);
      if (tag > this.stale && tag <= this.offset) carried.push(tag);
    }
    return carried;
  }

  private forget(tag: number, delivery: Delivery): void {
    this.unsettled.delete(tag);
    if (this.late.size > 0) this.late.delete(tag);
    if (!delivery.seen) this.withheldCount -= 1;
    else if (delivery.holder) {
      delivery.holder.held -= 1;
      this.held -= 1;
    }
  }

  /** The upstream channel is left behind: what is unsettled is carried from now on. */
  carry(): void {
    this.offset = this.highest;
  }

  /** The upstream channel is lost: what is unsettled is stale, and what the app has not been handed comes as if for the first time. */
  forsake(): void {
    for (const [tag, delivery] of this.unsettled.upTo(this.highest)) if (!delivery.seen) this.forget(tag, delivery);
    this.carry();
    this.stale = this.offset;
  }

  has(tag: number): boolean {
    return this.unsettled.get(tag) !== undefined;
  }

  get size(): number {
    return this.unsettled.size;
  }

  /** Tags the app has been handed and has not settled. */
  *handed(): Generator<number> {
    for (const [tag, { seen }] of this.unsettled.all()) if (seen) yield tag;
  }

  tags(): Iterable<number> {
    return this.unsettled.tags();
  }

  get carried(): number {
    return this.between(this.stale, this.offset);
  }

  /** Stale ones that the app has not settled. */
  get leftStale(): number {
    return this.between(0, this.stale);
  }

  private between(above: number, upTo: number): number {
    if (above === upTo) return 0;
    let count = 0;
    for (const tag of this.unsettled.tags()) if (tag > above && tag <= upTo) count += 1;
    return count;
  }

  get withheld(): number {
    return this.withheldCount;
  }
}
