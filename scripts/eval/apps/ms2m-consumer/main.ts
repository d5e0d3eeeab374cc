/**
 * The consumer of the evaluation: what the paper's consumer does, with an oracle's needs added. It keeps all in memory, works
 * on one message at a time, acks by hand, connects again 3 s after a loss, and speaks MS2M (control.ts). Beyond the paper's
 * it remembers which messages it applied, and tells each to OUTPUTS, without confirms: when messages are worked on is seen there.
 *
 * GET /: 200 and counters, always. GET /state: all it remembers. consumer.py is the same in Python.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Channel, type ConsumeMessage, connect } from 'amqplib';
import { EVENTS, type Event, OUTPUTS, type Output } from '../../../../manifests/examples/broker.ts';
import { State } from '../../../../manifests/examples/consumer/state.ts';
import { controlOf, controlQueue } from './control.ts';

const url = process.env.AMQP_URL ?? 'amqp://localhost';
const prefetch = Number(process.env.PREFETCH ?? 50);
const workMs = Number(process.env.PROCESSING_DELAY_MS ?? 10);
const reconnectMs = Number(process.env.RECONNECT_MS ?? 3000);
const port = Number(process.env.PORT ?? 8080);

const say = (why: string): void => console.log(JSON.stringify({ at: new Date().toISOString(), why }));

/** In a copy the kernel's host name may still be the source's; the file is the pod's own. */
const podName = (): string => {
  if (process.env.POD_NAME !== undefined) return process.env.POD_NAME;
  try {
    return readFileSync('/etc/hostname', 'utf8').trim();
  } catch {
    return hostname();
  }
};

const consumer = podName();
const state = new State({ consumer, instance: randomUUID(), startedAt: new Date().toISOString() });
let connections = 0;
/** The queue it consumes; the replay queue between START_REPLAY and END_REPLAY, over losses of the connection too. */
let source: string = EVENTS.queue;

/** On one channel: what is in hand, and where more comes from. */
class Desk {
  readonly #channel: Channel;
  #waiting: ConsumeMessage[] = [];
  #busy = false;
  #tag = '';
  #turning: Promise<void> = Promise.resolve();

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  async open(): Promise<void> {
    const take = (message: ConsumeMessage | null): void => {
      if (!message) return;
      this.#waiting.push(message);
      if (!this.#busy) this.#work().catch((error: Error) => say(`connection lost at work: ${error.message}`));
    };
    this.#tag = (await this.#channel.consume(source, take)).consumerTag;
    say(`consuming ${source}`);
  }

  /** One turn after the other. */
  obey(body: Buffer): void {
    this.#turning = this.#turning
      .then(() => this.#turn(body.toString()))
      .catch((error: Error) => say(`turn failed: ${error.message}`));
  }

  async #turn(body: string): Promise<void> {
    const before = source;
    note(body);
    if (source === before) return;
    await this.#channel.cancel(this.#tag);
    // What it holds of the primary queue is its source's to do. What it holds of the replay queue is nobody else's: it comes first.
    if (source !== EVENTS.queue)
      for (const message of this.#waiting.splice(0)) this.#channel.nack(message, false, true);
    await this.open();
  }

  async #work(): Promise<void> {
    this.#busy = true;
    try {
      for (let message = this.#waiting.shift(); message; message = this.#waiting.shift()) {
        await sleep(workMs);
        const { seq } = JSON.parse(message.content.toString()) as Event;
        const index = state.apply(seq, message.content, message.fields.redelivered);
        const output: Output = { consumer, seq, index };
        this.#channel.publish(OUTPUTS.exchange, '', Buffer.from(JSON.stringify(output)));
        this.#channel.ack(message);
      }
    } finally {
      this.#busy = false;
    }
  }

  /** The connection is lost: what is in hand will be delivered again. */
  drop(): void {
    this.#waiting = [];
  }
}

/** Takes note of a control message; who consumes turns by it. */
const note = (body: string): void => {
  const control = controlOf(body, EVENTS.queue);
  say(control ? body : `unknown control message: ${body}`);
  if (control) source = control.type === 'START_REPLAY' ? control.queue : EVENTS.queue;
};

const begin = async (channel: Channel, desk: Desk): Promise<void> => {
  await channel.prefetch(prefetch);
  await channel.assertQueue(EVENTS.queue, { durable: true });
  const control = controlQueue(podName());
  await channel.assertQueue(control, { durable: true });
  // A copy must not consume beside its source: what it was told comes before what it consumes.
  for (let told = await channel.get(control, { noAck: true }); told; told = await channel.get(control, { noAck: true }))
    note(told.content.toString());
  await channel.consume(control, (message) => {
    if (!message) return;
    channel.ack(message);
    desk.obey(message.content);
  });
  await desk.open();
};

/** Resolves when the connection has gone. */
const session = async (): Promise<void> => {
  const connection = await connect(url, { noDelay: true });
  connections += 1;
  const gone = new Promise<void>((resolve) => connection.once('close', () => resolve()));
  connection.on('error', (error: Error) => say(`connection: ${error.message}`));
  const channel = await connection.createChannel();
  const close = (): void => void connection.close().catch(() => undefined);
  channel.on('error', (error: Error) => say(`channel: ${error.message}`));
  channel.on('close', close);
  const desk = new Desk(channel);
  await begin(channel, desk).catch(close);
  await gone;
  desk.drop();
};

createServer((request, response) => {
  const { count, last } = state.summary();
  const told = { processed: count, last_seq: last };
  const body = request.url === '/state' ? { ...state.snapshot(), connections } : told;
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}).listen(port, '0.0.0.0');

process.on('SIGTERM', () => process.exit(0));

for (;;) {
  await session().catch((error: Error) => say(`no connection: ${error.message}`));
  say(`connecting again in ${reconnectMs} ms`);
  await sleep(reconnectMs);
}
