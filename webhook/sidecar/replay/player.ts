/**
 * Plays a record to a copy's sessions: what the broker sent, in the record's order, each when the copy's app has come as far
 * as the source's had; what the app makes is matched with what the source's made and goes nowhere. Pure: time comes in.
 */
import type { Channel } from '../channel.ts';
import { ARGUMENTS, METHOD, methodOf } from '../methods.ts';
import { contentOf, returnedFrom } from './content.ts';
import type { Down, Entry, Outcome, Shown } from './entries.ts';
import { Requests, Settles, type Settling, type Verdict } from './expectations.ts';
import { type Made, Publishes, type Told } from './publishes.ts';
import type { Judge } from './twin.ts';

/** A copy's session as its player needs it. */
export interface Played {
  readonly id: number;
  /** The channel as it is now. */
  channel(id: number): Channel | undefined;
  /** A unit from the broker; `withheld`: it is kept from the app until it is shown. */
  play(bytes: Buffer, withheld: boolean): void;
  show(channel: number, tag: number): void;
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

export interface PlayerOptions {
  readonly onDivergence: 'Abort' | 'Report';
  /** Longest time without progress, and longest age of a recorded output the copy has not made, milliseconds. */
  readonly stallMs: number;
}

/** An ack of the source's app is waited for so long before a delivery that came after it, milliseconds. */
const SOFT_MS = 30;

/** Shortest time without progress that is divergence, once the source is mute, milliseconds. */
const MUTE_STALL_MS = 1000;

/** What a delivery may be the answer to. */
interface Content {
  readonly body: string;
  readonly correlation: string;
}

export class Player implements Judge {
  /** Entries received, and of them those that are played, matched or told. */
  received = 0;
  played = 0;
  matched = 0;
  diverged = 0;
  /** The first divergence, in words for people. */
  divergence: string | undefined;
  /** The copy must not go on: it diverged, or the record can't be played. */
  failure: { readonly code: 'SHADOW_E_DIVERGED' | 'SHADOW_E_RECORD'; readonly why: string } | undefined;
  ended = false;
  /** Sessions that have something to say. */
  touched = new Set<number>();
  /** Bytes of deliveries and replies that are not released. */
  heldBytes = 0;
  private readonly options: PlayerOptions;
  private readonly sessions = new Map<number, Played>();
  private queue: Entry[] = [];
  private head = 0;
  /** Entries in the queue that count as lag. */
  private behind = 0;
  private readonly publishes = new Publishes();
  private readonly settles = new Settles();
  private readonly requests = new Requests();
  private readonly withheld = new Map<string, { readonly consumer: string; readonly content: () => Content }>();
  private looked: { readonly entry: Down; readonly content: Content } | undefined;
  private now = 0;
  private progressAt = 0;
  /** Longest time that an output of the source's has been waited for. */
  private slowest = 0;
  private progressed = true;
  private advancing = false;

  constructor(sessions: Iterable<Played>, options: PlayerOptions) {
    this.options = options;
    for (const session of sessions) this.sessions.set(session.id, session);
  }

  // ---- what is known

  /** Recorded outputs the copy's app has not made, and deliveries it has not been handed. */
  get lag(): number {
    return this.behind + this.missing;
  }

  private get missing(): number {
    return this.publishes.missing + this.settles.missing + this.requests.missing;
  }

  /** Outputs of the copy's app that the source's has not made (yet). */
  get waiting(): number {
    let units = 0;
    for (const session of this.sessions.values()) units += session.unitsWaiting;
    return this.publishes.waiting + this.settles.waiting + units;
  }

  /** All up to END is played and matched. */
  get done(): boolean {
    return this.ended && this.missing === 0 && this.failure === undefined;
  }

  // ---- the record

  feed(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.kind === 'end' && entry.entries !== this.received)
        this.fail('SHADOW_E_RECORD', `END counts ${entry.entries} entries, ${this.received} are here`);
      this.received += 1;
      this.queue.push(entry);
      if (lags(entry)) this.behind += 1;
      if (entry.kind === 'down') this.heldBytes += entry.bytes.length;
    }
    this.advance();
  }

  /** Releases all that may be released. Call it after each input of a session. */
  advance(): void {
    if (this.advancing) return;
    this.advancing = true;
    while (this.failure === undefined) {
      const entry = this.queue[this.head];
      if (entry === undefined || this.gated(entry)) break;
      this.head += 1;
      if (lags(entry)) this.behind -= 1;
      try {
        this.perform(entry);
      } catch (error) {
        this.fail('SHADOW_E_RECORD', `a session does not take it: ${error instanceof Error ? error.message : error}`);
      }
    }
    if (this.head > 1024 && this.head * 2 > this.queue.length) {
      this.queue = this.queue.slice(this.head);
      this.head = 0;
    }
    this.advancing = false;
  }

  private perform(entry: Entry): void {
    switch (entry.kind) {
      case 'down':
        this.down(entry);
        return;
      case 'shown':
        this.withheld.delete(deliveryKey(entry));
        this.session(entry)?.show(entry.channel, entry.tag);
        this.count(entry.connection);
        return;
      case 'publish': {
        const { matched, told } = this.publishes.expect(entry, this.now);
        if (matched) this.match();
        this.tell(told);
        return;
      }
      case 'settle':
        this.settled(this.settles.expect(entry, this.now), entry);
        return;
      case 'request':
        this.requests.expect(entry, this.now);
        this.session(entry)?.drain(entry.channel);
        return;
      case 'outcome':
        this.outcome(entry);
        return;
      case 'end':
        this.ended = true;
        this.count();
    }
  }

  private session({ connection }: { readonly connection: number }): Played | undefined {
    const session = this.sessions.get(connection);
    if (!session) this.fail('SHADOW_E_RECORD', `the record tells of connection ${connection}, which is not here`);
    return session;
  }

  private count(connection?: number): void {
    this.played += 1;
    this.progressed = true;
    if (connection !== undefined) this.touched.add(connection);
  }

  /** `since`: the copy was expected to make it from then on. */
  private match(since = this.now): void {
    this.matched += 1;
    this.slowest = Math.max(this.slowest, this.now - since);
    this.count();
  }

  // ---- down

  /**
   * The copy's app gets it when it has done what the source's had done when it came: settled what was settled, asked what was
   * asked on its channel, published what this may be the answer to (invariant 3, and that a reply never comes before its
   * question).
   */
  private gated(entry: Entry): boolean {
    if (entry.kind === 'shown') {
      const waiting = this.withheld.get(deliveryKey(entry));
      return waiting !== undefined && this.deliveryWaits(entry, waiting.consumer, waiting.content);
    }
    if (entry.kind !== 'down') return false;
    const { connection, channel, bytes, withheld } = entry;
    if (this.requests.missingOn(connection, channel)) return true;
    if (withheld) return false;
    if (this.sessions.get(connection)?.clogged) return true;
    switch (methodOf(bytes)) {
      case METHOD.basicDeliver:
        return this.deliveryWaits(entry, consumerOf(bytes), () => this.contentOfHead(entry));
      case METHOD.basicGetOk:
        return this.deliveryWaits(entry, undefined, () => this.contentOfHead(entry));
      case METHOD.basicReturn: {
        const { exchange, key } = returnedFrom(bytes);
        return this.publishes.mayReturn(exchange, key, () => this.contentOfHead(entry).body);
      }
      // It takes no more of what is on its way.
      case METHOD.channelClose:
      case METHOD.connectionClose:
        return this.settles.missing > 0 || this.publishes.missingOn(connection, channel);
      default:
        return false;
    }
  }

  private deliveryWaits(at: Shown | Down, consumer: string | undefined, content: () => Content): boolean {
    if (this.settles.missesRefusal) return true;
    // An ack that takes long (by a timer, with others) is waited for no longer than the broker would: it makes room.
    const late = this.now - (this.settles.oldest ?? this.now) >= SOFT_MS;
    if (this.settles.missing > 0 && !(late && this.sessions.get(at.connection)?.hasRoom(at.channel, consumer)))
      return true;
    return this.publishes.missing > 0 && this.answersMissing(content());
  }

  /** It is asked for again and again while it waits. */
  private contentOfHead(entry: Down): Content {
    if (this.looked?.entry !== entry) this.looked = { entry, content: contentOf(entry.bytes) };
    return this.looked.content;
  }

  private answersMissing({ body, correlation }: Content): boolean {
    return this.publishes.answers(body, correlation);
  }

  private down(entry: Down): void {
    const session = this.session(entry);
    this.heldBytes -= entry.bytes.length;
    if (!session) return;
    const { connection, channel, bytes } = entry;
    const method = methodOf(bytes);
    this.count(connection);
    if (method === METHOD.basicReturn) {
      this.giveBack(session, entry);
      return;
    }
    const before = method === METHOD.channelClose ? session.channel(channel) : undefined;
    session.play(bytes, entry.withheld);
    if (entry.withheld) {
      const content = contentOf(bytes);
      const waiting = { consumer: consumerOf(bytes), content: () => content };
      this.withheld.set(deliveryKey({ ...entry, tag: lastTag(session, channel) }), waiting);
    }
    if (before) this.closed(connection, before, 'broker');
  }

  /** What is returned belongs to the channel by which the copy published it. */
  private giveBack(session: Played, { connection, channel, bytes }: Down): void {
    const { exchange, key } = returnedFrom(bytes);
    const made = this.publishes.returned({ connection, channel }, exchange, key, contentOf(bytes).body);
    const at = made ? this.sessions.get(made.connection) : session;
    if (made && at?.channel(made.channel.id) !== made.channel) return;
    this.touched.add(at!.id);
    at?.play(made ? readdressed(bytes, made.channel.id) : bytes, false);
  }

  // ---- what the copy's app makes

  publish(made: Made): void {
    const { matched, since, told } = this.publishes.offer(made);
    if (matched === 'same') this.match(since);
    else if (matched === 'debt') this.progressed = true;
    this.tell(told);
  }

  settle(made: Settling): void {
    this.settled(this.settles.offer(made), made);
  }

  settleAll(connection: number, channel: number): void {
    for (let left = this.settles.offerAll(connection, channel); left > 0; left--) this.match();
  }

  private settled(verdict: Verdict | undefined, { connection, channel, tag, how }: Settling): void {
    // One of no delivery.
    if (verdict === undefined) this.count();
    if (verdict === undefined || verdict === 'kept') return;
    this.match();
    if (verdict === 'differs')
      this.diverge(1, `connection ${connection}, channel ${channel}: delivery ${tag} was settled otherwise (${how})`);
  }

  request(connection: number, channel: number, method: number, digest: string): Verdict {
    const verdict = this.requests.offer(connection, channel, method, digest);
    if (verdict === 'matched') this.match();
    if (verdict === 'differs') {
      const asked = `${method >> 16}.${method & 0xffff}`;
      const why = `connection ${connection}, channel ${channel}: asked ${asked}, the source's app something else`;
      // Its replies would not be the answers to what it asked: nobody's word can stand.
      this.diverge(1, why);
      this.fail('SHADOW_E_DIVERGED', why);
    }
    return verdict;
  }

  closed(connection: number, channel: Channel, by: 'app' | 'broker'): void {
    const ahead = this.settles.drop(connection, channel.id);
    if (by === 'broker') this.publishes.drop(channel);
    else if (ahead)
      this.diverge(
        1,
        `connection ${connection}, channel ${channel.id}: delivery ${ahead.tag} was settled by the copy only`,
      );
  }

  /** A connection of the copy's app is gone, without a word. */
  gone(why: string): void {
    this.fail('SHADOW_E_DIVERGED', why);
  }

  /** What came is no record. */
  unplayable(why: string): void {
    this.fail('SHADOW_E_RECORD', why);
  }

  private outcome({ connection, channel, seq, ack }: Outcome): void {
    const told = this.publishes.outcome(connection, channel, seq, ack);
    this.count();
    if (told !== 'before') {
      this.tell(told);
      return;
    }
    const session = this.session({ connection });
    const at = session?.channel(channel);
    if (!session || !at) return;
    session.confirm(at, seq, ack);
    this.touched.add(connection);
  }

  private tell(told: Told | undefined): void {
    if (!told || told.made.seq === 0) return;
    const { connection, channel, seq } = told.made;
    this.sessions.get(connection)?.confirm(channel, seq, told.ack);
    this.touched.add(connection);
  }

  // ---- divergence

  private fail(code: 'SHADOW_E_DIVERGED' | 'SHADOW_E_RECORD', why: string): void {
    this.failure ??= { code, why };
  }

  private diverge(count: number, what: string): void {
    this.diverged += count;
    this.divergence ??= what;
    if (this.options.onDivergence === 'Abort') this.fail('SHADOW_E_DIVERGED', what);
  }

  /** Time has come to `now`, milliseconds; to be told before the first entry, too. Finds out whether the copy goes otherwise than the source. */
  tick(now: number): void {
    this.now = now;
    if (this.progressed || this.lag === 0) this.progressAt = now;
    this.progressed = false;
    const oldest = [this.publishes.oldest, this.settles.oldest, this.requests.oldest].filter((at) => at !== undefined);
    const { stallMs } = this.options;
    const late = now - Math.min(this.progressAt, ...oldest) > stallMs;
    const still = now - this.progressAt > this.patience;
    if (this.failure === undefined && this.missing > 0 && (late || still)) this.stalled();
    else if (this.done) this.strand();
    this.advance();
  }

  /** How long nothing may come of what is missing. Once the source is mute nobody serves: then no longer than it ever took. */
  private get patience(): number {
    const { stallMs } = this.options;
    return this.ended ? Math.min(stallMs, MUTE_STALL_MS + 2 * this.slowest) : stallMs;
  }

  private stalled(): void {
    const what = this.difference();
    const lostRequest = this.requests.anyMissing();
    const { count, told } = this.publishes.writeOff();
    this.diverge(count + this.settles.writeOff() + this.requests.missing, what);
    if (lostRequest) this.fail('SHADOW_E_DIVERGED', what);
    if (this.failure === undefined) for (const each of told) this.tell(each);
    this.progressAt = this.now;
  }

  private difference(): string {
    const mismatch = this.publishes.mismatch();
    if (mismatch) return `both published to exchange '${mismatch.exchange}' by key '${mismatch.key}', but not the same`;
    const publish = this.publishes.anyMissing();
    if (publish) return `stalled: the copy has not published to exchange '${publish.exchange}' by key '${publish.key}'`;
    const settle = this.settles.anyMissing();
    if (settle)
      return `stalled: connection ${settle.connection}, channel ${settle.channel}: delivery ${settle.tag} is not settled`;
    const request = this.requests.anyMissing();
    return request
      ? `stalled: connection ${request.connection}, channel ${request.channel}: ${request.method >> 16}.${request.method & 0xffff} is not asked`
      : 'stalled';
  }

  /** A publish that waits on a channel which is no more could never be forwarded. */
  private strand(): void {
    const gone = ({ connection, channel }: Made): boolean =>
      channel.state !== 'open' || this.sessions.get(connection)?.channel(channel.id) !== channel;
    const made = this.publishes.stranded(gone);
    if (!made) return;
    this.diverge(
      1,
      `the copy has published to exchange '${made.exchange}' by key '${made.key}' on a channel now closed`,
    );
    this.publishes.drop(made.channel);
  }

  // ---- live

  /** What a connection's app has made that the source has not: to be forwarded, in this order. */
  publishesOf(connection: number): Made[] {
    return this.publishes.waitingOn(connection);
  }

  /** What it has settled that the source has not. */
  settlementsOf(connection: number): Settling[] {
    return this.settles.takeAhead(connection);
  }
}

const lags = (entry: Entry): boolean =>
  entry.kind === 'down' ? !entry.withheld : entry.kind !== 'outcome' && entry.kind !== 'end' && !ofNone(entry);

/** A settlement of all there is: what it settled follows. */
const ofNone = (entry: Entry): boolean => entry.kind === 'settle' && entry.tag === 0;

const deliveryKey = ({ connection, channel, tag }: Pick<Shown, 'connection' | 'channel' | 'tag'>): string =>
  `${connection}/${channel}/${tag}`;

/** The consumer's tag at the broker. */
const consumerOf = (deliver: Buffer): string =>
  deliver.toString('latin1', ARGUMENTS + 1, ARGUMENTS + 1 + deliver[ARGUMENTS]!);

const lastTag = (session: Played, channel: number): number => session.channel(channel)?.withheld.at(-1)?.tag ?? 0;

/** The same frames on another channel. */
const readdressed = (frames: Buffer, channel: number): Buffer => {
  for (let at = 0; at < frames.length; at += 8 + frames.readUInt32BE(at + 3)) frames.writeUInt16BE(channel, at + 1);
  return frames;
};
