/**
 * amqp-connection-manager: amqplib with a queue of its own before it. It reconnects, consumes again and publishes again what
 * had no confirm.
 */
import { connect } from 'amqp-connection-manager';
import type { ConsumeMessage } from 'amqplib';
import { confirmed, connected, type Input, inOrder, settings, started, take, work } from '../worker.ts';

const connection = connect([settings.url]);
connection.on('connect', connected);
connection.on('disconnect', ({ err }: { err: Error }) => console.log(`disconnected: ${err.message}`));
connection.on('connectFailed', ({ err }: { err: Error }) => console.log(`not connected: ${err.message}`));
const channel = connection.createChannel({ json: true });
channel.on('error', (error: Error) => console.log(error.message));

const inputOf = ({ content, fields }: ConsumeMessage): Input => ({ body: content, redelivered: fields.redelivered });

const handle = inOrder(async (message: ConsumeMessage) => {
  const output = await work(inputOf(message));
  await confirmed(() => channel.publish(settings.output, '', output, { persistent: true }));
  channel.ack(message);
});

await channel.waitForConnect();
await channel.consume(
  settings.input,
  (message) => {
    take(inputOf(message));
    handle(message);
  },
  { prefetch: settings.prefetch },
);
started();
