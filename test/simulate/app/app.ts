/**
 * The simulated app: a state machine that speaks AMQP itself, bytes in and bytes out. No socket, no clock, no closure: it can
 * be cloned at any instant, as a process is.
 */
import { Random } from '../random.ts';
import { AppChannel, type Incoming } from './channel.ts';
import { type AppConfig, type ConsumerConfig, decide } from './config.ts';
import { AppConnection, type Listener } from './connection.ts';
import { Memory } from './memory.ts';
import { Outbox } from './outbox.ts';
import { Work, type Workshop } from './work.ts';

type Task =
  | { readonly kind: 'work'; readonly job: number }
  | { readonly kind: 'flush' | 'tick' | 'beat' | 'poll' }
  | { readonly kind: 'dial'; readonly connection: number };

/** A connection that is made late is made by then, ticks. */
const LATEST = 400;
const POLL = 4;

const textOf = (content: Incoming): string => Buffer.concat(content.chunks).toString('latin1');

export class App implements Listener, Workshop {
  readonly config: AppConfig;
  readonly connections: AppConnection[];
  readonly memory = new Memory();
  readonly outbox: Outbox;
  /** Connections that want a socket. */
  dials: number[] = [];
  /** Replies that nothing waited for any more. */
  unexpectedReplies: string[] = [];
  ticked = 0;
  /** How often a connection was lost, and the outputs that were unconfirmed then. */
  resets = 0;
  readonly doubts: string[] = [];
  private now = 0;
  private readonly random: Random;
  private readonly work: Work;
  /** Those of the config, in its order. */
  private readonly fixed: AppChannel[];
  private tasks: { readonly at: number; readonly task: Task }[] = [];

  constructor(config: AppConfig) {
    this.config = config;
    this.random = new Random(`${config.seed}/app/${config.name}`);
    this.fixed = config.channels.map((channel) => new AppChannel(channel));
    this.outbox = new Outbox(config);
    this.work = new Work(this);
    this.connections = Array.from({ length: config.connections }, (_, index) => {
      const own = this.fixed.filter((channel) => channel.config.connection === index);
      return new AppConnection(index, own, this, config);
    });
    this.schedule(config.flush, { kind: 'flush' });
    if (config.heartbeat > 0) this.schedule(config.heartbeat * 200, { kind: 'beat' });
    if (config.ticks.count > 0) this.schedule(config.ticks.every, { kind: 'tick' });
    if (this.polls) this.schedule(POLL, { kind: 'poll' });
    for (const { index } of this.connections)
      if (index === 0 || config.late === 0) this.dials.push(index);
      else this.schedule(LATEST, { kind: 'dial', connection: index });
  }

  /** It asks again and again. */
  get polls(): boolean {
    return this.config.channels.some(({ consumers }) => consumers.some(({ polled }) => polled));
  }

  get channels(): AppChannel[] {
    return this.connections.flatMap(({ channels }) => channels);
  }

  // ---- the world's side

  begin(connection: number): void {
    this.connections[connection]!.begin();
  }

  fromBroker(connection: number, bytes: Buffer): void {
    this.connections[connection]!.fromBroker(bytes);
  }

  /** The socket is gone: what it held is the broker's again, what it published may or may not have arrived. */
  closed(index: number): void {
    const connection = this.connections[index]!;
    if (connection.state === 'closed') return;
    const doubtful = connection.reset();
    this.doubts.push(...doubtful);
    this.resets += 1;
    this.outbox.doubt(doubtful);
    this.work.drop(connection.channels);
    this.schedule(this.random.between(2, 30), { kind: 'dial', connection: index });
  }

  advance(now: number): void {
    this.now = now;
    const due = this.tasks.filter(({ at }) => at <= now);
    if (due.length === 0) return;
    this.tasks = this.tasks.filter(({ at }) => at > now);
    for (const { task } of due.sort((a, b) => a.at - b.at)) this.run(task);
  }

  complaints(): string[] {
    return this.connections.flatMap((connection) => [...connection.complaints, ...connection.ofChannels()]);
  }

  /** Nothing in hand, nothing owed, nothing unconfirmed. */
  get idle(): boolean {
    if (this.work.size > 0 || this.ticked < this.config.ticks.count || this.outbox.waiting > 0) return false;
    return this.channels.every((channel) => channel.idle);
  }

  get open(): boolean {
    return this.connections.every(({ state }) => state === 'open') && this.channels.every(({ settled }) => settled);
  }

  /** All but what is made late. */
  get started(): boolean {
    const early = this.config.late === 0 ? this.connections : this.connections.slice(0, 1);
    return early.every(({ state, channels }) => state === 'open' && channels.every(({ settled }) => settled));
  }

  /** Asks for nothing more. */
  end(): void {
    this.tasks = this.tasks.filter(({ task }) => task.kind !== 'poll');
    for (const connection of this.connections) connection.end();
  }

  /** In words for people: what it still waits for. */
  describe(): string {
    const channels = this.channels.map(
      (channel) =>
        `${channel.name} holds [${[...channel.held.keys()].slice(0, 8)}] owed ${channel.owed.length} unconfirmed [${[...channel.unconfirmed.keys()].slice(0, 8)}]`,
    );
    const states = this.connections.map(({ state }) => state).join();
    const { taken } = this.memory;
    return `${this.config.name}: ${states}; ${taken.size} taken, ${this.work.size} in hand, ${this.work.calling} calls, ticked ${this.ticked}; ${channels.join('; ')}`;
  }

  // ---- time

  private schedule(after: number, task: Task): void {
    this.tasks.push({ at: this.now + Math.max(1, after), task });
  }

  private run(task: Task): void {
    switch (task.kind) {
      case 'work':
        this.work.worked(task.job);
        return;
      case 'flush':
        for (const channel of this.channels) channel.flush(this.acksAll(0.3));
        this.schedule(this.config.flush, task);
        return;
      case 'beat':
        for (const connection of this.connections) connection.beat();
        this.schedule(this.config.heartbeat * 200, task);
        return;
      case 'poll':
        for (const channel of this.channels) channel.poll();
        this.schedule(this.random.between(1, 3 * POLL), task);
        return;
      case 'tick':
        this.tick();
        return;
      case 'dial':
        if (this.connections[task.connection]!.state === 'down' && !this.dials.includes(task.connection))
          this.dials.push(task.connection);
    }
  }

  private tick(): void {
    const { every, count, publishOn } = this.config.ticks;
    this.ticked += 1;
    this.outbox.publish(this.fixed[publishOn]!, `tick/${this.config.name}/${this.ticked}`, '-');
    if (this.ticked < count) this.schedule(every, { kind: 'tick' });
  }

  // ---- for its work

  takeTime(longest: number, job: number): void {
    this.schedule(this.random.between(0, longest), { kind: 'work', job });
  }

  acksAll(share: number): boolean {
    return this.config.acksAll && this.random.chance(share);
  }

  /** Some messages have a channel of their own for their outputs, opened for it and closed after. */
  channelFor(consumer: ConsumerConfig, n: number): AppChannel {
    const usual = this.fixed[consumer.publishOn]!;
    if (consumer.side === 0 || n % consumer.side !== 0) return usual;
    const connection = this.connections[usual.config.connection]!;
    const index = this.config.queues.findIndex(({ name }) => name === consumer.queue);
    return connection.side(1000 + index * 300 + n, usual.config.confirm);
  }

  // ---- what its connections tell it

  ready(connection: AppConnection): void {
    for (const channel of connection.channels) channel.setUp(this.config.queues);
    // A call whose answer may have gone down with a connection is made again.
    for (const correlation of this.work.unanswered(connection.channels)) this.outbox.again(correlation);
  }

  opened(channel: AppChannel): void {
    this.outbox.opened(channel);
    channel.endIfDone(this.outbox.waits(channel));
  }

  cancelled(channel: AppChannel, tag: string): void {
    const consumer = channel.consumer(tag);
    if (consumer) channel.renew(consumer);
  }

  returned(channel: AppChannel, content: Incoming): void {
    channel.returned(textOf(content).split(' ')[0]!);
    channel.endIfDone(this.outbox.waits(channel));
  }

  confirmed(channel: AppChannel, outputs: string[]): void {
    for (const output of outputs) {
      this.outbox.confirmed(output);
      this.work.confirmed(output);
    }
    channel.endIfDone(this.outbox.waits(channel));
  }

  /** They are published again. */
  refused(outputs: string[]): void {
    for (const output of outputs) this.outbox.again(output);
  }

  delivered(channel: AppChannel, content: Incoming): void {
    const consumer = channel.consumer(content.consumer);
    if (!consumer) {
      channel.complain(`a delivery for ${content.consumer}`);
      return;
    }
    channel.hold(content.tag, content.consumer, consumer.polled);
    if (consumer.role === 'reply') this.reply(channel, consumer, content);
    else this.input(channel, consumer, content);
    const count = channel.count(consumer);
    if (consumer.renew > 0 && count % consumer.renew === 0 && !channel.cancelling.has(consumer.tag))
      channel.cancel(consumer);
    if (consumer.ask > 0 && count % consumer.ask === 0) channel.ask(this.config.outputQueue);
    if (this.memory.log.length === this.config.late) for (const { index } of this.connections) this.dialLate(index);
  }

  private dialLate(index: number): void {
    if (this.connections[index]!.state === 'down' && !this.dials.includes(index)) this.dials.push(index);
  }

  private reply(channel: AppChannel, consumer: ConsumerConfig, content: Incoming): void {
    const correlation = content.properties.correlation ?? '';
    const text = textOf(content);
    if (text !== `re:${correlation}`) channel.complain(`reply ${text.slice(0, 40)} to ${correlation}`);
    this.memory.answer(consumer.queue, correlation, content.redelivered);
    this.work.settle(channel, consumer, content.tag);
    if (!this.work.answered(correlation)) this.unexpectedReplies.push(correlation);
  }

  private input(channel: AppChannel, consumer: ConsumerConfig, content: Incoming): void {
    const [number, padding] = textOf(content).split(' ') as [string, string];
    const { queue } = consumer;
    const { tag, redelivered } = content;
    if (content.size !== `${number} ${padding} `.length + Number(padding))
      channel.complain(`message ${number} is damaged`);
    const n = Number(number);
    const what = this.memory.see(queue, number, redelivered, decide(this.config, queue, n).refuse);
    if (what === 'applied' && !this.config.racy) this.memory.apply(queue, number);
    this.work.begin(consumer, channel, tag, n, what === 'refused');
  }
}
