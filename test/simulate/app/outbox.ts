/** What the simulated app publishes: outputs, calls and ticks, and what becomes of them when a connection is lost. */
import { write } from '../amqp.ts';
import type { AppChannel } from './channel.ts';
import { type AppConfig, isUnroutable, paddingOf } from './config.ts';

interface Message {
  readonly id: string;
  readonly chain: string;
  readonly channel: AppChannel;
  readonly call: boolean;
}

export class Outbox {
  private readonly config: AppConfig;
  /** By id: not confirmed, or waiting for their channel. */
  private readonly pending = new Map<string, Message>();
  private queued: Message[] = [];
  /** Everything it published, in order; twice when it was in doubt. */
  readonly made: string[] = [];
  readonly confirms: string[] = [];
  /** Published without confirms: what a broken connection takes along of them is gone. */
  readonly loose = new Set<string>();

  constructor(config: AppConfig) {
    this.config = config;
  }

  get waiting(): number {
    return this.queued.length;
  }

  /** Something waits for this channel to be open. */
  waits(channel: AppChannel): boolean {
    return this.queued.some((message) => message.channel === channel);
  }

  publish(channel: AppChannel, id: string, chain: string): void {
    this.send({ id, chain, channel, call: false });
  }

  call(channel: AppChannel, correlation: string): void {
    this.send({ id: correlation, chain: '-', channel, call: true });
  }

  private send(message: Message): void {
    const { channel, id } = message;
    this.pending.set(id, message);
    if (!channel.open) this.queued.push(message);
    else this.write(message);
  }

  private write({ id, chain, channel, call }: Message): void {
    const { config } = this;
    const unroutable = !call && isUnroutable(config, id);
    const padding = paddingOf(config, id);
    const key = unroutable ? 'nowhere' : call ? config.callQueue : config.outputQueue;
    const properties = call ? { correlation: id, replyTo: config.replyQueue } : { messageId: id };
    const text = `${id} ${chain} ${config.name} ${padding} `;
    const body = Buffer.alloc(text.length + padding, id.at(-1));
    body.write(text, 'latin1');
    const publish = { exchange: '', key, mandatory: unroutable, properties, body };
    channel.out.push(...write.publish(channel.config.id, publish, config.frameMax));
    channel.sent(id, unroutable);
    this.made.push(id);
    if (channel.config.confirm) return;
    this.loose.add(id);
    if (!call) this.pending.delete(id);
  }

  confirmed(id: string): void {
    this.confirms.push(id);
    if (!this.pending.get(id)?.call) this.pending.delete(id);
  }

  /** The channel is open (again): what waited for it goes out. */
  opened(channel: AppChannel): void {
    const ready = this.queued.filter((message) => message.channel === channel);
    this.queued = this.queued.filter((message) => message.channel !== channel);
    for (const message of ready) this.write(message);
  }

  /** Confirmed neither way when their connection was lost: published once more. */
  doubt(ids: readonly string[]): void {
    for (const id of ids) {
      const message = this.pending.get(id);
      if (message && !this.queued.includes(message)) this.queued.push(message);
    }
  }

  again(correlation: string): void {
    const message = this.pending.get(correlation);
    if (message && !this.queued.includes(message)) this.send(message);
  }
}
