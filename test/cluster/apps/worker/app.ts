/** What every kind of app of the cluster tests has: a connection, a memory, outputs, and what it tells over HTTP. */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib';
import { type Snapshot, State } from '../../../../manifests/examples/consumer/state.ts';

export interface AppSnapshot extends Snapshot {
  /** Sequence numbers in the order the broker delivered them: asynchronous handlers apply in another. */
  received: number[];
  /** Timer ticks published so far. */
  ticks: number;
}

export interface App {
  /** The name it started under; of two in a pod, with the container's. */
  readonly name: string;
  /** Prefix of its exchanges and queues. */
  readonly topic: string;
  readonly channel: ConfirmChannel;
  readonly received: number[];
  readonly seqOf: (message: ConsumeMessage) => number;
  /** Puts it into the memory and publishes its output; resolves with the broker's confirm. */
  readonly apply: (message: ConsumeMessage) => Promise<void>;
  /** One message at a time, in the order they came. */
  readonly oneAtATime: (work: (message: ConsumeMessage) => Promise<void>) => (message: ConsumeMessage) => void;
  readonly publish: (exchange: string, body: object) => Promise<void>;
  readonly consume: (take: (message: ConsumeMessage) => void, options?: { noAck: boolean }) => Promise<void>;
  ticks: number;
}

const exit = (why: string, code: number): never => {
  console.log(JSON.stringify({ at: new Date().toISOString(), why }));
  process.exit(code);
};
const fail = (error: Error): never => exit(`failed: ${error.stack}`, 1);

const queueOf = (work: (message: ConsumeMessage) => Promise<void>): ((message: ConsumeMessage) => void) => {
  let tail: Promise<unknown> = Promise.resolve();
  return (message) => {
    tail = tail.then(() => work(message)).catch(fail);
  };
};

const serve = (port: number, app: App, state: State, ready: () => boolean): void => {
  createServer((request, response) => {
    const all = (): AppSnapshot => ({ ...state.snapshot(), received: app.received, ticks: app.ticks });
    const body = request.url === '/state' ? all() : state.summary();
    response.writeHead(ready() ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }).listen(port, '0.0.0.0');
};

export const start = async (run: (app: App) => Promise<void>): Promise<void> => {
  const topic = process.env.TOPIC ?? 'app';
  const container = process.env.CONTAINER;
  const name = container ? `${hostname()}/${container}` : hostname();
  const instance = randomUUID();
  const state = new State({ consumer: name, instance, startedAt: new Date().toISOString() });

  const connection = await connect(process.env.AMQP_URL ?? 'amqp://localhost');
  connection.on('error', (error: Error) => console.log(error.message));
  connection.on('close', () => exit('connection closed', 1));
  const channel = await connection.createConfirmChannel();
  channel.on('close', () => exit('channel closed', 1));
  await channel.prefetch(Number(process.env.PREFETCH ?? 20));
  if (process.env.DECLARE)
    await channel.assertQueue(`${topic}.in`, { durable: true, arguments: { 'x-queue-type': 'classic' } });

  const publish: App['publish'] = (exchange, body) =>
    new Promise((resolve, reject) => {
      channel.publish(exchange, '', Buffer.from(JSON.stringify(body)), { persistent: true }, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  const seqOf: App['seqOf'] = (message) => (JSON.parse(message.content.toString()) as { seq: number }).seq;
  const app: App = {
    name,
    topic,
    channel,
    received: [],
    ticks: 0,
    seqOf,
    publish,
    oneAtATime: queueOf,
    apply: (message) => {
      const seq = seqOf(message);
      const index = state.apply(seq, message.content, message.fields.redelivered);
      return publish(`${topic}.out`, { consumer: name, seq, index, instance });
    },
    consume: async (take, options = { noAck: false }) => {
      await channel.consume(
        `${topic}.in`,
        (message) => {
          if (!message) return exit('consumer cancelled', 1);
          app.received.push(seqOf(message));
          take(message);
        },
        options,
      );
    },
  };

  // A copy that was superseded must never get here: this output would be one nobody asked for.
  process.on('SIGTERM', () =>
    publish(`${topic}.out`, { consumer: name, seq: -1, index: 0 }).finally(() => exit('terminated', 0)),
  );
  let ready = false;
  serve(Number(process.env.PORT ?? 8080), app, state, () => ready);
  await run(app);
  ready = true;
  console.log(JSON.stringify({ at: new Date().toISOString(), why: 'consuming', name }));
};
