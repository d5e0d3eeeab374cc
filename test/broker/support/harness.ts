/** One broker per test file, a relay before it, and amqplib clients on either way to it. */
import amqp, { type Channel, type ChannelModel, type ConfirmChannel, type ConsumeMessage } from 'amqplib';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { createRelay, type Relay, type RelayOptions, SessionRelay } from '../../../webhook/sidecar/relay.ts';
import { type RabbitMQ, startRabbitMQ } from './rabbitmq.ts';

const quiet = () => undefined;
export const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

export interface Harness {
  readonly broker: RabbitMQ;
  readonly relay: Relay;
  /** A client through the relay. */
  app(options?: string): Promise<ChannelModel>;
  /** A client that goes to the broker directly. */
  outside(options?: string): Promise<ChannelModel>;
  /** A client of whatever listens there on the broker's port. */
  client(host: string): Promise<ChannelModel>;
  /** Bytes in the relay's memory that its apps have not taken. */
  buffered(): number;
}

/** `relay` is new for every test. `options`: of the relay, beside where it relays to. */
export const useBroker = (options: Partial<RelayOptions> = {}): Harness => {
  let broker: RabbitMQ;
  let relay: Relay | undefined;
  let clients: ChannelModel[] = [];
  const connect = async (host: string, options = ''): Promise<ChannelModel> => {
    const client = await amqp.connect(`amqp://guest:guest@${host}:${broker.port}/${options}`);
    client.on('error', quiet);
    clients.push(client);
    return client;
  };
  const start = async (): Promise<void> => {
    relay = createRelay({
      brokers: [{ host: '127.0.0.1', port: broker.port, listen: '127.0.0.2' }],
      blindPorts: [],
      log,
      ...options,
    });
    await relay.start();
  };
  beforeAll(async () => {
    broker = await startRabbitMQ();
    await start();
  });
  afterEach(async () => {
    // One whose socket a test has destroyed never answers.
    await Promise.race([Promise.all(clients.map((client) => client.close().catch(quiet))), sleep(1000)]);
    clients = [];
    await relay?.stop(0);
    await start();
  });
  afterAll(async () => {
    await relay?.stop(0);
    await broker?.stop();
  });
  return {
    get broker() {
      return broker;
    },
    get relay() {
      if (!relay) throw new Error('no relay');
      return relay;
    },
    app: (options) => connect('127.0.0.2', options),
    outside: (options) => connect('127.0.0.1', options),
    client: (host) => connect(host),
    buffered: () => {
      let sum = 0;
      if (relay instanceof SessionRelay) for (const { app } of relay.connections) sum += app.writableLength;
      return sum;
    },
  };
};

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const until = async (holds: () => boolean, timeoutMs = 15_000, what = 'it'): Promise<void> => {
  const deadline = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`${what} did not come true within ${timeoutMs} ms`);
    await sleep(5);
  }
};

/** Publishes numbers first … last as text, confirmed. */
export const publishNumbers = async (client: ChannelModel, queue: string, first: number, last: number) => {
  const channel = await client.createConfirmChannel();
  for (let n = first; n <= last; n++) channel.sendToQueue(queue, Buffer.from(String(n)));
  await channel.waitForConfirms();
  await channel.close();
};

/** Nothing ready, nothing unacknowledged in any of the queues: asked until it is so (statistics come late). */
export const expectDrained = (harness: Harness, ...names: string[]): Promise<void> =>
  expectDrainedIn(harness, '/', names);

export const expectDrainedIn = async (harness: Harness, vhost: string, names: readonly string[]): Promise<void> => {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const queues = (await harness.broker.queues(vhost)).filter((queue) => names.includes(queue.name));
    const rest = queues.filter((queue) => queue.messages_ready + queue.messages_unacknowledged > 0);
    if (queues.length === names.length && rest.length === 0) return;
    if (Date.now() > deadline) {
      expect(rest).toEqual([]);
      expect(queues.map((queue) => queue.name).sort()).toEqual([...names].sort());
      return;
    }
    await sleep(200);
  }
};

export const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

export type { Channel, ChannelModel, ConfirmChannel, ConsumeMessage };
