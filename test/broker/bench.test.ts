/** What the bench puts between client and broker, without PerfTest: each passes all on, and a record is whole or it is said. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import amqp, { type ChannelModel } from 'amqplib';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Middle, openMiddle } from '../../scripts/bench/middles.ts';
import { costOf } from '../../scripts/bench/processes.ts';
import type { Mode } from '../../scripts/bench/rows.ts';
import { sleep, until } from './support/harness.ts';
import { type RabbitMQ, startRabbitMQ } from './support/rabbitmq.ts';

let broker: RabbitMQ;
let dir = '';
let middle: Middle | undefined;
let client: ChannelModel | undefined;

beforeAll(async () => {
  broker = await startRabbitMQ();
});
afterAll(() => broker?.stop());
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bench-'));
});
afterEach(async () => {
  // One whose socket a test has destroyed never answers.
  await Promise.race([client?.close().catch(() => undefined), sleep(1000)]);
  await middle?.stop();
  rmSync(dir, { recursive: true, force: true });
  client = undefined;
  middle = undefined;
});

/** The sidecar's sources run as its bundle does. */
const open = async (mode: Mode): Promise<Middle> => {
  const bundle = join(import.meta.dirname, '../../webhook/sidecar/main.ts');
  middle = await openMiddle(mode, { broker: { host: '127.0.0.1', port: broker.port }, toxiproxy: '', bundle, dir });
  return middle;
};

/** Publishes numbers, one every millisecond or so, and consumes them on the same connection. */
const traffic = async ({ host, port }: Middle, queue: string) => {
  const opened = await amqp.connect({ hostname: host, port });
  client = opened;
  opened.on('error', () => undefined);
  const channel = await opened.createConfirmChannel();
  await channel.assertQueue(queue, { autoDelete: false });
  await channel.purgeQueue(queue);
  const received: number[] = [];
  await channel.consume(queue, (message) => {
    if (!message) return;
    received.push(Number(message.content));
    channel.ack(message);
  });
  let sent = 0;
  const timer = setInterval(() => channel.sendToQueue(queue, Buffer.from(`${++sent}`)), 1);
  return {
    received,
    stop: async (): Promise<number> => {
      clearInterval(timer);
      await channel.waitForConfirms();
      return sent;
    },
  };
};

test.each(['direct', 'pipe', 'sidecar', 'recording'] as const)('%s passes all on, in order', async (mode) => {
  const way = await open(mode);
  if (mode === 'recording') expect(() => way.assertReady()).toThrow('before the record began');
  const { received, stop } = await traffic(way, `bench-${mode}`);
  await way.prepare(1);
  await sleep(300);
  way.assertReady();
  const sent = await stop();
  await until(() => received.length >= sent);
  expect(received).toEqual(Array.from({ length: sent }, (_, index) => index + 1));
  if (way.pid !== undefined) expect(costOf(way.pid).rss).toBeGreaterThan(1 << 20);
});

test('a record that is lost is no sample', async () => {
  const way = await open('recording');
  const { stop } = await traffic(way, 'bench-lost');
  await way.prepare(1);
  way.assertReady();
  await stop();
  // The app ends without a word: its copy could not do that.
  const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } }).connection;
  stream.destroy();
  const ready = (): boolean => {
    try {
      way.assertReady();
      return true;
    } catch (error) {
      expect(String(error)).toContain('the record is lost');
      return false;
    }
  };
  await until(() => !ready());
});
