/** The messages the simulated app has in hand, from their delivery to their settlement. */
import type { AppChannel } from './channel.ts';
import { type AppConfig, type ConsumerConfig, decide } from './config.ts';
import type { Memory } from './memory.ts';
import type { Outbox } from './outbox.ts';

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

/** What it needs of its app. */
export interface Workshop {
  readonly config: AppConfig;
  readonly memory: Memory;
  readonly outbox: Outbox;
  /** Calls `worked` with the job's id after some time, `longest` ticks at most. */
  takeTime(longest: number, job: number): void;
  /** Whether to ack by tag 0, this time. */
  acksAll(share: number): boolean;
  /** Where the outputs of a message go. */
  channelFor(consumer: ConsumerConfig, n: number): AppChannel;
}

export class Work {
  private readonly shop: Workshop;
  private readonly jobs = new Map<number, Job>();
  private readonly lines = new Map<string, number[]>();
  /** Jobs that wait for an answer: more than one when a message came again. */
  private readonly calls = new Map<string, number[]>();
  private last = 0;

  constructor(shop: Workshop) {
    this.shop = shop;
  }

  get size(): number {
    return this.jobs.size;
  }

  get calling(): number {
    return this.calls.size;
  }

  begin(consumer: ConsumerConfig, channel: AppChannel, tag: number, n: number, refused: boolean): void {
    this.last += 1;
    const job: Job = { id: this.last, consumer, channel, tag, n, refused, waiting: new Set() };
    this.jobs.set(job.id, job);
    if (consumer.order === 'free') {
      this.start(job);
      return;
    }
    const line = this.lines.get(consumer.tag) ?? [];
    this.lines.set(consumer.tag, [...line, job.id]);
    if (line.length === 0) this.start(job);
  }

  private start(job: Job): void {
    this.shop.takeTime(job.consumer.work, job.id);
  }

  worked(id: number): void {
    const job = this.jobs.get(id);
    if (!job) return;
    const { consumer, channel, n } = job;
    const { config, outbox } = this.shop;
    const decision = decide(config, consumer.queue, n);
    if (job.refused || decision.reject) {
      channel.settle(job.tag, n % 2 === 0 ? 'nack' : 'reject', job.refused);
      this.over(job);
    } else if (decision.call) {
      const correlation = `${config.name}/${consumer.queue}/${n}`;
      this.calls.set(correlation, [...(this.calls.get(correlation) ?? []), job.id]);
      outbox.call(this.shop.channelFor({ ...consumer, side: 0 }, n), correlation);
    } else this.produce(job);
  }

  /** False: nothing waited for it. */
  answered(correlation: string): boolean {
    const jobs = this.waitingFor(correlation);
    this.calls.delete(correlation);
    for (const job of jobs) this.produce(job);
    return jobs.length > 0;
  }

  private waitingFor(correlation: string): Job[] {
    return (this.calls.get(correlation) ?? []).map((id) => this.jobs.get(id)).filter((job) => job !== undefined);
  }

  /** Calls that went over one of these channels and are not answered. */
  unanswered(channels: readonly AppChannel[]): string[] {
    const through = ({ consumer, n }: Job): boolean =>
      channels.includes(this.shop.channelFor({ ...consumer, side: 0 }, n));
    return [...this.calls.keys()].filter((correlation) => this.waitingFor(correlation).some(through));
  }

  private produce(job: Job): void {
    const { consumer, n } = job;
    const { config, memory, outbox } = this.shop;
    // One that came again has no channel of its own: whether the first one is closed yet is by when its confirms came, and an app
    // that goes by that does otherwise than its copy.
    const again = memory.stateOf(consumer.queue, String(n)) !== undefined;
    const channel = this.shop.channelFor(again ? { ...consumer, side: 0 } : consumer, n);
    const chain = memory.apply(consumer.queue, String(n));
    if (consumer.done === 'first') this.done(job, false);
    const { outputs } = decide(config, consumer.queue, n);
    for (const output of outputs) {
      if (consumer.done === 'confirmed' && channel.config.confirm) job.waiting.add(output);
      outbox.publish(channel, output, chain);
    }
    if (consumer.done === 'first') this.over(job);
    else if (job.waiting.size === 0) this.done(job, true);
  }

  confirmed(output: string): void {
    for (const job of [...this.jobs.values()])
      if (job.waiting.delete(output) && job.waiting.size === 0) this.done(job, true);
  }

  private done(job: Job, over: boolean): void {
    this.settle(job.channel, job.consumer, job.tag);
    if (over) this.over(job);
  }

  settle(channel: AppChannel, { settle, every }: ConsumerConfig, tag: number): void {
    if (settle === 'each') {
      channel.settle(tag, 'ack', false);
      return;
    }
    channel.finish(tag);
    if (settle === 'every' && channel.doneSince >= every) channel.flush(this.shop.acksAll(0.1));
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

  /** Their tags are nobody's any more. */
  drop(channels: readonly AppChannel[]): void {
    for (const [id, job] of this.jobs) {
      if (!channels.includes(job.channel)) continue;
      this.jobs.delete(id);
      this.lines.delete(job.consumer.tag);
    }
  }
}
