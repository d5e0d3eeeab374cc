/** One channel of the simulated app: its books of what it holds and what is not confirmed. It complains of all that is odd. */
import { M, nameOf, type Properties, write } from '../amqp.ts';
import type { ChannelConfig, ConsumerConfig } from './config.ts';

export interface Held {
  /** Its tag at that time. */
  readonly consumer: string;
  done: boolean;
}

/** A content of the broker that is coming in. */
export interface Incoming {
  readonly method: number;
  readonly consumer: string;
  readonly tag: number;
  readonly redelivered: boolean;
  size: number | undefined;
  properties: Properties;
  chunks: Buffer[];
}

export interface Published {
  readonly output: string;
  readonly unroutable: boolean;
  returned: boolean;
}

const EVENTS = 40;
const MOST_POLLED = 5;

export class AppChannel {
  readonly config: ChannelConfig;
  open = false;
  /** Replies that are owed. */
  owed: number[] = [];
  /** Deliveries not settled, by tag. */
  readonly held = new Map<number, Held>();
  private readonly highest = new Map<string, number>();
  /** How many deliveries each consumer has had, and the tags of those that are there. */
  private readonly counts = new Map<string, number>();
  readonly consuming = new Set<string>();
  readonly cancelling = new Set<string>();
  /** How often a consumer was made anew: under another tag, or RabbitMQ gives it the credit of its predecessor, too. */
  private readonly renewals = new Map<string, number>();
  closing = false;
  doneSince = 0;
  published = 0;
  readonly unconfirmed = new Map<number, Published>();
  /** Not in confirm mode: unroutable ones not returned yet. */
  readonly unreturned: string[] = [];
  incoming: Incoming | undefined;
  out: Buffer[] = [];
  /** The last things that happened, for people. */
  readonly events: string[] = [];
  complaints: string[] = [];

  constructor(config: ChannelConfig) {
    this.config = config;
  }

  get name(): string {
    return `${this.config.connection}.${this.config.id}`;
  }

  note(what: string): void {
    this.events.push(what);
    if (this.events.length > EVENTS) this.events.shift();
  }

  complain(what: string): void {
    this.note(`COMPLAINS ${what}`);
    this.complaints.push(`channel ${this.name}: ${what}`);
  }

  request(frame: Buffer, reply: number): void {
    this.note(`> asks for ${nameOf(reply)}`);
    this.out.push(frame);
    this.owed.push(reply);
  }

  /** All that is asked for at the beginning, at once. */
  setUp(queues: readonly { readonly name: string; readonly quorum: boolean }[]): void {
    const { id, confirm, prefetch, global, consumers, side } = this.config;
    this.request(write.channelOpen(id), M.channelOpenOk);
    if (confirm) this.request(write.select(id), M.selectOk);
    if (side) return;
    for (const { name, quorum } of queues) this.request(write.declare(id, name, quorum), M.declareOk);
    if (prefetch > 0) this.request(write.qos(id, prefetch, global), M.qosOk);
    for (const consumer of consumers) if (!consumer.polled) this.consume(consumer);
  }

  /** The consumer that has this tag, or had it. */
  consumer(tag: string): ConsumerConfig | undefined {
    return this.config.consumers.find((each) => each.tag === tag.split('~')[0]);
  }

  /** Counts one more delivery of it. */
  count({ tag }: ConsumerConfig): number {
    const count = (this.counts.get(tag) ?? 0) + 1;
    this.counts.set(tag, count);
    return count;
  }

  /** After a cancel-ok. */
  renew(consumer: ConsumerConfig): void {
    this.cancelling.delete(consumer.tag);
    this.renewals.set(consumer.tag, (this.renewals.get(consumer.tag) ?? 0) + 1);
    this.consume(consumer);
  }

  consume(consumer: ConsumerConfig): void {
    this.request(write.consume(this.config.id, consumer.queue, this.tagOf(consumer), false), M.consumeOk);
  }

  /** Its deliveries are not asked for any more; the answer makes it anew. */
  cancel(consumer: ConsumerConfig): void {
    this.request(write.cancel(this.config.id, this.tagOf(consumer)), M.cancelOk);
    this.cancelling.add(consumer.tag);
  }

  /** Something else that has an answer. */
  ask(queue: string): void {
    this.request(write.declarePassive(this.config.id, queue), M.declareOk);
  }

  /** Gets one message, if it has not many already. */
  poll(): void {
    const polled = this.config.consumers.find((each) => each.polled);
    if (!polled || !this.open || this.incoming || this.owed.includes(M.getOk)) return;
    if (this.held.size >= MOST_POLLED) return;
    this.request(write.get(this.config.id, polled.queue), M.getOk);
  }

  /** A channel that was opened for one message's outputs is closed when they are out. */
  endIfDone(waits: boolean): void {
    if (!this.config.side || !this.open || this.closing || waits) return;
    if (this.unconfirmed.size + this.unreturned.length > 0) return;
    this.closing = true;
    this.request(write.channelClose(this.config.id), M.channelCloseOk);
  }

  /** Nothing is owed but what is asked for again and again. */
  get settled(): boolean {
    return this.owed.every((method) => method === M.getOk);
  }

  get idle(): boolean {
    return this.held.size === 0 && this.settled && this.unconfirmed.size + this.unreturned.length === 0;
  }

  private tagOf({ tag }: ConsumerConfig): string {
    const renewals = this.renewals.get(tag) ?? 0;
    return renewals === 0 ? tag : `${tag}~${renewals}`;
  }

  replied(method: number): void {
    // A queue sends cancel-ok itself, so that it may be later than what was asked after it.
    this.note(`< ${nameOf(method)}`);
    const index = this.owed.indexOf(method);
    if (index < 0) this.complain(`${nameOf(method)}, which nothing asked for`);
    else this.owed.splice(index, 1);
  }

  // ---- deliveries

  /** `polled`: it was asked for, one by one, which no prefetch limits. */
  hold(tag: number, consumer: string, polled: boolean): void {
    // Of a channel as a whole they need not rise: what waits for one consumer does not hold up another's.
    const last = this.highest.get(consumer) ?? 0;
    if (tag <= last) this.complain(`delivery tag ${tag} after ${last} for ${consumer}`);
    if (!polled && !this.consuming.has(consumer)) this.complain(`a delivery for ${consumer}, which does not consume`);
    this.highest.set(consumer, tag);
    this.note(`< deliver ${tag} ${consumer}`);
    this.held.set(tag, { consumer, done: false });
    const { prefetch, global } = this.config;
    if (prefetch === 0) return;
    let holds = 0;
    for (const each of this.held.values()) if (global || each.consumer === consumer) holds += 1;
    if (holds > prefetch) this.complain(`holds ${holds} deliveries of ${consumer}, prefetch ${prefetch}`);
  }

  /** Settles one at once, in the way said. */
  settle(tag: number, how: 'ack' | 'nack' | 'reject', requeue: boolean): void {
    const { id } = this.config;
    if (!this.held.delete(tag)) return;
    this.note(`> ${how} ${tag}${requeue ? ' requeue' : ''}`);
    if (how === 'ack') this.out.push(write.ack(id, tag, false));
    else this.out.push(how === 'nack' ? write.nack(id, tag, false, requeue) : write.reject(id, tag, requeue));
  }

  /** To be settled with others, by `flush`. */
  finish(tag: number): void {
    const held = this.held.get(tag);
    if (!held) return;
    held.done = true;
    this.doneSince += 1;
  }

  /**
   * Acks, by one multiple, all up to the first that is not done. `all`: may say it as tag 0, if that is all: it would settle
   * what is under way to the app, too.
   */
  flush(all: boolean): void {
    this.doneSince = 0;
    const { prefetch, consumers } = this.config;
    const sated = prefetch > 0 && this.held.size >= prefetch && this.renewals.size === 0 && consumers.length === 1;
    let last = 0;
    for (const [tag, { done }] of [...this.held].sort(([a], [b]) => a - b)) {
      if (!done) break;
      last = tag;
    }
    if (last === 0) return;
    for (const tag of [...this.held.keys()]) if (tag <= last) this.held.delete(tag);
    const everything = all && sated && this.held.size === 0;
    this.note(`> ack ${everything ? `all (${last})` : `up to ${last}`}`);
    this.out.push(write.ack(this.config.id, everything ? 0 : last, true));
  }

  // ---- publishes

  sent(output: string, unroutable: boolean): void {
    this.note(`> publish ${output}`);
    if (this.config.confirm) {
      this.published += 1;
      this.unconfirmed.set(this.published, { output, unroutable, returned: false });
    } else if (unroutable) this.unreturned.push(output);
  }

  returned(output: string): void {
    this.note(`< return ${output}`);
    const index = this.unreturned.indexOf(output);
    if (index >= 0) {
      this.unreturned.splice(index, 1);
      return;
    }
    for (const each of this.unconfirmed.values()) {
      if (each.output !== output || each.returned || !each.unroutable) continue;
      each.returned = true;
      return;
    }
    this.complain(`${output} was returned, which was not to be`);
  }

  /** The outputs that are refused by this: as if they had never been published. */
  refused(tag: number, multiple: boolean): string[] {
    const outputs: string[] = [];
    this.note(`< refuse ${tag}${multiple ? ' and before' : ''}`);
    for (const [seq, { output }] of this.unconfirmed) {
      if (multiple ? seq > tag : seq !== tag) continue;
      this.unconfirmed.delete(seq);
      outputs.push(output);
    }
    if (outputs.length === 0) this.complain(`publish ${tag} of ${this.published} was refused, which is not open`);
    return outputs;
  }

  /** The outputs that are confirmed by this. */
  confirmed(tag: number, multiple: boolean): string[] {
    const outputs: string[] = [];
    this.note(`< confirm ${tag}${multiple ? ' and before' : ''}`);
    for (const [seq, { output, unroutable, returned }] of this.unconfirmed) {
      if (multiple ? seq > tag : seq !== tag) continue;
      if (unroutable && !returned) this.complain(`${output} was confirmed before it was returned`);
      this.unconfirmed.delete(seq);
      outputs.push(output);
    }
    if (outputs.length === 0 || tag > this.published)
      this.complain(`publish ${tag} of ${this.published} was confirmed again${multiple ? ' (multiple)' : ''}`);
    return outputs;
  }

  /** The connection is gone, and all with it. Returns what may or may not have been published. */
  reset(): string[] {
    this.note('the connection is lost');
    const doubtful = [...this.unconfirmed.values()].map(({ output }) => output);
    this.open = false;
    this.closing = false;
    this.owed = [];
    this.held.clear();
    this.highest.clear();
    this.consuming.clear();
    this.cancelling.clear();
    this.renewals.clear();
    this.doneSince = 0;
    this.published = 0;
    this.unconfirmed.clear();
    this.unreturned.length = 0;
    this.incoming = undefined;
    this.out = [];
    return doubtful;
  }
}
