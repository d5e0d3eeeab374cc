/**
 * Publishes of the source and of its copy, matched as a multiset per exchange and key: each swallows one of the same digest,
 * whatever channel it came by. The copy's gets the outcome of the source's. Pure.
 */
import type { Channel } from '../channel.ts';
import type { Published } from './entries.ts';
import { Outcomes } from './outcomes.ts';

/** A publish of the copy's app. */
export interface Made {
  readonly connection: number;
  /** Its channel, and its number there: the copy's own numbering. */
  readonly channel: Channel;
  readonly seq: number;
  readonly exchange: string;
  readonly key: string;
  readonly digest: string;
  /** Its frames, kept to be forwarded should the source never make it. */
  readonly frames: readonly Buffer[];
  /** Place among all that the app sent over this connection. */
  readonly order: number;
}

interface Recorded {
  readonly entry: Published;
  /** Place among all that the source has made since the cut. */
  readonly order: number;
  /** When it was expected first, milliseconds. */
  readonly since: number;
  /** The broker's word on it, if it is here. */
  ack: boolean | undefined;
  made: Made | undefined;
}

/** What the copy's app is to be told of a publish: of its own, or of before the cut, which both numberings have. */
export interface Told {
  readonly of: Pick<Made, 'connection' | 'channel' | 'seq'>;
  readonly ack: boolean;
}

/** What becomes of a publish of the copy. `since`: when it was expected first. */
export interface Offered {
  readonly matched: 'same' | 'debt' | undefined;
  readonly since?: number;
  readonly told: readonly Told[];
}

const kindOf = (exchange: string, key: string): string => `${exchange}\0${key}`;
/** Publishes that may stand for each other. */
const sameKey = (digest: string, confirm: boolean): string => `${confirm ? 'c' : '-'}${digest}`;

class Counts {
  private readonly counts = new Map<string, number>();
  add(key: string): void {
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1);
  }
  remove(key: string): void {
    const left = (this.counts.get(key) ?? 0) - 1;
    if (left > 0) this.counts.set(key, left);
    else this.counts.delete(key);
  }
  has(key: string): boolean {
    return this.counts.has(key);
  }
}

/** Values by key, each key's in the order they came. */
class Lists<T> {
  private readonly lists = new Map<string, T[]>();
  add(key: string, value: T): void {
    const list = this.lists.get(key);
    if (list) list.push(value);
    else this.lists.set(key, [value]);
  }
  /** The first that is preferred, else the first. */
  first(key: string, preferred: (value: T) => boolean): T | undefined {
    const list = this.lists.get(key);
    return list?.find(preferred) ?? list?.[0];
  }
  remove(key: string, value: T): void {
    const list = this.lists.get(key);
    const index = list?.indexOf(value) ?? -1;
    if (index < 0 || !list) return;
    list.splice(index, 1);
    if (list.length === 0) this.lists.delete(key);
  }
}

export class Publishes {
  /** Made by one side only, in their order. */
  private readonly recorded = new Set<Recorded>();
  private readonly made = new Set<Made>();
  private readonly recordedLike = new Lists<Recorded>();
  private readonly madeLike = new Lists<Made>();
  /** Of those only the source has made. */
  private readonly correlations = new Counts();
  private readonly bodies = new Counts();
  private readonly returnables = new Counts();
  private readonly channels = new Counts();
  /** Confirm mode: by connection, channel and number at the source, those whose outcome is not here. */
  private readonly open = new Map<string, Recorded>();
  /** Matched ones that may be returned yet. */
  private readonly mandatory = new Lists<Recorded>();
  private readonly outcomes = new Outcomes<Recorded | Told>();
  private count = 0;
  /** Written off: the next ones to the same address stand for them. */
  private readonly debts = new Lists<Recorded>();

  /** Made by the source, not by the copy. */
  get missing(): number {
    return this.recorded.size;
  }
  /** Made by the copy, not by the source. */
  get waiting(): number {
    return this.made.size;
  }
  get oldest(): number | undefined {
    for (const { since } of this.recorded) return since;
    return undefined;
  }

  /** The source has made one: true if the copy had, too. */
  expect(entry: Published, now: number): { readonly matched: boolean; readonly told: readonly Told[] } {
    this.count += 1;
    const recorded: Recorded = { entry, order: this.count, since: now, ack: undefined, made: undefined };
    if (entry.seq > 0) this.open.set(seqKey(entry), recorded);
    const like = likeOf(entry.exchange, entry.key, entry.digest, entry.seq);
    const twin = this.madeLike.first(like, (each) => samePlace(each, entry));
    if (!twin) {
      this.miss(recorded, like);
      return { matched: false, told: [] };
    }
    this.unmake(twin);
    return { matched: true, told: this.pair(recorded, twin) };
  }

  private miss(recorded: Recorded, like: string): void {
    const { entry } = recorded;
    this.recorded.add(recorded);
    this.recordedLike.add(like, recorded);
    if (entry.correlation !== '') this.correlations.add(entry.correlation);
    this.bodies.add(entry.body);
    this.returnables.add(returnKey(entry));
    this.channels.add(placeKey(entry));
  }

  private unmiss(recorded: Recorded): void {
    const { entry } = recorded;
    this.recorded.delete(recorded);
    this.recordedLike.remove(likeOf(entry.exchange, entry.key, entry.digest, entry.seq), recorded);
    if (entry.correlation !== '') this.correlations.remove(entry.correlation);
    this.bodies.remove(entry.body);
    this.returnables.remove(returnKey(entry));
    this.channels.remove(placeKey(entry));
  }

  private unmake(made: Made): void {
    this.made.delete(made);
    this.madeLike.remove(likeOf(made.exchange, made.key, made.digest, made.seq), made);
  }

  private pair(recorded: Recorded, made: Made): Told[] {
    recorded.made = made;
    if (recorded.entry.mandatory) this.mandatory.add(returnKey(recorded.entry), recorded);
    return recorded.ack === undefined ? [] : this.outcomes.made(placeKey(recorded.entry), recorded).map(toldOf);
  }

  /** The copy's app has made one: swallowed, if the source has, too. */
  offer(made: Made): Offered {
    const like = likeOf(made.exchange, made.key, made.digest, made.seq);
    const twin = this.recordedLike.first(like, ({ entry }) => samePlace(made, entry));
    if (twin) {
      this.unmiss(twin);
      return { matched: 'same', since: twin.since, told: this.pair(twin, made) };
    }
    const debt = this.debts.first(debtKey(made), () => true);
    if (debt) {
      this.debts.remove(debtKey(made), debt);
      return { matched: 'debt', told: this.pair(debt, made) };
    }
    this.made.add(made);
    this.madeLike.add(like, made);
    return { matched: undefined, told: [] };
  }

  /** The broker's word on a publish the source has made; `here`: the copy's channel of that number. */
  outcome(at: Place & { readonly seq: number }, ack: boolean, here: Channel | undefined): Told[] {
    const key = seqKey(at);
    const recorded = this.open.get(key);
    if (!recorded) {
      if (!here) return [];
      const before = { of: { ...at, channel: here }, ack };
      return this.outcomes.came(placeKey(at), 0, before, true).map(toldOf);
    }
    this.open.delete(key);
    recorded.ack = ack;
    this.mandatory.remove(returnKey(recorded.entry), recorded);
    return this.outcomes.came(placeKey(at), recorded.order, recorded, recorded.made !== undefined).map(toldOf);
  }

  /** Whether a delivery may be the answer to a publish that the copy has not made yet. */
  answers(body: string, correlation: string): boolean {
    return (correlation !== '' && this.correlations.has(correlation)) || this.bodies.has(body);
  }

  /** Whether what is returned may be a publish that the copy has not made yet. */
  mayReturn(exchange: string, key: string, body: () => string): boolean {
    return this.recorded.size > 0 && this.returnables.has(returnKey({ exchange, key, body: body() }));
  }

  /** The copy's publish that is returned, if the source's was made after the cut. */
  returned(at: Place, exchange: string, key: string, body: string): Made | undefined {
    const name = returnKey({ exchange, key, body });
    const here = ({ entry }: Recorded): boolean => entry.connection === at.connection && entry.channel === at.channel;
    const recorded = this.mandatory.first(name, here);
    if (!recorded || !here(recorded)) return undefined;
    this.mandatory.remove(name, recorded);
    return recorded.made;
  }

  /** Whether the copy has not made all that the source had made on a channel (0: on all of the connection). */
  missingOn(connection: number, channel: number): boolean {
    if (channel !== 0) return this.channels.has(placeKey({ connection, channel }));
    for (const { entry } of this.recorded) if (entry.connection === connection) return true;
    return false;
  }

  /** A channel of the copy is no more, and with it what it had not got rid of. */
  drop(channel: Channel): void {
    for (const made of this.made) if (made.channel === channel) this.unmake(made);
  }

  /** What waits on a connection, in the app's order. */
  waitingOn(connection: number): Made[] {
    return [...this.made].filter((made) => made.connection === connection);
  }

  /** One that waits, and of which it holds. */
  find(holds: (made: Made) => boolean): Made | undefined {
    for (const made of this.made) if (holds(made)) return made;
    return undefined;
  }

  /** An address that each side has published otherwise to. */
  mismatch(): { readonly exchange: string; readonly key: string } | undefined {
    const kinds = new Set([...this.made].map(debtKey));
    for (const { entry } of this.recorded) if (kinds.has(debtKeyOf(entry))) return entry;
    return undefined;
  }

  /** An address the copy has not published to as the source did. */
  anyMissing(): Published | undefined {
    for (const { entry } of this.recorded) return entry;
    return undefined;
  }

  /**
   * The source's word stands: what it has made counts as made by the copy. What the copy has made, or makes next, to the
   * same address stands for it. Returns how many, and what the app is to be told.
   */
  writeOff(): { readonly count: number; readonly told: Told[] } {
    const told: Told[] = [];
    const missing = [...this.recorded];
    for (const recorded of missing) {
      this.unmiss(recorded);
      told.push(...this.outcomes.writeOff(placeKey(recorded.entry), recorded).map(toldOf));
      const twin = [...this.made].find((made) => debtKey(made) === debtKeyOf(recorded.entry));
      if (!twin) {
        this.debts.add(debtKeyOf(recorded.entry), recorded);
        continue;
      }
      this.unmake(twin);
      told.push(...this.pair(recorded, twin));
    }
    return { count: missing.length, told };
  }
}

interface Place {
  readonly connection: number;
  readonly channel: number;
}
const toldOf = (item: Recorded | Told): Told => ('of' in item ? item : { of: item.made!, ack: item.ack! });
const placeKey = ({ connection, channel }: Place): string => `${connection}/${channel}`;
const seqKey = ({ connection, channel, seq }: Place & { readonly seq: number }): string =>
  `${connection}/${channel}/${seq}`;
const likeOf = (exchange: string, key: string, digest: string, seq: number): string =>
  `${kindOf(exchange, key)}\0${sameKey(digest, seq > 0)}`;
const returnKey = (of: { readonly exchange: string; readonly key: string; readonly body: string }): string =>
  `${kindOf(of.exchange, of.key)}\0${of.body}`;
const debtKey = ({ exchange, key, seq }: Made): string => `${kindOf(exchange, key)}\0${seq > 0}`;
const debtKeyOf = ({ exchange, key, seq }: Published): string => `${kindOf(exchange, key)}\0${seq > 0}`;
const samePlace = (made: Made, entry: Published): boolean =>
  made.connection === entry.connection && made.channel.id === entry.channel;
