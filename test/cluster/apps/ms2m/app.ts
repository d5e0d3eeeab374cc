/**
 * A consumer as the paper's workload has it, without our sidecar: prefetch, manual acknowledgement, some work a message, counts
 * in memory; it reconnects by itself, and follows the MS2M control protocol. What it leaves it has worked off or returned.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import amqp, { type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';

export interface Ms2mState {
  processed: number;
  /** Producer → number of its last message. */
  last: Record<string, number>;
  /** What came otherwise than one after the other. */
  violations: string[];
  /** The queue it was told to consume from. */
  queue: string;
}

export interface Ms2mOptions {
  url: string;
  queue: string;
  exchange: string;
  key: string;
  prefetch: number;
  /** Work a message, milliseconds. */
  delayMs: number;
  reconnectMs: number;
  /** How often it looks at its control queue. */
  pollMs: number;
  /** Read anew for each connection: a copy has another one. */
  pod(): string;
}

export class Ms2mApp {
  state: Ms2mState;
  private readonly options: Ms2mOptions;
  private connection: ChannelModel | undefined;
  private stopped = false;

  constructor(options: Ms2mOptions, state?: Ms2mState) {
    this.options = options;
    this.state = state ?? { processed: 0, last: {}, violations: [], queue: options.queue };
  }

  /** Until it is stopped. */
  async run(): Promise<void> {
    while (!this.stopped) {
      await this.serve().catch(() => undefined);
      if (!this.stopped) await sleep(this.options.reconnectMs);
    }
  }

  /** As a process that is killed. */
  kill(): void {
    this.stopped = true;
    this.drop();
  }

  /** The connection is lost. */
  drop(): void {
    (this.connection as unknown as { connection: { stream: { destroy(): void } } })?.connection.stream.destroy();
  }

  private async serve(): Promise<void> {
    const { url, queue, exchange, key, prefetch, pod } = this.options;
    const connection = await amqp.connect(url, { timeout: 5_000 });
    connection.on('error', () => undefined);
    this.connection = connection;
    if (this.stopped) return this.drop();
    const gone = new Promise<true>((resolve) => connection.once('close', () => resolve(true)));
    const control = `ms2m.control.${pod()}`;
    const commands = await connection.createChannel();
    await commands.assertQueue(control, { durable: true });
    await commands.assertExchange(exchange, 'fanout', { durable: true });
    await commands.assertQueue(queue, { durable: true });
    await commands.bindQueue(queue, exchange, key);
    const channel = await connection.createChannel();
    await channel.prefetch(prefetch);
    let over: true | undefined;
    while (over === undefined && !this.stopped) {
      await this.obey(commands, control);
      const leave = await this.consume(channel, this.state.queue);
      const told = this.state.queue;
      while (over === undefined && !this.stopped && this.state.queue === told) {
        over = await Promise.race([gone, sleep(this.options.pollMs, undefined)]);
        if (over === undefined) await this.obey(commands, control);
      }
      if (over === undefined) await leave();
    }
  }

  private async obey(commands: Channel, control: string): Promise<void> {
    for (;;) {
      const message = await commands.get(control, { noAck: true });
      if (message === false) return;
      const { type, payload } = JSON.parse(message.content.toString()) as { type: string; payload: { queue: string } };
      if (type === 'START_REPLAY') this.state.queue = payload.queue;
      if (type === 'END_REPLAY') this.state.queue = this.options.queue;
    }
  }

  /** Returns what ends it: the message under way is worked off, the rest returned. */
  private async consume(channel: Channel, queue: string): Promise<() => Promise<void>> {
    const waiting: ConsumeMessage[] = [];
    let working: Promise<void> | undefined;
    let leaving = false;
    const work = async (): Promise<void> => {
      for (let message = waiting.shift(); message !== undefined && !leaving; message = waiting.shift()) {
        await sleep(this.options.delayMs);
        if (this.stopped) return;
        // Of one turn: a checkpoint has both or none.
        this.apply(message);
        channel.ack(message);
      }
      working = undefined;
    };
    const { consumerTag } = await channel.consume(queue, (message) => {
      if (message === null) return;
      waiting.push(message);
      working ??= work().catch(() => undefined);
    });
    return async () => {
      leaving = true;
      await channel.cancel(consumerTag);
      await working;
      channel.nackAll(true);
    };
  }

  private apply(message: ConsumeMessage): void {
    const { state } = this;
    state.processed++;
    const { producer, n } = JSON.parse(message.content.toString()) as { producer?: string; n?: number };
    if (producer === undefined || n === undefined) return;
    const expected = (state.last[producer] ?? 0) + 1;
    if (n !== expected) state.violations.push(`${producer}: ${n} instead of ${expected}`);
    state.last[producer] = Math.max(n, expected);
  }
}
