/**
 * Plays a record to a copy's sessions: what the broker sent, in the record's order, each when the copy's app has come as far
 * as the source's had; what the app makes is matched with what the source's made and goes nowhere. Pure: time comes in.
 */
import type { Channel } from '../channel.ts';
import { METHOD, methodOf } from '../methods.ts';
import { contentOf, returnedFrom } from './content.ts';
import { difference, methodName } from './difference.ts';
import type { Down, Entry, Outcome } from './entries.ts';
import { Requests, Settles, type Settling, type Verdict } from './expectations.ts';
import { Gates, type Played } from './gates.ts';
import { Pending } from './pending.ts';
import { Progress } from './progress.ts';
import { type Made, Publishes, type Told } from './publishes.ts';
import type { Judge } from './twin.ts';

export interface PlayerOptions {
  readonly onDivergence: 'Abort' | 'Report';
  /** Longest time without progress, and longest age of a recorded output the copy has not made, milliseconds. */
  readonly stallMs: number;
}

export class Player implements Judge {
  /** Entries received, and of them those that are played, matched or told. */
  received = 0;
  played = 0;
  matched = 0;
  /** Outputs of the copy's app that went nowhere. */
  swallowed = 0;
  diverged = 0;
  /** The first divergence, in words for people. */
  divergence: string | undefined;
  /** The copy must not go on: it diverged, or the record can't be played. */
  failure: { readonly code: 'SHADOW_E_DIVERGED' | 'SHADOW_E_RECORD'; readonly why: string } | undefined;
  ended = false;
  /** Sessions that have something to say. */
  touched = new Set<number>();
  private readonly options: PlayerOptions;
  private readonly sessions = new Map<number, Played>();
  private readonly pending = new Pending();
  private readonly publishes = new Publishes();
  private readonly settles = new Settles();
  private readonly requests = new Requests();
  private readonly gates = new Gates(this.sessions, this.publishes, this.settles, this.requests);
  private readonly progress: Progress;
  private advancing = false;

  constructor(sessions: Iterable<Played>, options: PlayerOptions) {
    this.options = options;
    this.progress = new Progress(options.stallMs);
    for (const session of sessions) this.sessions.set(session.id, session);
  }

  // ---- what is known

  /** Recorded outputs the copy's app has not made, and deliveries it has not been handed. */
  get lag(): number {
    return this.pending.behind + this.missing;
  }

  /**
   * What was lag and is none any more. By it a pace is told: of what waits for nobody (outcomes, what is withheld) a copy plays
   * heaps at once.
   */
  get made(): number {
    return this.pending.owed - this.lag;
  }

  /** Bytes of deliveries and replies that are not released. */
  get heldBytes(): number {
    return this.pending.heldBytes;
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
    return this.ended && this.missing === 0 && this.failure === undefined && this.stranded === undefined;
  }

  // ---- the record

  feed(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.kind === 'end' && entry.entries !== this.received)
        this.fail('SHADOW_E_RECORD', `END counts ${entry.entries} entries, ${this.received} are here`);
      this.received += 1;
      this.pending.add(entry);
    }
    this.advance();
  }

  /** Releases all that may be released. Call it after each input of a session. */
  advance(): void {
    if (this.advancing) return;
    this.advancing = true;
    while (this.failure === undefined) {
      const entry = this.pending.next;
      if (entry === undefined || this.gates.gated(entry, this.progress.now)) break;
      this.pending.take(entry);
      try {
        this.perform(entry);
      } catch (error) {
        this.fail('SHADOW_E_RECORD', `a session does not take it: ${error instanceof Error ? error.message : error}`);
      }
    }
    this.pending.drop();
    this.advancing = false;
  }

  private perform(entry: Entry): void {
    switch (entry.kind) {
      case 'down':
        this.down(entry);
        return;
      case 'shown':
        this.session(entry)?.show(entry.channel, entry.tag);
        this.count(entry.connection);
        return;
      case 'publish': {
        const { matched, told } = this.publishes.expect(entry, this.progress.now);
        if (matched) this.match();
        this.tell(told);
        return;
      }
      case 'settle':
        this.settled(this.settles.expect(entry, this.progress.now), entry);
        // A settlement of all there is may have waited for that.
        this.sessions.get(entry.connection)?.drain(entry.channel);
        return;
      case 'request':
        this.requests.expect(entry, this.progress.now);
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
    this.progress.made();
    if (connection !== undefined) this.touched.add(connection);
  }

  /** `since`: the copy was expected to make it from then on. */
  private match(since = this.progress.now): void {
    this.matched += 1;
    this.swallowed += 1;
    this.progress.waited(since);
    this.count();
  }

  // ---- down

  private down(entry: Down): void {
    const session = this.session(entry);
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
    else if (matched === 'debt') this.swallowed += 1;
    this.tell(told);
  }

  settle(made: Settling): void {
    this.settled(this.settles.offer(made), made);
  }

  mayAll(connection: number, channel: number, tags: Iterable<number>): boolean {
    return this.settles.mayAll(connection, channel, tags);
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
      const asked = methodName(method);
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
    this.count();
    const session = this.session({ connection });
    if (session) this.tell(this.publishes.outcome({ connection, channel, seq }, ack, session.channel(channel)));
  }

  private tell(told: readonly Told[]): void {
    for (const { of, ack } of told) {
      if (of.seq === 0) continue;
      this.sessions.get(of.connection)?.confirm(of.channel, of.seq, ack);
      this.touched.add(of.connection);
    }
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
    this.progress.tick(now, this.lag === 0);
    const oldest = [this.publishes.oldest, this.settles.oldest, this.requests.oldest];
    if (this.failure === undefined && this.missing > 0 && this.progress.overdue(oldest, this.ended)) this.stalled();
    const stranded = this.ended && this.missing === 0 ? this.stranded : undefined;
    if (stranded) this.strand(stranded);
    this.advance();
  }

  private stalled(): void {
    const what = difference(this.publishes, this.settles, this.requests);
    const lostRequest = this.requests.anyMissing();
    const { count, told } = this.publishes.writeOff();
    this.diverge(count + this.settles.writeOff() + this.requests.missing, what);
    if (lostRequest) this.fail('SHADOW_E_DIVERGED', what);
    if (this.failure === undefined) this.tell(told);
    this.progress.restart();
  }

  /** A publish that waits on a channel which is no more could never be forwarded. */
  private get stranded(): Made | undefined {
    return this.publishes.find(
      ({ connection, channel }) =>
        channel.state !== 'open' || this.sessions.get(connection)?.channel(channel.id) !== channel,
    );
  }

  private strand({ exchange, key, channel }: Made): void {
    this.diverge(1, `the copy has published to exchange '${exchange}' by key '${key}' on a channel now closed`);
    this.publishes.drop(channel);
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

/** The same frames on another channel. */
const readdressed = (frames: Buffer, channel: number): Buffer => {
  for (let at = 0; at < frames.length; at += 8 + frames.readUInt32BE(at + 3)) frames.writeUInt16BE(channel, at + 1);
  return frames;
};
