/** The evaluation's consumers speak MS2M: where they consume, in which order, and what they leave to others. */
import type { Channel } from 'amqplib';
import { beforeEach, describe, expect, it } from 'vitest';
import { declare, EVENTS, OUTPUTS } from '../../manifests/examples/broker.ts';
import { controlQueue } from '../../manifests/examples/ms2m/app.ts';
import { until } from '../../scripts/demonstration/until.ts';
import { APPS } from '../../scripts/eval/results.ts';
import { type Consumer, startConsumer } from './support/consumer.ts';
import { sleep, useBroker } from './support/harness.ts';

const harness = useBroker();
const POD = 'consumer-0-shadow';
const REPLAY = `${EVENTS.queue}.ms2m-replay`;
const CONTROL = controlQueue(POD);
const MANY = 300;

const span = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe.each(APPS)('%s', (app) => {
  let channel: Channel;
  const start = (): Promise<Consumer> => startConsumer({ app, port: harness.broker.port, pod: POD });
  const send = (queue: string, seqs: readonly number[]): void => {
    for (const seq of seqs)
      channel.sendToQueue(queue, Buffer.from(JSON.stringify({ seq, sentAt: '', payload: '' })), { persistent: true });
  };
  const tell = (message: object): void => void channel.sendToQueue(CONTROL, Buffer.from(JSON.stringify(message)));

  beforeEach(async () => {
    channel = await (await harness.outside()).createChannel();
    for (const queue of [EVENTS.queue, OUTPUTS.queue, REPLAY, CONTROL]) await channel.deleteQueue(queue);
    await declare(channel);
    await channel.assertQueue(REPLAY, { durable: true });
    await channel.assertQueue(CONTROL, { durable: true });
  });

  const ready = async (queue: string): Promise<number> => (await channel.checkQueue(queue)).messageCount;

  it('turns to the replay queue and back, and hands back what it held of the primary one', async () => {
    const consumer = await start();
    send(EVENTS.queue, span(1, 30));
    await consumer.applied(30);
    send(REPLAY, span(1001, 1010));
    // Three prefetches of work: when it turns, it holds some of them.
    send(EVENTS.queue, span(31, 180));
    await consumer.applied(40);
    tell({ type: 'START_REPLAY', payload: { queue: REPLAY } });
    const turned = await until('the replay queue', 20_000, async () => {
      const { list } = await consumer.state();
      return list.includes(1010) ? list : undefined;
    });
    const replayed = turned.indexOf(1001);
    expect(turned.slice(0, replayed)).toEqual(span(1, replayed));
    expect(turned.slice(replayed)).toEqual(span(1001, 1010));
    // Nothing it held is kept from its source.
    expect(await ready(EVENTS.queue)).toBe(180 - replayed);
    tell({ type: 'END_REPLAY' });
    const { list, connections } = await consumer.applied(190);
    expect(list).toEqual([...span(1, replayed), ...span(1001, 1010), ...span(replayed + 1, 180)]);
    expect(connections).toBe(1);
    await until('all to be acked and told', 10_000, async () => (await ready(OUTPUTS.queue)) === 190);
  });

  it('hands back what it holds of the replay queue, in order, when it turns back', async () => {
    const consumer = await start();
    tell({ type: 'START_REPLAY', payload: { queue: REPLAY } });
    await until('it to turn', 20_000, async () => (await channel.checkQueue(REPLAY)).consumerCount === 1);
    send(EVENTS.queue, span(1001, 1010));
    // Seconds of work: it does not get through before it is told.
    send(REPLAY, span(1, MANY));
    await consumer.applied(5);
    tell({ type: 'END_REPLAY' });
    const { list } = await until('its own queue', 20_000, async () => {
      const now = await consumer.state();
      return now.list.includes(1010) ? now : undefined;
    });
    const replayed = list.indexOf(1001);
    expect(list).toEqual([...span(1, replayed), ...span(1001, 1010)]);
    expect(await ready(REPLAY)).toBe(MANY - replayed);
    expect(await channel.get(REPLAY, { noAck: true })).toMatchObject({
      content: Buffer.from(JSON.stringify({ seq: replayed + 1, sentAt: '', payload: '' })),
    });
  });

  it('a copy that is told before it connects does not consume beside its source', async () => {
    send(EVENTS.queue, span(1001, 1010));
    send(REPLAY, span(1, 10));
    tell({ type: 'START_REPLAY', payload: { queue: REPLAY } });
    const consumer = await start();
    const { list } = await consumer.applied(10);
    expect(list).toEqual(span(1, 10));
    await sleep(300);
    expect((await consumer.state()).list).toEqual(span(1, 10));
    expect(await ready(EVENTS.queue)).toBe(10);
    // Nor has it taken any for a moment.
    expect(await channel.get(EVENTS.queue)).toMatchObject({ fields: { redelivered: false } });
  });

  it('connects again to the queue it was turned to, and takes nonsense for none', async () => {
    const consumer = await start();
    tell({ type: 'START_REPLAY', payload: { queue: REPLAY } });
    tell({ type: 'START_REPLAY' });
    tell({ type: 'STOP' });
    channel.sendToQueue(CONTROL, Buffer.from('nonsense'));
    send(REPLAY, span(1, 5));
    await consumer.applied(5);
    const unsettled = async (): Promise<number> =>
      (await harness.broker.queues()).reduce((sum, each) => sum + each.messages_unacknowledged, 0);
    await until('all to be settled', 20_000, async () => (await unsettled()) === 0);
    await harness.broker.ctl('close_all_connections', 'test');
    channel = await (await harness.outside()).createChannel();
    await channel.assertQueue(REPLAY, { durable: true });
    send(REPLAY, span(6, 10));
    send(EVENTS.queue, [1001]);
    const { list, connections } = await consumer.applied(10);
    expect(list).toEqual(span(1, 10));
    expect(connections).toBe(2);
    expect(await ready(EVENTS.queue)).toBe(1);
  });
});
