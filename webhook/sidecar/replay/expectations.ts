/** Settlements and requests of the source and of its copy, matched one to one. Pure. */
import type { SettleKind } from '../methods.ts';
import type { Requested, Settled } from './entries.ts';

export interface Settling {
  readonly connection: number;
  readonly channel: number;
  readonly tag: number;
  readonly how: SettleKind;
  readonly requeue: boolean;
}

const tagKey = ({ connection, channel, tag }: Settling): string => `${connection}/${channel}/${tag}`;
const same = (one: Settling, other: Settling): boolean => one.how === other.how && one.requeue === other.requeue;
const onChannel = (connection: number, channel: number) => (each: Settling) =>
  each.connection === connection && each.channel === channel;

/** kept: the other side has not settled that tag. differs: it has, but otherwise. */
export type Verdict = 'matched' | 'kept' | 'differs';

interface Recorded extends Settling {
  readonly since: number;
  readonly all: boolean;
}

export class Settles {
  private readonly recorded = new Map<string, Recorded>();
  private readonly ahead = new Map<string, Settling>();
  /** Written off: the copy's word on them goes nowhere. */
  private readonly excused = new Set<string>();
  /** Settlements of all there is that the source has made and the copy has not, by channel. */
  private readonly alls = new Map<string, number>();
  /** Of those missing, the ones that are no acks. */
  private refusals = 0;

  /** Settled by the source, not by the copy. */
  get missing(): number {
    return this.recorded.size;
  }
  /** A refusal among them: the broker may answer it with a delivery. */
  get missesRefusal(): boolean {
    return this.refusals > 0;
  }
  /** Settled by the copy, not by the source. */
  get waiting(): number {
    return this.ahead.size;
  }
  get oldest(): number | undefined {
    for (const { since } of this.recorded.values()) return since;
    return undefined;
  }

  /** undefined: it is not one of a delivery. */
  expect(entry: Settled, now: number): Verdict | undefined {
    if (entry.tag === 0) {
      const channel = channelKey(entry.connection, entry.channel);
      this.alls.set(channel, (this.alls.get(channel) ?? 0) + 1);
      return undefined;
    }
    const key = tagKey(entry);
    const ahead = this.ahead.get(key);
    if (!ahead) {
      this.recorded.set(key, { ...entry, since: now });
      if (entry.how !== 'ack') this.refusals += 1;
      return 'kept';
    }
    this.ahead.delete(key);
    return same(ahead, entry) ? 'matched' : 'differs';
  }

  offer(made: Settling): Verdict {
    const key = tagKey(made);
    const recorded = this.take(key);
    if (recorded) return same(recorded, made) ? 'matched' : 'differs';
    // It is counted already.
    if (this.excused.delete(key)) return 'kept';
    this.ahead.set(key, made);
    return 'kept';
  }

  /**
   * Whether the copy may settle all there is by now, which is `tags`. It settles what is on its way to the app, too: so it waits
   * until all is on its way that was at the source, unless the source has settled one of these by name.
   */
  mayAll(connection: number, channel: number, tags: Iterable<number>): boolean {
    const on = channelKey(connection, channel);
    const alls = this.alls.get(on) ?? 0;
    if (alls > 0) {
      this.alls.set(on, alls - 1);
      return true;
    }
    for (const tag of tags) if (this.recorded.get(`${on}/${tag}`)?.all === false) return true;
    return false;
  }

  private take(key: string): Recorded | undefined {
    const recorded = this.recorded.get(key);
    if (!recorded) return undefined;
    this.recorded.delete(key);
    if (recorded.how !== 'ack') this.refusals -= 1;
    return recorded;
  }

  /** What is ahead, in the app's order: the source is to settle it once the copy serves. */
  takeAhead(connection: number): Settling[] {
    return [...this.ahead.values()].filter((each) => each.connection === connection);
  }

  /** A channel is closed: what was settled on it by one side only is forgotten. Returns one of the copy's. */
  drop(connection: number, channel: number): Settling | undefined {
    const on = channelKey(connection, channel);
    this.alls.delete(on);
    for (const key of this.excused) if (key.startsWith(`${on}/`)) this.excused.delete(key);
    const theirs = [...this.ahead.values()].filter(onChannel(connection, channel));
    for (const each of theirs) this.ahead.delete(tagKey(each));
    return theirs[0];
  }

  anyMissing(): Settling | undefined {
    for (const each of this.recorded.values()) return each;
    return undefined;
  }

  /** The source's word stands. Returns how many. */
  writeOff(): number {
    const count = this.recorded.size;
    for (const key of this.recorded.keys()) this.excused.add(key);
    this.recorded.clear();
    this.refusals = 0;
    return count;
  }
}

const channelKey = (connection: number, channel: number): string => `${connection}/${channel}`;

/** Requests keep their order on each channel. */
export class Requests {
  private readonly recorded = new Map<string, (Requested & { readonly since: number })[]>();
  missing = 0;

  expect(entry: Requested, now: number): void {
    const key = channelKey(entry.connection, entry.channel);
    const list = this.recorded.get(key);
    if (list) list.push({ ...entry, since: now });
    else this.recorded.set(key, [{ ...entry, since: now }]);
    this.missing += 1;
  }

  /** The copy's next request on a channel. 'kept': the source has made none (yet). */
  offer(connection: number, channel: number, method: number, digest: string): Verdict {
    const key = channelKey(connection, channel);
    const list = this.recorded.get(key);
    const next = list?.[0];
    if (!list || !next) return 'kept';
    if (next.method !== method || next.digest !== digest) return 'differs';
    list.shift();
    if (list.length === 0) this.recorded.delete(key);
    this.missing -= 1;
    return 'matched';
  }

  missingOn(connection: number, channel: number): boolean {
    return this.recorded.has(channelKey(connection, channel));
  }

  get oldest(): number | undefined {
    let oldest: number | undefined;
    for (const [first] of this.recorded.values()) if (first) oldest = Math.min(oldest ?? first.since, first.since);
    return oldest;
  }

  anyMissing(): Requested | undefined {
    for (const [first] of this.recorded.values()) return first;
    return undefined;
  }
}
