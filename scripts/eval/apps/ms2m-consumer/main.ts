/**
 * The consumer of the evaluation: what the paper's consumer does, with an oracle's needs added. It keeps all in memory, works
 * on one message at a time, acks by hand, connects again 3 s after a loss, and speaks MS2M. Beyond the paper's it remembers
 * which messages it applied, and tells each to OUTPUTS, without confirms: when messages are worked on is seen there.
 *
 * GET /: 200 and counters, always. GET /state: all it remembers. consumer.py is the same in Python.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { EVENTS, type Event, OUTPUTS, type Output } from '../../../../manifests/examples/broker.ts';
import { State } from '../../../../manifests/examples/consumer/state.ts';
import { Ms2mApp } from '../../../../manifests/examples/ms2m/app.ts';

/** A copy has another one. */
const pod = (): string => process.env.POD_NAME ?? hostname();

const consumer = pod();
const state = new State({ consumer, instance: randomUUID(), startedAt: new Date().toISOString() });

const app = new Ms2mApp({
  url: process.env.AMQP_URL ?? 'amqp://localhost',
  queue: EVENTS.queue,
  prefetch: Number(process.env.PREFETCH ?? 50),
  workMs: Number(process.env.PROCESSING_DELAY_MS ?? 10),
  reconnectMs: Number(process.env.RECONNECT_MS ?? 3000),
  pod,
  declare: (channel) => channel.assertQueue(EVENTS.queue, { durable: true }),
  apply: ({ content, fields }, channel) => {
    const { seq } = JSON.parse(content.toString()) as Event;
    const index = state.apply(seq, content, fields.redelivered);
    const output: Output = { consumer, seq, index };
    channel.publish(OUTPUTS.exchange, '', Buffer.from(JSON.stringify(output)));
  },
  log: (why) => console.log(JSON.stringify({ at: new Date().toISOString(), why })),
});

createServer((request, response) => {
  const { count, last } = state.summary();
  const told = { processed: count, last_seq: last };
  const body = request.url === '/state' ? { ...state.snapshot(), connections: app.connections } : told;
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}).listen(Number(process.env.PORT ?? 8080), '0.0.0.0');

process.on('SIGTERM', () => process.exit(0));

void app.run();
