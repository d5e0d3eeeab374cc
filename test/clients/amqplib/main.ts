/** amqplib: one channel for all; it does not reconnect. */
import { type ConfirmChannel, type ConsumeMessage, connect } from 'amqplib';
import {
  confirmed,
  connected,
  exit,
  type Input,
  inOrder,
  type Output,
  settings,
  started,
  take,
  work,
} from '../worker.ts';

const connection = await connect(settings.url);
connected();
connection.on('error', (error: Error) => console.log(error.message));
connection.on('close', () => exit('connection closed', 1));
const channel = await connection.createConfirmChannel();
channel.on('close', () => exit('channel closed', 1));

const publish = (on: ConfirmChannel, output: Output): Promise<void> =>
  new Promise((resolve, reject) => {
    const body = Buffer.from(JSON.stringify(output));
    on.publish(settings.output, '', body, { persistent: true }, (error) => (error ? reject(error) : resolve()));
  });

const inputOf = ({ content, fields }: ConsumeMessage): Input => ({ body: content, redelivered: fields.redelivered });

const handle = inOrder(async (message: ConsumeMessage) => {
  const output = await work(inputOf(message));
  await confirmed(() => publish(channel, output));
  channel.ack(message);
});

await channel.prefetch(settings.prefetch);
await channel.consume(settings.input, (message) => {
  if (!message) return exit('consumer cancelled', 1);
  take(inputOf(message));
  handle(message);
});
started();
