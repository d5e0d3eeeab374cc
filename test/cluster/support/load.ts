/** Messages for one app, what it answers, and the verdict. Runs in the test, straight at the broker. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, ChannelModel, ConfirmChannel } from 'amqplib';
import { Producer } from '../../../manifests/examples/producer/producer.ts';
import { judge, type SeenOutput, type Verdict } from '../../../scripts/demonstration/oracle.ts';
import { collectOutputs, collectorOf } from '../../../scripts/demonstration/outputs.ts';
import { until } from '../../../scripts/demonstration/until.ts';
import type { AppSnapshot } from '../apps/worker/app.ts';

export interface LoadOptions {
  rate: number;
  burst?: number;
  quorum?: boolean;
}

const names = (topic: string) => ({
  input: `${topic}.in`,
  output: `${topic}.out`,
  ticks: `${topic}.ticks`,
  calls: `${topic}.calls`,
});

/** The queues of `topic`, new and empty. Before the app starts: it declares none of them. */
export const declareTopic = async (channel: Channel, topic: string, quorum = false): Promise<void> => {
  const { input, output, ticks, calls } = names(topic);
  await removeTopic(channel, topic);
  for (const name of [input, output, ticks]) {
    const args = { 'x-queue-type': quorum && name === input ? 'quorum' : 'classic' };
    await channel.assertExchange(name, 'fanout', { durable: true });
    await channel.assertQueue(name, { durable: true, arguments: args });
    await channel.bindQueue(name, name, '');
  }
  await channel.assertQueue(calls, { durable: true });
};

export const removeTopic = async (channel: Channel, topic: string, replicas: readonly string[] = []): Promise<void> => {
  const { input, output, ticks, calls } = names(topic);
  for (const queue of [input, output, ticks, calls, ...replicas.map((name) => `${topic}.replies.${name}`)])
    await channel.deleteQueue(queue);
  for (const exchange of [input, output, ticks]) await channel.deleteExchange(exchange);
};

/** Answers every call; a repeated one would show in `calls`. */
const serveCalls = async (channel: Channel, queue: string): Promise<number[]> => {
  const calls: number[] = [];
  await channel.consume(queue, (message) => {
    if (!message) return;
    calls.push(Number(message.content.toString()));
    const { replyTo, correlationId } = message.properties;
    channel.publish('', String(replyTo), Buffer.from('done'), { correlationId: String(correlationId) });
    channel.ack(message);
  });
  return calls;
};

const collectTicks = async (channel: Channel, queue: string): Promise<number[]> => {
  const ticks: number[] = [];
  await channel.consume(
    queue,
    (message) => {
      if (message) ticks.push((JSON.parse(message.content.toString()) as { tick: number }).tick);
    },
    { noAck: true },
  );
  return ticks;
};

export interface Finding extends Verdict {
  /** Deliveries that came to a replica after a later one. */
  receivedOutOfOrder: number;
  /** Outputs of shutdown code. */
  shutdowns: number;
  /** Ticks missing, repeated or out of order. */
  brokenTicks: number;
  /** Calls made more than once. */
  repeatedCalls: number;
  /** Deliveries the broker marked as redelivered: nothing is ever handed back to it. */
  redelivered: number;
}

/** What every test demands, of whatever went on. */
export const EXACT: Partial<Finding> = {
  lost: 0,
  duplicated: 0,
  outputsLost: 0,
  outputsDuplicated: 0,
  stateMatches: true,
  receivedOutOfOrder: 0,
  shutdowns: 0,
  brokenTicks: 0,
  repeatedCalls: 0,
  redelivered: 0,
};

const descents = (list: readonly number[]): number =>
  list.filter((value, index) => index > 0 && value <= list[index - 1]!).length;

/**
 * Outputs that only a second voice can have made: of a process that speaks again after another has, or that says again, or
 * earlier things than, what it has said. A clone is the process it was made of; a restarted app is another. For one replica.
 */
export const secondVoices = (outputs: readonly SeenOutput[]): number => {
  const said = new Map<string, number>();
  let speaking = '';
  let count = 0;
  for (const { instance = '', index } of outputs as readonly (SeenOutput & { instance?: string })[]) {
    const before = said.get(instance);
    const back = before !== undefined && instance !== speaking;
    if (back || (before !== undefined && index <= before)) count += 1;
    said.set(instance, index);
    speaking = instance;
  }
  return count;
};

/** What it sends over a channel that has closed is an error. */
const endWith = (channel: ConfirmChannel, producer: Producer): void => {
  channel.on('close', () => producer.stop());
};

export class Load {
  readonly outputs: SeenOutput[];
  readonly ticks: number[];
  readonly calls: number[];
  readonly producer: Producer;
  readonly #topic: string;
  #channel: Channel;
  #running: Promise<void> | undefined;

  private constructor(
    topic: string,
    channel: Channel,
    producer: Producer,
    outputs: SeenOutput[],
    ticks: number[],
    calls: number[],
  ) {
    this.#topic = topic;
    this.#channel = channel;
    this.producer = producer;
    this.outputs = outputs;
    this.ticks = ticks;
    this.calls = calls;
  }

  /** On the topic's queues, which declareTopic made. */
  static async open(broker: ChannelModel, topic: string, { rate, burst = 1 }: LoadOptions): Promise<Load> {
    const { input, output, ticks, calls } = names(topic);
    const sending = await broker.createConfirmChannel();
    const producer = new Producer(sending, { rate, burst }, 64, input);
    endWith(sending, producer);
    const channel = await broker.createChannel();
    return new Load(
      topic,
      channel,
      producer,
      await collectOutputs(channel, output),
      await collectTicks(channel, ticks),
      await serveCalls(channel, calls),
    );
  }

  start(): void {
    this.#running = this.producer.run();
    // Told by stop().
    this.#running.catch(() => undefined);
  }

  /** Resolves when the app answers: the load is on. */
  flowing(): Promise<unknown> {
    const before = this.outputs.length;
    return until(`outputs of ${this.#topic}`, 30_000, async () => this.outputs.length >= before + 5, 50);
  }

  async stop(): Promise<void> {
    this.producer.stop();
    await this.#running;
  }

  /** Reads no more, so that the broker may go: what is said waits in the queue of outputs. It sends until the broker has gone. */
  async deafen(): Promise<void> {
    // Not close: what is on its way would be dropped, and it needs no ack.
    await this.#channel.cancel(collectorOf(names(this.#topic).output));
  }

  /** Sends and reads on, over another connection; of what it sent last it knows only what the broker has confirmed. */
  async rejoin(broker: ChannelModel): Promise<void> {
    await this.stop();
    this.#channel = await broker.createChannel();
    await collectOutputs(this.#channel, names(this.#topic).output, this.outputs);
    const sending = await broker.createConfirmChannel();
    this.producer.moveTo(sending);
    endWith(sending, this.producer);
    this.start();
  }

  /** Stops, waits until all is answered and at rest, and judges. */
  async finish(readStates: () => Promise<AppSnapshot[]>): Promise<Finding> {
    await this.stop();
    const { confirmed, bodies } = this.producer;
    await until('all to be answered', 45_000, async () => {
      return new Set(this.outputs.map(({ seq }) => seq)).size >= confirmed.size;
    }).catch(() => undefined);
    // Whatever would come twice has had its time, and timers have flushed.
    await sleep(1500);
    const states = await readStates();
    await sleep(200);
    const outputs = this.outputs.filter(({ seq }) => seq >= 0);
    const ticked = states.reduce((sum, { ticks }) => sum + ticks, 0);
    return {
      ...judge({ sent: bodies, confirmed, replicas: states, outputs }),
      receivedOutOfOrder: states.reduce((sum, { received }) => sum + descents(received), 0),
      shutdowns: this.outputs.length - outputs.length,
      brokenTicks: descents(this.ticks) + Math.max(0, ticked - this.ticks.length) + gapsIn(this.ticks),
      repeatedCalls: this.calls.length - new Set(this.calls).size,
      redelivered: states.reduce((sum, { redelivered }) => sum + redelivered, 0),
    };
  }
}

/** Numbers that should have come between those that did. */
const gapsIn = (ticks: readonly number[]): number => (ticks.at(-1) ?? 0) - new Set(ticks).size;
