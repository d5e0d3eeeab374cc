/** The app that follows the control protocol, in a pod: AMQP_URL, QUEUE, EXCHANGE, PREFETCH, WORK_MS; GET on PORT tells its state. */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { hostname } from 'node:os';
import { CountingApp } from './counting.ts';

const { AMQP_URL = '', QUEUE = '', EXCHANGE = '', PREFETCH = '50', WORK_MS = '10', PORT = '8080' } = process.env;

const app = new CountingApp({
  url: AMQP_URL,
  queue: QUEUE,
  exchange: EXCHANGE,
  key: '',
  prefetch: Number(PREFETCH),
  workMs: Number(WORK_MS),
  reconnectMs: 3_000,
  // The copy's is another one, and this process does not start again.
  pod: hostname,
});
/** Of this memory: another one is another process that has begun anew. */
const instance = randomUUID();

createServer((_request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ instance, hostname: hostname(), ...app.state }));
}).listen(Number(PORT));

void app.run();
