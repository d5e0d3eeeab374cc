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

export class Settles {
  private readonly recorded = new Map<string, Settling & { readonly since: number }>();
  private readonly ahead = new Map<string, Settling>();
  /** Written off: the copy's word on it goes nowhere. */
  private readonly excused = new Set<string>();

  /** Settled by the source, not by the copy. */
  get missing(): number {
    return this.recorded.size;
  }
  /** Settled by the copy, not by the source. */
  get waiting(): number {
    return this.ahead.size;
  }
  get oldest(): number | undefined {
    for (const { since } of this.recorded.values()) return since;
    return undefined;
  }

  expect(entry: Settled, now: number): Verdict {
    const key = tagKey(entry);
    const ahead = this.ahead.get(key);
    if (!ahead) {
      this.recorded.set(key, { ...entry, since: now });
      return 'kept';
    }
    this.ahead.delete(key);
    return same(ahead, entry) ? 'matched' : 'differs';
  }

  offer(made: Settling): Verdict {
    const key = tagKey(made);
    const recorded = this.recorded.get(key);
    if (recorded) {
      this.recorded.delete(key);
      return same(recorded, made) ? 'matched' : 'differs';
    }
    if (this.excused.delete(key)) return 'matched';
    this.ahead.set(key, made);
    return 'kept';
  }

  /** What is ahead, in the app's order: the source is to settle it once the copy serves. */
  takeAhead(connection: number): Settling[] {
    return [...this.ahead.values()].filter((each) => each.connection === connection);
  }

  /** A channel is closed: what was settled on it by one side only is forgotten. Returns one of the copy's. */
  drop(connection: number, channel: number): Settling | undefined {
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
