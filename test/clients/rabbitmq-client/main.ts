/**
 * rabbitmq-client: a frame codec of its own, a channel to consume on and one to publish on. It reconnects, consumes again, and
 * gives a handler whose channel is gone up.
 */
import { once } from 'node:events';
import { Connection } from 'rabbitmq-client';
import { confirmed, connected, settings, started, take, work } from '../worker.ts';

const connection = new Connection(settings.url);
connection.on('connection', connected);
connection.on('error', (error: Error) => console.log(error.message));
const publisher = connection.createPublisher({ confirm: true });

const options = {
  queue: settings.input,
  // It asks for its queue before it consumes; as it is, and not as another one.
  queueOptions: { passive: true },
  qos: { prefetchCount: settings.prefetch },
  concurrency: 1,
};
const consumer = connection.createConsumer(options, async ({ body, redelivered = false }) => {
  // It parses JSON before it hands it over; written as JSON again, it is what the producer wrote.
  const input = { body: Buffer.from(JSON.stringify(body)), redelivered };
  take(input);
  const output = await work(input);
  await confirmed(() => publisher.send({ exchange: settings.output, routingKey: '', durable: true }, output));
  // Returned from here, it acks.
});
consumer.on('error', (error: Error) => console.log(error.message));
await once(consumer, 'ready');
started();
