/**
 * A stateful consumer as people write them: one connection, manual ack, all state in memory. It has no reconnect code: when
 * its connection closes, it exits. It knows nothing of kubectl-shadow.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib';
import { declare, EVENTS, type Event, OUTPUTS, type Output } from '../broker.ts';
import { State } from './state.ts';

const url = process.env.AMQP_URL ?? 'amqp://localhost';
const prefetch = Number(process.env.PREFETCH ?? 50);
const delayMs = Number(process.env.PROCESSING_DELAY_MS ?? 10);
const port = Number(process.env.PORT ?? 8080);

const consumer = hostname();
const state = new State({ consumer, instance: randomUUID(), startedAt: new Date().toISOString() });

const exit = (why: string, code: number): never => {
  console.log(JSON.stringify({ at: new Date().toISOString(), why, ...state.summary() }));
  process.exit(code);
};

/** Calls `confirmed` when the broker has the output. */
const publish = (channel: ConfirmChannel, output: Output, confirmed: () => void): void => {
  const body = Buffer.from(JSON.stringify(output));
  const options = { persistent: true, contentType: 'application/json' };
  channel.publish(OUTPUTS.exchange, '', body, options, (error) =>
    error ? exit(`output ${output.seq} refused`, 1) : confirmed(),
  );
};

/** Work, apply, publish; the ack follows the broker's confirm, while the next message is worked on. */
const handle = async (channel: ConfirmChannel, message: ConsumeMessage): Promise<void> => {
  const { seq } = JSON.parse(message.content.toString()) as Event;
  await sleep(delayMs);
  const index = state.apply(seq, message.content, message.fields.redelivered);
  publish(channel, { consumer, seq, index }, () => channel.ack(message));
};

/** Runs `work` for one message at a time, in the order they came. */
const oneAtATime = (work: (message: ConsumeMessage) => Promise<void>): ((message: ConsumeMessage) => void) => {
  const waiting: ConsumeMessage[] = [];
  let busy = false;
  const run = async (): Promise<void> => {
    busy = true;
    for (let message = waiting.shift(); message; message = waiting.shift()) await work(message);
    busy = false;
  };
  return (message) => {
    waiting.push(message);
    if (!busy) run().catch((error: Error) => exit(`failed: ${error.message}`, 1));
  };
};

/** GET /: count, hash, last. GET /state: everything. 503 until it consumes. */
let consuming = false;
createServer((request, response) => {
  const body = request.url === '/state' ? state.snapshot() : state.summary();
  response.writeHead(consuming ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}).listen(port, '0.0.0.0');

process.on('SIGTERM', () => exit('terminated', 0));

const connection = await connect(url, { noDelay: true });
connection.on('error', (error: Error) => console.log(JSON.stringify({ why: error.message })));
connection.on('close', () => exit('connection closed', 1));
const channel = await connection.createConfirmChannel();
channel.on('close', () => exit('channel closed', 1));
await declare(channel);
await channel.prefetch(prefetch);
const take = oneAtATime((message) => handle(channel, message));
await channel.consume(EVENTS.queue, (message) => (message ? take(message) : exit('consumer cancelled', 1)));
consuming = true;
console.log(JSON.stringify({ at: new Date().toISOString(), why: 'consuming', consumer, prefetch, delayMs }));
