/** The relay on an ordinary day: an app behaves as without us (invariant 6). */
import { once } from 'node:events';
import net from 'node:net';
import { describe, expect, it } from 'vitest';
import {
  type ConsumeMessage,
  expectDrained,
  publishNumbers,
  range,
  sleep,
  until,
  useBroker,
} from './support/harness.ts';

const harness = useBroker();
const numberOf = (message: ConsumeMessage): number => Number(message.content.toString());

const answerToHttp = async (host: string): Promise<string> => {
  const socket = net.connect(harness.broker.port, host);
  // It may reset the connection after its answer.
  socket.on('error', () => undefined);
  socket.write('GET / HTTP/1.0\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return answer.toString('latin1');
};

describe('the relay', () => {
  it('passes confirms, returns, gets and large messages byte for byte', async () => {
    const client = await harness.app();
    const channel = await client.createConfirmChannel();
    await channel.assertQueue('large');
    const returned: unknown[] = [];
    channel.on('return', (message: ConsumeMessage) => returned.push(message.fields.routingKey));
    const bodies = [0, 1, 131_064, 131_065, 1_000_003].map((size) => Buffer.alloc(size, size % 251));
    for (const body of bodies) channel.sendToQueue('large', body, { headers: { x: 'y'.repeat(300) } });
    channel.publish('', 'nowhere', Buffer.from('lost'), { mandatory: true });
    await channel.waitForConfirms();
    expect(returned).toEqual(['nowhere']);
    for (const body of bodies) {
      const message = await channel.get('large');
      if (!message) throw new Error('no message');
      expect(message.content.equals(body)).toBe(true);
      expect(message.properties.headers?.x).toHaveLength(300);
      channel.ack(message);
    }
    expect(await channel.get('large', { noAck: true })).toBe(false);
    expect(harness.relay.report().delivered).toBe(bodies.length);
    await expectDrained(harness, 'large');
  });

  it('keeps several channels and consumers apart, with ack, multiple, nack, reject and no_ack', async () => {
    const client = await harness.app();
    const other = await harness.app();
    const outside = await harness.outside();
    const channels = [await client.createChannel(), await client.createChannel(), await other.createChannel()];
    const seen: number[][] = [[], [], [], []];
    const redelivered = new Set<number>();
    for (const name of ['q0', 'q1', 'q2', 'q3']) await channels[0]!.assertQueue(name);
    await channels[0]!.prefetch(10);
    await channels[0]!.consume('q0', (message) => {
      if (!message) return;
      seen[0]!.push(numberOf(message));
      if (numberOf(message) % 10 === 0) channels[0]!.ack(message, true);
    });
    await channels[1]!.prefetch(3);
    await channels[1]!.consume('q1', (message) => {
      if (!message) return;
      if (message.fields.redelivered) redelivered.add(numberOf(message));
      else if (numberOf(message) % 7 === 0) {
        channels[1]!.nack(message, false, true);
        return;
      }
      seen[1]!.push(numberOf(message));
      channels[1]!.ack(message);
    });
    await channels[2]!.consume('q2', (message) => {
      if (!message) return;
      seen[2]!.push(numberOf(message));
      channels[2]!.reject(message, false);
    });
    await channels[2]!.consume('q3', (message) => message && seen[3]!.push(numberOf(message)), { noAck: true });
    await Promise.all(['q0', 'q1', 'q2', 'q3'].map((name) => publishNumbers(outside, name, 1, 500)));
    await until(() => seen.every((each) => each.length === 500));
    expect([seen[0], seen[2], seen[3]]).toEqual([range(1, 500), range(1, 500), range(1, 500)]);
    expect([...seen[1]!].sort((a, b) => a - b)).toEqual(range(1, 500));
    expect([...redelivered].sort((a, b) => a - b)).toEqual(range(1, 71).map((n) => n * 7));
    await expectDrained(harness, 'q0', 'q1', 'q2', 'q3');
  });

  it('passes on what either side closes, and a mistake of the app, to that channel or connection alone', async () => {
    const client = await harness.app();
    const broken = await client.createChannel();
    const errors: string[] = [];
    broken.on('error', (error: Error) => errors.push(error.message));
    await broken.assertQueue('mistakes');
    broken.sendToQueue('mistakes', Buffer.from('1'));
    await sleep(100);
    const message = await broken.get('mistakes');
    if (!message) throw new Error('no message');
    broken.ack(message);
    broken.ack(message);
    await until(() => errors.length > 0);
    expect(errors[0]).toContain('PRECONDITION_FAILED - unknown delivery tag 1');
    const fine = await client.createChannel();
    await fine.checkQueue('mistakes');
    const closed = once(client, 'close');
    await harness.broker.ctl('close_all_connections', 'maintenance');
    await closed;
    await until(() => harness.relay.report().connections.length === 0);
  });

  it('closes the upstream when the app is gone without a word', async () => {
    const client = await harness.app();
    const channel = await client.createChannel();
    await channel.assertQueue('crash');
    channel.sendToQueue('crash', Buffer.from('1'));
    await channel.consume('crash', () => undefined);
    await until(() => harness.relay.report().connections[0]?.channels[0]?.unsettled === 1);
    (client.connection as unknown as { stream: net.Socket }).stream.destroy();
    await until(() => harness.relay.report().connections.length === 0);
    const outside = await (await harness.outside()).createChannel();
    let back = await outside.get('crash', { noAck: true });
    for (let turn = 0; turn < 50 && back === false; turn++) {
      await sleep(50);
      back = await outside.get('crash', { noAck: true });
    }
    expect(back !== false && back.fields.redelivered).toBe(true);
  });

  it('closes a connection of garbage, and that one only', async () => {
    const client = await harness.app();
    const channel = await client.createChannel();
    for (const bytes of [
      'AMQP\x00\x00\x09\x01\x09garbage-garbage',
      'AMQP\x00\x00\x09\x01\x01\x00\x00\xff\xff\xff\xff',
    ]) {
      const socket = net.connect(harness.broker.port, '127.0.0.2');
      const closed = new Promise((resolve) => socket.on('error', () => undefined).on('close', resolve));
      socket.resume();
      socket.write(Buffer.from(bytes, 'latin1'));
      await closed;
    }
    // The broker's own answer to a protocol it does not know: the newest it does know, another one in each version.
    const [own, ours] = await Promise.all(['127.0.0.1', '127.0.0.2'].map(answerToHttp));
    expect(own).toMatch(/^AMQP/);
    expect(ours).toBe(own);
    await channel.assertQueue('garbage');
  });

  it('takes a fast stream to a slow app without losing any, and without reading it all into memory', async () => {
    const outside = await harness.outside();
    const client = await harness.app();
    const channel = await client.createChannel();
    await channel.assertQueue('burst');
    const publisher = await outside.createConfirmChannel();
    const body = Buffer.alloc(100_000, 1);
    for (let n = 0; n < 400; n++) publisher.sendToQueue('burst', body);
    await publisher.waitForConfirms();
    const { stream } = client.connection as unknown as { stream: net.Socket };
    let seen = 0;
    await channel.consume('burst', () => (seen += 1), { noAck: true });
    stream.pause();
    await sleep(500);
    const { buffered } = harness;
    expect(buffered()).toBeLessThan(8 << 20);
    stream.resume();
    await until(() => seen === 400);
  });

  it('names what it could not hand over, and refuses to mute with it untouched', async () => {
    const client = await harness.app();
    const channel = await client.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.consume(queue, () => undefined);
    await channel.assertQueue('passing', { autoDelete: true });
    await channel.consume('passing', () => undefined, { exclusive: true });
    await channel.assertQueue('single', { arguments: { 'x-single-active-consumer': true } });
    await channel.consume('single', () => undefined);
    await channel.consume('amq.rabbitmq.reply-to', () => undefined, { noAck: true });
    const { hazards } = harness.relay.report();
    expect(hazards).toEqual([
      `connection 1: declared queue ${queue}, which is exclusive`,
      `connection 1, channel 1: consumes queue ${queue}, which is server-named`,
      'connection 1, channel 1: exclusive consumer on queue passing',
      'connection 1, channel 1: consumes queue passing, which is auto-delete',
      'connection 1, channel 1: consumes queue single, which is single active consumer',
      'connection 1, channel 1: consumes amq.rabbitmq.reply-to',
    ]);
    await expect(harness.relay.mute(1000)).rejects.toMatchObject({ code: 'SHADOW_E_SESSION' });
    await channel.checkQueue('passing');
  });

  it('knows what another connection of the pod has declared, and what would be gone by itself', async () => {
    const [declaring, consuming] = [await harness.app(), await harness.app()];
    const declarer = await declaring.createChannel();
    const channel = await consuming.createChannel();
    await declarer.assertQueue('fleeting', { autoDelete: true });
    await declarer.assertQueue('expiring', { expires: 5000 });
    await declarer.assertQueue('lasting', { expires: 3_600_000 });
    for (const name of ['fleeting', 'expiring', 'lasting']) await channel.consume(name, () => undefined);
    expect(harness.relay.report().hazards).toEqual([
      'connection 2, channel 1: consumes queue fleeting, which is auto-delete',
      'connection 2, channel 1: consumes queue expiring, which is gone after 5000 ms without consumers',
    ]);
    await expect(harness.relay.mute(1000)).rejects.toMatchObject({ code: 'SHADOW_E_SESSION' });
  });
});
