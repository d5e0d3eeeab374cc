/**
 * The simulated app: a state machine that speaks AMQP itself, bytes in and bytes out. No socket, no clock, no closure: it can
 * be cloned at any instant, as a process is. Its state is a hash chain for each queue over what it applied, in order.
 */
import { chained, Random } from '../random.ts';
import { AppChannel, type Incoming } from './channel.ts';
import { type AppConfig, type ConsumerConfig, decide } from './config.ts';
import { AppConnection, type Listener } from './connection.ts';
import { Outbox } from './outbox.ts';

/** One thing the app was given, in the order in which it was. */
export interface Entry {
  /** The queue of the consumer. */
  readonly queue: string;
  /** Number of an input, correlation id of a reply. */
  readonly item: string;
  /** applied; refused: handed back; again: applied before, so that only its handling was repeated. */
  readonly what: 'applied' | 'refused' | 'again';
  readonly redelivered: boolean;
}

/** A message in hand. */
export interface Job {
  readonly id: number;
  readonly consumer: ConsumerConfig;
  readonly channel: AppChannel;
  readonly tag: number;
  readonly n: number;
  readonly refused: boolean;
  /** Outputs whose confirm it waits for. */
  waiting: Set<string>;
}

type Task =
  | { readonly kind: 'work'; readonly job: number }
  | { readonly kind: 'flush' | 'tick' | 'beat' }
  | { readonly kind: 'dial'; readonly connection: number };

const textOf = (content: Incoming): string => Buffer.concat(content.chunks).toString('latin1');

export class App implements Listener {
  readonly config: AppConfig;
  readonly connections: AppConnection[];
  readonly channels: AppChannel[];
  readonly log: Entry[] = [];
  /** What was applied, in order: the chains are the replay of it. By queue. */
  readonly linked: { readonly queue: string; readonly item: string }[] = [];
  readonly chains = new Map<string, string>();
  /** The chain right after each item: part of the item's outputs. */
  readonly states = new Map<string, string>();
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
  /** Inputs that are applied, or (racy) going to be. */
  readonly taken = new Set<string>();
  private readonly refused = new Set<string>();
  private readonly jobs = new Map<number, Job>();
  private readonly lines = new Map<string, number[]>();
  /** Jobs that wait for an answer: more than one when a message came again. */
  private readonly calls = new Map<string, number[]>();
  private tasks: { readonly at: number; readonly task: Task }[] = [];
  private lastJob = 0;

  constructor(config: AppConfig) {
    this.config = config;
    this.random = new Random(`${config.seed}/app/${config.name}`);
    this.channels = config.channels.map((channel) => new AppChannel(channel));
    this.outbox = new Outbox(config);
    this.connections = Array.from({ length: config.connections }, (_, index) => {
      const own = this.channels.filter((channel) => channel.config.connection === index);
      return new AppConnection(index, own, this, config);
    });
    this.schedule(config.flush, { kind: 'flush' });
    if (config.heartbeat > 0) this.schedule(config.heartbeat * 200, { kind: 'beat' });
    if (config.ticks.count > 0) this.schedule(config.ticks.every, { kind: 'tick' });
    for (const { index } of this.connections) this.dials.push(index);
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
    for (const [id, job] of this.jobs) {
      if (!connection.channels.includes(job.channel)) continue;
      this.jobs.delete(id);
      const line = this.lines.get(job.consumer.tag);
      if (line) this.lines.set(job.consumer.tag, []);
    }
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
    return [...this.connections, ...this.channels].flatMap((part) => part.complaints);
  }

  /** Nothing in hand, nothing owed, nothing unconfirmed. */
  get idle(): boolean {
    if (this.jobs.size > 0 || this.ticked < this.config.ticks.count || this.outbox.waiting > 0) return false;
    return this.channels.every(
      (channel) =>
        channel.held.size === 0 &&
        channel.owed.length === 0 &&
        channel.unconfirmed.size + channel.unreturned.length === 0,
    );
  }

  get open(): boolean {
    return (
      this.connections.every(({ state }) => state === 'open') && this.channels.every(({ owed }) => owed.length === 0)
    );
  }

  /** In words for people: what it still waits for. */
  describe(): string {
    const channels = this.channels.map(
      (channel) =>
        `${channel.name} holds [${[...channel.held.keys()].slice(0, 8)}] owed ${channel.owed.length} unconfirmed [${[...channel.unconfirmed.keys()].slice(0, 8)}]`,
    );
    const states = this.connections.map(({ state }) => state).join();
    return `${this.config.name}: ${states}; ${this.taken.size} taken, ${this.jobs.size} in hand, ${this.calls.size} calls, ticked ${this.ticked}; ${channels.join('; ')}`;
  }

  private schedule(after: number, task: Task): void {
    this.tasks.push({ at: this.now + Math.max(1, after), task });
  }

  private run(task: Task): void {
    switch (task.kind) {
      case 'work':
        this.worked(task.job);
        return;
      case 'flush':
        for (const channel of this.channels) channel.flush(this.config.acksAll && this.random.chance(0.3));
        this.schedule(this.config.flush, task);
        return;
      case 'beat':
        for (const connection of this.connections) connection.beat();
        this.schedule(this.config.heartbeat * 200, task);
        return;
      case 'tick':
        this.tick();
        return;
      case 'dial':
        this.dials.push(task.connection);
    }
  }

  private tick(): void {
    const { every, count, publishOn } = this.config.ticks;
    this.ticked += 1;
    this.outbox.publish(this.channels[publishOn]!, `tick/${this.config.name}/${this.ticked}`, '-');
    if (this.ticked < count) this.schedule(every, { kind: 'tick' });
  }

  // ---- what its connections tell it

  ready(connection: AppConnection): void {
    for (const channel of connection.channels) channel.setUp(this.config.queues);
    // A call whose answer may have gone down with a connection is made again.
    for (const [correlation, ids] of this.calls) {
      const jobs = ids.map((id) => this.jobs.get(id)).filter((job) => job !== undefined);
      if (jobs.some((job) => connection.channels.includes(this.channels[job.consumer.publishOn]!)))
        this.outbox.again(correlation);
    }
  }

  opened(channel: AppChannel): void {
    this.outbox.opened(channel);
  }

  cancelled(channel: AppChannel, tag: string): void {
    const consumer = channel.consumer(tag);
    if (consumer) channel.renew(consumer);
  }

  returned(channel: AppChannel, content: Incoming): void {
    channel.returned(textOf(content).split(' ')[0]!);
  }

  confirmed(_channel: AppChannel, outputs: string[]): void {
    for (const output of outputs) {
      this.outbox.confirmed(output);
      for (const job of [...this.jobs.values()])
        if (job.waiting.delete(output) && job.waiting.size === 0) this.done(job, true);
    }
  }

  delivered(channel: AppChannel, content: Incoming): void {
    const consumer = channel.consumer(content.consumer);
    if (!consumer) {
      channel.complain(`a delivery for ${content.consumer}`);
      return;
    }
    channel.hold(content.tag, content.consumer);
    if (consumer.role === 'reply') this.reply(channel, consumer, content);
    else this.input(channel, consumer, content);
    const count = channel.count(consumer);
    if (consumer.renew > 0 && count % consumer.renew === 0 && !channel.cancelling.has(consumer.tag))
      channel.cancel(consumer);
    if (consumer.ask > 0 && count % consumer.ask === 0) channel.ask(this.config.outputQueue);
  }

  private reply(channel: AppChannel, consumer: ConsumerConfig, content: Incoming): void {
    const correlation = content.properties.correlation ?? '';
    const { tag, redelivered } = content;
    const jobs = (this.calls.get(correlation) ?? []).map((id) => this.jobs.get(id)).filter((job) => job !== undefined);
    this.calls.delete(correlation);
    if (jobs.length === 0) this.unexpectedReplies.push(correlation);
    const text = textOf(content);
    if (text !== `re:${correlation}`) channel.complain(`reply ${text.slice(0, 40)} to ${correlation}`);
    const again = this.states.has(`${consumer.queue}/${correlation}`);
    this.log.push({ queue: consumer.queue, item: correlation, what: again ? 'again' : 'applied', redelivered });
    if (!again) this.apply(consumer.queue, correlation);
    this.settle(channel, consumer, tag);
    for (const job of jobs) this.produce(job);
  }

  private input(channel: AppChannel, consumer: ConsumerConfig, content: Incoming): void {
    const [number, padding] = textOf(content).split(' ');
    const { queue } = consumer;
    const n = Number(number);
    const { tag, redelivered } = content;
    if (content.size !== `${number} ${padding} `.length + Number(padding))
      channel.complain(`message ${number} is damaged`);
    const item = `${queue}/${n}`;
    const again = this.taken.has(item);
    const refused = !again && !this.refused.has(item) && decide(this.config, queue, n).refuse;
    const what = refused ? 'refused' : again ? 'again' : 'applied';
    if (refused) this.refused.add(item);
    if (what === 'applied') this.taken.add(item);
    this.log.push({ queue, item: String(n), what, redelivered });
    if (what === 'applied' && !this.config.racy) this.apply(queue, String(n));
    this.lastJob += 1;
    const job: Job = { id: this.lastJob, consumer, channel, tag, n, refused, waiting: new Set() };
    this.jobs.set(job.id, job);
    this.accept(job);
  }

  private apply(queue: string, item: string): void {
    const chain = chained(this.chains.get(queue) ?? '', item);
    this.chains.set(queue, chain);
    this.states.set(`${queue}/${item}`, chain);
    this.linked.push({ queue, item });
  }

  // ---- work

  private accept(job: Job): void {
    const { consumer } = job;
    if (consumer.order === 'free') {
      this.start(job);
      return;
    }
    const line = this.lines.get(consumer.tag) ?? [];
    this.lines.set(consumer.tag, [...line, job.id]);
    if (line.length === 0) this.start(job);
  }

  private start(job: Job): void {
    this.schedule(this.random.between(0, job.consumer.work), { kind: 'work', job: job.id });
  }

  private worked(id: number): void {
    const job = this.jobs.get(id);
    if (!job) return;
    const { consumer, channel, n } = job;
    const decision = decide(this.config, consumer.queue, n);
    if (job.refused || decision.reject) {
      channel.settle(job.tag, n % 2 === 0 ? 'nack' : 'reject', job.refused);
      this.over(job);
    } else if (decision.call) {
      const correlation = `${this.config.name}/${consumer.queue}/${n}`;
      this.calls.set(correlation, [...(this.calls.get(correlation) ?? []), job.id]);
      this.outbox.call(this.channels[consumer.publishOn]!, correlation);
    } else this.produce(job);
  }

  private produce(job: Job): void {
    const { consumer, n } = job;
    const channel = this.channels[consumer.publishOn]!;
    const item = `${consumer.queue}/${n}`;
    if (!this.states.has(item)) this.apply(consumer.queue, String(n));
    const chain = this.states.get(item)!;
    if (consumer.done === 'first') this.done(job, false);
    const { outputs } = decide(this.config, consumer.queue, n);
    for (const output of outputs) {
      if (consumer.done === 'confirmed' && channel.config.confirm) job.waiting.add(output);
      this.outbox.publish(channel, output, chain);
    }
    if (consumer.done === 'first') this.over(job);
    else if (job.waiting.size === 0) this.done(job, true);
  }

  private done(job: Job, over: boolean): void {
    this.settle(job.channel, job.consumer, job.tag);
    if (over) this.over(job);
  }

  private settle(channel: AppChannel, { settle, every }: ConsumerConfig, tag: number): void {
    if (settle === 'each') {
      channel.settle(tag, 'ack', false);
      return;
    }
    channel.finish(tag);
    if (settle === 'every' && channel.doneSince >= every) channel.flush(this.config.acksAll && this.random.chance(0.1));
  }

  private over(job: Job): void {
    this.jobs.delete(job.id);
    const { consumer } = job;
    if (consumer.order === 'free') return;
    const line = (this.lines.get(consumer.tag) ?? []).filter((id) => id !== job.id);
    this.lines.set(consumer.tag, line);
    const next = this.jobs.get(line[0] ?? -1);
    if (next) this.start(next);
  }
}
