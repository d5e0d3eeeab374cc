/** The world outside the pods: who feeds the queues, answers calls, and collects what comes out. One client for all seeds. */
import amqp, { type Channel, type ChannelModel, type ConfirmChannel } from 'amqplib';
import type { Random } from './random.ts';

export interface Queues {
  readonly inputs: readonly { readonly name: string; readonly quorum: boolean }[];
  readonly output: string;
  readonly call: string;
  readonly reply: readonly string[];
}

/** What came out at the broker's other end. */
export interface OutsideEvents {
  collected(text: string): void;
  called(correlation: string): void;
}

export class Outside {
  private readonly client: ChannelModel;
  constructor(client: ChannelModel) {
    this.client = client;
  }

  static async connect(port: number): Promise<Outside> {
    const client = await amqp.connect(`amqp://guest:guest@127.0.0.1:${port}/?frameMax=131072`);
    client.on('error', () => undefined);
    return new Outside(client);
  }

  close(): Promise<void> {
    return this.client.close();
  }

  async visit(queues: Queues, events: OutsideEvents): Promise<Visit> {
    const feed = await this.client.createConfirmChannel();
    const watch = await this.client.createChannel();
    const visit = new Visit(feed, watch, queues);
    await visit.begin(events);
    return visit;
  }
}

/** One seed's part of it. */
export class Visit {
  private readonly feed: ConfirmChannel;
  private readonly watch: Channel;
  private readonly queues: Queues;
  private over = false;

  constructor(feed: ConfirmChannel, watch: Channel, queues: Queues) {
    this.feed = feed;
    this.watch = watch;
    this.queues = queues;
    for (const channel of [feed, watch]) channel.on('error', () => undefined);
  }

  private get names(): string[] {
    const { inputs, output, call, reply } = this.queues;
    return [...inputs.map(({ name }) => name), output, call, ...reply];
  }

  async begin(events: OutsideEvents): Promise<void> {
    for (const name of this.names) await this.watch.deleteQueue(name);
    for (const { name, quorum } of this.queues.inputs)
      await this.watch.assertQueue(name, { arguments: quorum ? { 'x-queue-type': 'quorum' } : {} });
    for (const name of this.names)
      if (!this.queues.inputs.some((queue) => queue.name === name)) await this.watch.assertQueue(name);
    await this.watch.consume(
      this.queues.output,
      (message) => message && !this.over && events.collected(message.content.toString('latin1')),
      { noAck: true },
    );
    await this.watch.consume(
      this.queues.call,
      (message) => {
        if (!message || this.over) return;
        const { correlationId, replyTo } = message.properties as { correlationId: string; replyTo: string };
        events.called(correlationId);
        this.feed.sendToQueue(replyTo, Buffer.from(`re:${correlationId}`), { correlationId });
      },
      { noAck: true },
    );
  }

  /** Resolves when the broker has confirmed it. */
  put(queue: string, n: number, random: Random): Promise<void> {
    const padding = Math.floor(random.next() ** 4 * 6000);
    const text = `${n} ${padding} `;
    const body = Buffer.alloc(text.length + padding, 97 + (n % 26));
    body.write(text, 'latin1');
    return new Promise((resolve, reject) => {
      this.feed.sendToQueue(queue, body, {}, (error: unknown) => (error ? reject(error) : resolve()));
    });
  }

  /** What is left, once: messages ready, and consumers, by queue; then the queues are no more. */
  async end(): Promise<string[]> {
    if (this.over) return [];
    this.over = true;
    // A queue learns of the end of its consumers a moment later than we do.
    let left = await this.left();
    for (let turn = 0; left.length > 0 && turn < 30; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      left = await this.left();
    }
    for (const name of this.names) await this.watch.deleteQueue(name);
    await this.watch.close();
    await this.feed.close();
    return left;
  }

  private async left(): Promise<string[]> {
    const left: string[] = [];
    for (const name of [...this.queues.inputs.map((queue) => queue.name), ...this.queues.reply]) {
      const { messageCount, consumerCount } = await this.watch.checkQueue(name);
      if (messageCount > 0) left.push(`${messageCount} messages in ${name}`);
      if (consumerCount > 0) left.push(`${consumerCount} consumers of ${name}`);
    }
    return left;
  }
}
