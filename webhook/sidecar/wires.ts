/** What both sides of one session share: its channels, its two outlets, and what came of it for the world outside. */
import type { Settlement } from '../api/control.ts';
import { Channel, type Consumer, type Content, type Withheld } from './channel.ts';
import { FRAME, HEADER_BYTES, Malformed, Outlet, type Piece } from './frames.ts';
import { encode, readTag } from './methods.ts';
import type { Tap, Valve } from './tap.ts';
import { Topology } from './topology.ts';

export type QueueType = 'classic' | 'quorum' | 'stream';

export class Wires {
  readonly connection: number;
  readonly channels = new Map<number, Channel>();
  /** What is owed on channel 0. */
  readonly control = new Channel(0);
  toApp = new Outlet();
  toBroker = new Outlet();
  settlements: Settlement[] = [];
  delivered = 0;
  published = 0;
  /** Since the first handoff or un-mute: the broker's count of what the app holds may be short, so ours decides. */
  guarded = false;
  /** connection.close was sent by that side. */
  closing: 'app' | 'broker' | undefined;
  /** The app was told connection.blocked. */
  blocked = false;
  /** What lives with this upstream connection only: queue → traits. */
  readonly queues = new Map<string, readonly string[]>();
  /** Queue → its type, if it was declared with one over this connection; of others it is not known. */
  readonly queueTypes = new Map<string, QueueType>();
  readonly declared = new Topology();
  renewedSecret = false;
  /** Sees what takes effect, while a record is made or played. */
  tap: Tap | undefined;
  /** While it throttles: deliveries reach the app by its credit only. */
  valve: Valve | undefined;
  /** While a record is played: whether the source withheld the delivery at hand. Nothing else decides it then. */
  told: boolean | undefined;

  constructor(connection: number) {
    this.connection = connection;
  }

  *openChannels(): Generator<Channel> {
    for (const channel of this.channels.values()) if (channel.state === 'open') yield channel;
  }

  /** Nothing of a content is under way to the app. */
  get betweenContents(): boolean {
    if (!this.toApp.atBoundary) return false;
    for (const { down } of this.channels.values()) if (down) return false;
    return true;
  }

  get waitsToConsume(): boolean {
    for (const channel of this.openChannels())
      for (const { suspended } of channel.consumers.values()) if (suspended) return true;
    return false;
  }

  get withheldBytes(): number {
    let sum = 0;
    for (const channel of this.channels.values()) sum += channel.withheldBytes;
    return sum;
  }

  /** Deliveries that are not settled; those carried from another upstream; those of one that was lost. */
  get outstanding(): number {
    let sum = 0;
    for (const channel of this.channels.values()) sum += channel.deliveries.size;
    return sum;
  }

  get carried(): number {
    let sum = 0;
    for (const channel of this.channels.values()) sum += channel.deliveries.carried;
    return sum;
  }

  get stale(): number {
    let sum = 0;
    for (const channel of this.channels.values()) sum += channel.deliveries.leftStale;
    return sum;
  }

  /** The app was told that the upstream it had blocks: this one does not. */
  unblock(): void {
    if (this.blocked) this.toApp.inject(encode.unblocked());
    this.blocked = false;
  }

  /** A frame of our own on a channel: never between the frames of a content of the app. */
  injectUp(channel: Channel, frame: Buffer): void {
    if (channel.up && !channel.up.lost) channel.waitingUp.push(frame);
    else this.toBroker.inject(frame);
  }

  endUp(channel: Channel): void {
    channel.up = undefined;
    for (const frame of channel.waitingUp) this.toBroker.inject(frame);
    channel.waitingUp = [];
  }

  settled(channel: Channel, tags: readonly number[], kind: Settlement['kind'], requeue: boolean): void {
    for (const tag of tags)
      this.settlements.push({ connection: this.connection, channel: channel.id, tag, kind, requeue });
  }

  /** Carried deliveries the app will never settle (its channel is closed): back to the queue, as the broker would do. */
  giveBack(channel: Channel, carried: readonly number[]): void {
    this.settled(channel, carried, 'nack', true);
  }

  /** The app is gone, or closes: nothing it holds will be settled by it. */
  giveBackAll(): void {
    for (const channel of this.channels.values()) this.giveBack(channel, channel.dismantle());
  }

  /** Must this delivery wait: behind those of its own consumer that wait already, its prefetch, or the throttle? */
  withholds(channel: Channel, consumer: Consumer): boolean {
    if (this.told !== undefined) return this.told;
    if (consumer.withheld > 0 || (channel.withheld.length > 0 && this.ordered(channel, consumer))) return true;
    return !this.admits(channel, consumer) || this.valve?.take() === false;
  }

  /**
   * Does it wait behind those of other consumers? While it throttles, yes. And where the app settles several at once: it would
   * settle, with a later one, what it has not been handed.
   */
  private ordered(channel: Channel, { noAck }: Consumer): boolean {
    return this.valve !== undefined || (channel.settlesMany && !noAck);
  }

  private admits(channel: Channel, consumer: Consumer): boolean {
    return !this.guarded || channel.admits(consumer);
  }

  /**
   * Hands out what prefetch and throttle admit by now, `most` at most, in their order. Returns how many.
   */
  release(channel: Channel, most = Number.POSITIVE_INFINITY): number {
    if (channel.withheld.length === 0) return 0;
    return this.handOut(channel, most, this.valve, (consumer) => this.ordered(channel, consumer));
  }

  /**
   * A message the app has asked for comes behind what was withheld by the throttle alone. And behind all that was, beyond its
   * prefetch, where the app settles several at once: it would settle, with this one, what it has not been handed, and might
   * refuse that later, when the broker has it for settled (invariant 1).
   */
  releaseBefore(channel: Channel): void {
    if (this.told === undefined && channel.settlesMany) {
      const whole = channel.withheld.filter((each) => each.whole);
      channel.withheld = channel.withheld.filter((each) => !each.whole);
      for (const each of whole) this.hand(channel, each);
    } else if (this.valve) this.handOut(channel, Number.POSITIVE_INFINITY, undefined, () => false);
  }

  /** What waits only behind another consumer's, and has for long: the app may need it to settle that. */
  loosen(channel: Channel): void {
    const [first] = channel.withheld;
    if (first !== undefined && first === channel.stuck)
      this.handOut(channel, Number.POSITIVE_INFINITY, this.valve, () => false);
    channel.stuck = channel.withheld[0];
  }

  private handOut(
    channel: Channel,
    most: number,
    valve: Valve | undefined,
    ordered: (consumer: Consumer) => boolean,
  ): number {
    if (this.told !== undefined || channel.withheld.length === 0 || (channel.down && !channel.filling)) return 0;
    const waiting = new Set<Consumer>();
    const kept: Withheld[] = [];
    let released = 0;
    let shut = false;
    for (const each of channel.withheld) {
      const { consumer, parting, whole } = each;
      const stays = (shut && ordered(consumer)) || released >= most || waiting.has(consumer) || !whole;
      if (stays || !(parting || (this.admits(channel, consumer) && valve?.take() !== false))) {
        waiting.add(consumer);
        shut = true;
        kept.push(each);
        continue;
      }
      this.hand(channel, each);
      released += 1;
    }
    channel.withheld = kept;
    return released;
  }

  /** Hands out one, as the source did. */
  show(channel: Channel, tag: number): void {
    const index = channel.withheld.findIndex((each) => each.tag === tag);
    const [shown] = index < 0 ? [] : channel.withheld.splice(index, 1);
    if (shown) this.hand(channel, shown);
  }

  private hand(channel: Channel, { tag, consumer, pieces }: Withheld): void {
    const bytes = Buffer.concat(pieces.map((piece) => piece.bytes));
    channel.withheldBytes -= bytes.length;
    consumer.withheld -= 1;
    channel.deliveries.show(tag);
    this.tap?.shown(channel, tag);
    this.toApp.inject(bytes);
  }

  /**
   * A consumer ends while deliveries of it are withheld: the app has never seen them and will not, so they go back as they
   * would have, had they not left the broker yet. The broker has forgotten those that nobody acknowledges: they are handed out.
   */
  endConsumer(channel: Channel, tag: string): void {
    const consumer = channel.consumers.get(tag);
    if (!consumer) return;
    channel.consumers.delete(tag);
    const theirs = channel.withheld.filter((each) => each.consumer === consumer);
    if (theirs.length === 0) return;
    if (consumer.noAck) {
      channel.withheld = channel.withheld.filter((each) => each.consumer !== consumer || !each.whole);
      for (const each of theirs) {
        each.parting = true;
        if (each.whole) this.hand(channel, each);
      }
      return;
    }
    channel.withheld = channel.withheld.filter((each) => each.consumer !== consumer);
    for (const each of theirs) {
      channel.withheldBytes -= each.pieces.reduce((sum, piece) => sum + piece.length, 0);
      if (!channel.deliveries.remove(each.tag)) continue;
      const upstream = each.tag - channel.deliveries.offset;
      if (upstream > 0) this.injectUp(channel, encode.settle(channel.id, 'reject', upstream, false, true));
      else this.giveBack(channel, [each.tag]);
    }
    consumer.withheld = 0;
  }

  /** basic.recover: the broker takes back all that is unsettled, withheld or not. */
  recover(channel: Channel): void {
    this.giveBack(channel, channel.deliveries.clear());
    for (const each of channel.withheld) each.consumer.withheld = 0;
    channel.withheld = [];
    channel.withheldBytes = 0;
  }
}

/** Follows a content through one more piece; true when that was its last. */
export const progress = (content: Content, piece: Piece): boolean => {
  if (piece.first) {
    if (piece.type === FRAME.header) {
      if (content.left !== undefined) throw new Malformed('two headers in one content', 'UNEXPECTED_FRAME');
      content.left = readTag(piece.chunk, piece.start + HEADER_BYTES + 4);
    } else {
      if (content.left === undefined || piece.size > content.left)
        throw new Malformed('body outside its content', 'UNEXPECTED_FRAME');
      content.left -= piece.size;
    }
  }
  return piece.last && content.left === 0;
};
