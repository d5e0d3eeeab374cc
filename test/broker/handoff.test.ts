/** Handoffs with real apps under load: nothing lost, nothing twice, order and prefetch kept (invariants 1 to 3). */
import { describe, expect, it } from 'vitest';
import { handOff } from './support/clone.ts';
import {
  type Channel,
  type ChannelModel,
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

/** How an app settles what it got. */
type Settling = 'each' | 'every 10' | 'all at times' | 'jitter';

interface App {
  seen: number[];
  /** Most deliveries held unsettled at once. */
  most(): number;
  redelivered: number[];
  /** Settles what is left. */
  flush(): void;
}

/** A consumer that publishes one output for each input, and settles as told. */
const consume = async (
  channel: Channel,
  queue: string,
  settling: Settling,
  random: () => number,
  output?: (n: number) => void,
): Promise<App> => {
  const seen: number[] = [];
  const redelivered: number[] = [];
  let held: ConsumeMessage[] = [];
  let most = 0;
  const settleUpTo = (message: ConsumeMessage): void => {
    held = held.filter((each) => each.fields.deliveryTag > message.fields.deliveryTag);
    channel.ack(message, true);
  };
  const settle = async (message: ConsumeMessage): Promise<void> => {
    if (settling === 'jitter') await sleep(random() * 8);
    if (settling === 'every 10') {
      if (held.length >= 10) settleUpTo(message);
    } else if (settling === 'all at times') {
      if (random() < 0.15) {
        held = [];
        channel.ackAll();
      }
    } else {
      held = held.filter((each) => each !== message);
      if (random() < 0.5) channel.ack(message);
      else channel.reject(message, false);
    }
  };
  await channel.consume(queue, (message) => {
    if (!message) return;
    held.push(message);
    most = Math.max(most, held.length);
    seen.push(numberOf(message));
    if (message.fields.redelivered) redelivered.push(numberOf(message));
    output?.(numberOf(message));
    void settle(message);
  });
  return {
    seen,
    redelivered,
    most: () => most,
    flush: () => {
      held = [];
      channel.ackAll();
    },
  };
};

/** A small generator: the same seed, the same schedule of the app (the broker keeps its own). */
const generator = (seed: number): (() => number) => {
  let state = seed * 2654435761 + 1;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 3266489917) | 0;
    return (state >>> 0) / 0x1_0000_0000;
  };
};

const feed = async (client: ChannelModel, queue: string, last: number): Promise<void> => {
  for (let first = 1; first <= last; first += 20) {
    await publishNumbers(client, queue, first, Math.min(last, first + 19));
    await sleep(10);
  }
};

const QUORUM = { 'x-queue-type': 'quorum' };
const SCHEDULES: { seed: number; settling: Settling; prefetch: number; arguments?: Record<string, string> }[] = [
  { seed: 1, settling: 'each', prefetch: 1 },
  { seed: 2, settling: 'each', prefetch: 50 },
  { seed: 3, settling: 'every 10', prefetch: 10 },
  { seed: 4, settling: 'every 10', prefetch: 25 },
  { seed: 5, settling: 'all at times', prefetch: 40 },
  { seed: 6, settling: 'jitter', prefetch: 7 },
  { seed: 7, settling: 'jitter', prefetch: 0 },
  { seed: 8, settling: 'jitter', prefetch: 5, arguments: QUORUM },
  { seed: 9, settling: 'each', prefetch: 30, arguments: QUORUM },
  { seed: 10, settling: 'every 10', prefetch: 30, arguments: QUORUM },
];

describe('two handoffs in a row', () => {
  it.each(SCHEDULES)('seed $seed: settling $settling, prefetch $prefetch $arguments', async (schedule) => {
    const random = generator(schedule.seed);
    const queue = `in-${schedule.seed}`;
    const outputs = `out-${schedule.seed}`;
    const outside = await harness.outside();
    const client = await harness.app();
    const publisher = await (await harness.app()).createConfirmChannel();
    const channel = await client.createChannel();
    await channel.assertQueue(queue, { arguments: schedule.arguments ?? {} });
    await channel.assertQueue(outputs);
    await channel.prefetch(schedule.prefetch);
    const confirmed: number[] = [];
    const app = await consume(channel, queue, schedule.settling, random, (n) =>
      publisher.sendToQueue(outputs, Buffer.from(String(n)), {}, (error: unknown) => {
        if (!error) confirmed.push(n);
      }),
    );
    const total = 600;
    const feeding = feed(outside, queue, total);
    const losses: string[] = [];
    for (const share of [0.2, 0.55]) {
      await until(() => app.seen.length > total * (share + 0.1 * random()));
      const handoff = await handOff(harness.relay, { latencyMs: random() * 20, pauseMs: random() * 60 });
      // An app that settles in batches may hold some until more come.
      await handoff.finish();
      losses.push(...handoff.losses);
    }
    await feeding;
    await until(() => app.seen.length >= total);
    await sleep(20);
    app.flush();
    await publisher.waitForConfirms();
    // A quorum queue takes back what is under way when its consumer is cancelled, flags it as redelivered and hands it out
    // late (docs/adr/0005-cancel-to-mute.md): order is the broker's there, each once is ours.
    const order = (numbers: number[]): number[] => (schedule.arguments ? numbers.toSorted((a, b) => a - b) : numbers);
    expect(order(app.seen)).toEqual(range(1, total));
    if (!schedule.arguments) expect(app.redelivered).toEqual([]);
    if (schedule.prefetch > 0) expect(app.most()).toBeLessThanOrEqual(schedule.prefetch);
    expect(confirmed.sort((a, b) => a - b)).toEqual(range(1, total));
    expect(losses).toEqual([]);
    const reader = await outside.createChannel();
    const out: number[] = [];
    for (let message = await reader.get(outputs, { noAck: true }); message; ) {
      out.push(Number(message.content.toString()));
      message = await reader.get(outputs, { noAck: true });
    }
    expect(order(out)).toEqual(range(1, total));
    await expectDrained(harness, queue, outputs);
  });

  it('beside a competing consumer, several connections, channels and consumers: each message once', async () => {
    const random = generator(99);
    const outside = await harness.outside();
    const rivals = await (await harness.outside()).createChannel();
    const clients = [await harness.app(), await harness.app()];
    const apps: App[] = [];
    const prefetches: number[] = [];
    await rivals.assertQueue('shared');
    await rivals.assertQueue('own');
    await rivals.prefetch(10);
    for (const client of clients) {
      for (const queue of ['shared', 'own']) {
        const channel = await client.createChannel();
        const prefetch = 1 + Math.floor(random() * 12);
        await channel.prefetch(prefetch);
        // Two consumers on one channel, each with a prefetch of its own.
        apps.push(await consume(channel, queue, 'jitter', random), await consume(channel, 'shared', 'jitter', random));
        prefetches.push(prefetch, prefetch);
      }
    }
    const rival = await consume(rivals, 'shared', 'jitter', random);
    const feeding = Promise.all([feed(outside, 'shared', 1500), feed(outside, 'own', 500)]);
    for (let turn = 0; turn < 3; turn++) {
      await sleep(250);
      const handoff = await handOff(harness.relay, { latencyMs: random() * 10, pauseMs: 30 });
      await handoff.finish();
      expect(handoff.losses).toEqual([]);
    }
    await feeding;
    const count = (): number => [...apps, rival].reduce((sum, app) => sum + app.seen.length, 0);
    await until(() => count() >= 2000);
    await sleep(100);
    expect(count()).toBe(2000);
    expect([...apps, rival].flatMap((app) => app.redelivered)).toEqual([]);
    for (const app of apps) expect(app.seen.length).toBeGreaterThan(0);
    for (const [index, app] of apps.entries()) expect(app.most()).toBeLessThanOrEqual(prefetches[index]!);
    // Order within a consumer of one queue.
    for (const app of [...apps, rival]) expect(app.seen).toEqual([...app.seen].sort((a, b) => a - b));
    await expectDrained(harness, 'shared', 'own');
  });
});

describe('a handoff', () => {
  it('refuses to start while carried deliveries of the last one are not settled, and touches nothing', async () => {
    const outside = await harness.outside();
    const channel = await (await harness.app()).createChannel();
    await channel.assertQueue('slow');
    const held: ConsumeMessage[] = [];
    await channel.prefetch(3);
    await channel.consume('slow', (message) => message && held.push(message));
    await publishNumbers(outside, 'slow', 1, 5);
    await until(() => held.length === 3);
    const handoff = await handOff(harness.relay);
    expect(handoff.carried).toBe(3);
    await sleep(200);
    // The new channel has room for three more at the broker; the app asked for three in all.
    expect(held).toHaveLength(3);
    await expect(harness.relay.mute(1000)).rejects.toMatchObject({ code: 'SHADOW_E_MUTE' });
    for (const message of held.splice(0)) channel.nack(message, false, false);
    await until(() => held.length === 2);
    await handoff.finish();
    expect(held.map(numberOf)).toEqual([4, 5]);
    channel.ack(held[1]!, true);
    await expectDrained(harness, 'slow');
  });

  it('gives carried deliveries back when the app closes its channel, as the broker would', async () => {
    const outside = await harness.outside();
    const client = await harness.app();
    const channel = await client.createChannel();
    await channel.assertQueue('left');
    let count = 0;
    await channel.consume('left', () => (count += 1));
    await publishNumbers(outside, 'left', 1, 4);
    await until(() => count === 4);
    const handoff = await handOff(harness.relay);
    await channel.close();
    await handoff.finish();
    const reader = await outside.createChannel();
    const back: number[] = [];
    for (let turn = 0; turn < 100 && back.length < 4; turn++) {
      const message = await reader.get('left', { noAck: true });
      if (message) back.push(Number(message.content.toString()));
      else await sleep(20);
    }
    expect(back).toEqual([1, 2, 3, 4]);
  });

  it('holds new connections at the door, and serves them with the copy', async () => {
    await (await harness.app()).createChannel();
    const before = harness.relay.report().connections.length;
    await harness.relay.mute(5000);
    const late = harness.app();
    await sleep(100);
    expect(harness.relay.report().connections).toHaveLength(before);
    await harness.relay.unmute();
    const channel = await (await late).createChannel();
    await channel.assertQueue('late');
  });

  it.each([{}, { 'x-queue-type': 'quorum' }])(
    'un-mutes without loss, again and again, and keeps prefetch %j',
    async (kind) => {
      const outside = await harness.outside();
      const client = await harness.app();
      const publisher = await client.createConfirmChannel();
      const channel = await client.createChannel();
      const queue = `abort-${Object.keys(kind).length}`;
      await channel.assertQueue(queue, { arguments: kind });
      await channel.assertQueue('abort-out');
      await channel.prefetch(6);
      const app = await consume(channel, queue, 'jitter', generator(5), (n) =>
        publisher.sendToQueue('abort-out', Buffer.from(String(n))),
      );
      const feeding = feed(outside, queue, 600);
      for (let turn = 0; turn < 6; turn++) {
        await sleep(80);
        await harness.relay.mute(5000);
        expect(harness.relay.quiescent()).toBe(true);
        const { published } = harness.relay.report();
        await sleep(30);
        // Invariant 4: nothing of the app goes upstream.
        expect(harness.relay.report().published).toBe(published);
        await harness.relay.unmute();
      }
      await feeding;
      await until(() => app.seen.length >= 600);
      await publisher.waitForConfirms();
      const seen = 'x-queue-type' in kind ? app.seen.toSorted((a, b) => a - b) : app.seen;
      expect(seen).toEqual(range(1, 600));
      expect(app.most()).toBeLessThanOrEqual(6);
      const purged = await outside.createChannel().then((each) => each.purgeQueue('abort-out'));
      expect(purged.messageCount).toBe(600);
      await expectDrained(harness, queue);
    },
  );
});
