/**
 * The app's side of a copy's session while the record is played. What the app sends is put together unit by unit and judged;
 * it changes the session as it would, and goes nowhere. A unit that must wait holds up its channel, and no other.
 */
import type { AppSide } from '../app-side.ts';
import type { Channel } from '../channel.ts';
import { FRAME, Malformed, type Piece } from '../frames.ts';
import { METHOD, methodOf, readSettle, type Settle, type SettleKind } from '../methods.ts';
import type { Tap } from '../tap.ts';
import { progress, type Wires } from '../wires.ts';
import { PublishDigest, requestDigest } from './content.ts';
import type { Settling } from './expectations.ts';
import type { Made } from './publishes.ts';

/** Who knows the record. */
export interface Judge {
  publish(made: Made): void;
  settle(made: Settling): void;
  /** Whether the app may settle all there is by now, which is `tags`; else it waits. */
  mayAll(connection: number, channel: number, tags: Iterable<number>): boolean;
  /** matched: go on. kept: the source has not asked for it (yet). differs: never. */
  request(connection: number, channel: number, method: number, digest: string): 'matched' | 'kept' | 'differs';
  /** The app has closed a channel, or the broker has. */
  closed(connection: number, channel: Channel, by: 'app' | 'broker'): void;
}

interface Ordered {
  readonly piece: Piece;
  readonly order: number;
}
interface Unit {
  readonly method: number;
  readonly pieces: Ordered[];
}

const SETTLES: readonly number[] = [METHOD.basicAck, METHOD.basicNack, METHOD.basicReject];

const PASSABLE: readonly number[] = [METHOD.basicQos, METHOD.basicConsume, METHOD.basicCancel, METHOD.basicGet];

/** Exchanges and queues; qos, consume, cancel, get; settling all there is: other publishes and settlements mean the same. */
const isPassable = (unit: Unit): boolean =>
  unit.method >> 16 === 40 || unit.method >> 16 === 50 || PASSABLE.includes(unit.method) || settlesAll(unit);

const mayPass = (unit: Unit, waiting: readonly Unit[]): boolean =>
  waiting.length === 0 ||
  unit.method === METHOD.basicPublish ||
  SETTLES.includes(unit.method) ||
  // Requests keep their order among themselves.
  (isPassable(unit) && waiting.every(settlesAll));

/** ack or nack of tag 0, multiple. */
const settlesAll = ({ method, pieces }: Unit): boolean => {
  if (!SETTLES.includes(method)) return false;
  const { tag, multiple } = readSettle(method, pieces[0]!.piece.bytes);
  return multiple && tag === 0;
};

/** What the app's side of the session says of one settlement. */
class Heard implements Tap {
  settlements: {
    readonly channel: number;
    readonly tag: number;
    readonly how: SettleKind;
    readonly requeue: boolean;
  }[] = [];
  /** It settled what it does not hold. */
  mistaken = false;
  settled({ id }: Channel, tags: readonly number[], { kind: how, requeue }: Settle): void {
    for (const tag of tags) this.settlements.push({ channel: id, tag, how, requeue });
  }
  request(): void {
    this.mistaken = true;
  }
  publish(): void {}
  content(): void {}
  fromBroker(): void {}
  outcome(): void {}
  shown(): void {}
}

export class Twin {
  private readonly wires: Wires;
  private readonly appSide: AppSide;
  /** Contents under way, and units that wait, by channel. */
  private readonly building = new Map<number, { unit: Unit; content: { left: number | undefined } }>();
  private readonly queues = new Map<number, Unit[]>();
  private count = 0;
  judge: Judge | undefined;

  constructor(wires: Wires, appSide: AppSide) {
    this.wires = wires;
    this.appSide = appSide;
  }

  /** Units that wait for the source to ask for the same. */
  get waiting(): number {
    let sum = 0;
    for (const queue of this.queues.values()) sum += queue.length;
    return sum;
  }

  fromApp(piece: Piece): void {
    if (piece.type === FRAME.heartbeat) return;
    this.count += 1;
    // Copied: what waits must not keep whole chunks alive, and what is changed in place must not be anybody else's.
    const ordered = { piece: piece.kept(), order: this.count };
    if (piece.type === FRAME.method) this.begin(ordered);
    else this.content(ordered);
  }

  private begin(ordered: Ordered): void {
    const { piece } = ordered;
    if (this.building.has(piece.channel)) throw new Malformed('a method within a content', 'UNEXPECTED_FRAME');
    const unit = { method: methodOf(piece.bytes), pieces: [ordered] };
    if (unit.method === METHOD.basicPublish) this.building.set(piece.channel, { unit, content: { left: undefined } });
    else this.enqueue(piece.channel, unit);
  }

  private content(ordered: Ordered): void {
    const { piece } = ordered;
    const building = this.building.get(piece.channel);
    if (!building) throw new Malformed('a content without its method', 'UNEXPECTED_FRAME');
    building.unit.pieces.push(ordered);
    if (!progress(building.content, piece)) return;
    this.building.delete(piece.channel);
    this.enqueue(piece.channel, building.unit);
  }

  private enqueue(channel: number, unit: Unit): void {
    const queue = this.queues.get(channel);
    if (queue) queue.push(unit);
    else this.queues.set(channel, [unit]);
    this.drain(channel);
  }

  /**
   * Goes on with a channel as far as it can. What handlers do beside each other may come in another order than at the source:
   * behind a request that waits, publishes and settlements go on, unless it changes what they mean.
   */
  drain(channel: number): void {
    const queue = this.queues.get(channel);
    if (!queue) return;
    const waiting: Unit[] = [];
    while (queue.length > 0) {
      const unit = queue.shift()!;
      if (mayPass(unit, waiting) && this.done(channel, unit)) continue;
      waiting.push(unit);
      if (!isPassable(unit)) break;
    }
    waiting.push(...queue.splice(0));
    if (waiting.length === 0) this.queues.delete(channel);
    else this.queues.set(channel, waiting);
  }

  /** False: it waits. */
  private done(id: number, unit: Unit): boolean {
    const channel = this.wires.channels.get(id);
    const { method } = unit;
    if (id !== 0 && method !== METHOD.channelOpen) {
      // The broker hears nothing on a channel that it or the app has closed but the close-ok.
      if (!channel || channel.state === 'closing') return true;
      if (channel.state === 'refused' && method !== METHOD.channelCloseOk) return true;
      if (channel.state === 'orphan') return this.apply(unit);
    }
    if (method === METHOD.basicPublish) this.publish(channel!, unit);
    else if (SETTLES.includes(method)) return this.settle(channel!, unit);
    else return this.request(id, unit);
    return true;
  }

  private apply({ pieces }: Unit): true {
    for (const { piece } of pieces) this.appSide.handle(piece.kept());
    this.wires.toBroker.take();
    return true;
  }

  private publish(channel: Channel, unit: Unit): void {
    this.apply(unit);
    const [first, ...contents] = unit.pieces as [Ordered, ...Ordered[]];
    const digest = new PublishDigest(first.piece.bytes);
    for (const { piece } of contents) digest.add(piece);
    this.judge?.publish({
      connection: this.wires.connection,
      channel,
      seq: channel.confirm ? channel.published : 0,
      ...digest.address,
      digest: digest.done().digest,
      frames: unit.pieces.map(({ piece }) => piece.bytes),
      order: unit.pieces.at(-1)!.order,
    });
  }

  private settle(channel: Channel, unit: Unit): boolean {
    const { connection } = this.wires;
    if (settlesAll(unit) && !this.judge?.mayAll(connection, channel.id, channel.deliveries.handed())) return false;
    const heard = new Heard();
    this.wires.tap = heard;
    this.apply(unit);
    this.wires.tap = undefined;
    // A mistake has changed nothing, so it can be made again once the source has made it.
    if (heard.mistaken) return this.asked(channel.id, unit);
    for (const each of heard.settlements) this.judge?.settle({ connection, ...each });
    return true;
  }

  private asked(id: number, { method, pieces }: Unit): boolean {
    const digest = requestDigest(pieces[0]!.piece.bytes);
    return this.judge?.request(this.wires.connection, id, method, digest) === 'matched';
  }

  private request(id: number, unit: Unit): boolean {
    if (!this.asked(id, unit)) return false;
    const channel = this.wires.channels.get(id);
    this.apply(unit);
    if (unit.method === METHOD.channelClose && channel) this.judge?.closed(this.wires.connection, channel, 'app');
    return true;
  }

  /** What is left when the copy goes live, as it came: to be taken as ordinary input. */
  rest(): Ordered[] {
    const units = [...[...this.queues.values()].flat(), ...[...this.building.values()].map(({ unit }) => unit)];
    this.queues.clear();
    this.building.clear();
    return units.flatMap(({ pieces }) => pieces).sort((one, other) => one.order - other.order);
  }
}
