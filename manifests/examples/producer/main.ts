/** The producer as a program: RATE messages a second in bursts of BURST; GET / tells what was confirmed so far. */
import { createServer } from 'node:http';
import { connect } from 'amqplib';
import { declare } from '../broker.ts';
import { Producer } from './producer.ts';

const url = process.env.AMQP_URL ?? 'amqp://localhost';
const rate = Number(process.env.RATE ?? 60);
const burst = Number(process.env.BURST ?? 1);
const port = Number(process.env.PORT ?? 8080);

const connection = await connect(url);
const lost = (): never => process.exit(1);
connection.on('error', () => undefined);
connection.on('close', lost);
const channel = await connection.createConfirmChannel();
await declare(channel);
const producer = new Producer(channel, { rate, burst });

createServer((_request, response) => {
  const body = { sent: producer.sent, refused: producer.refused, confirmed: [...producer.confirmed] };
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}).listen(port, '0.0.0.0');

process.on('SIGTERM', () => producer.stop());
await producer.run();
console.log(JSON.stringify({ sent: producer.sent, refused: producer.refused, confirmed: producer.confirmed.size }));
connection.off('close', lost);
await connection.close();
process.exit(0);
