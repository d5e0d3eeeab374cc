/** The copy replays beside the serving source, on a real broker (invariants 1 to 4). */
import { afterEach, describe, expect, it } from 'vitest';
import type { AppOptions, ModelApp } from '../unit/sidecar/model/app.ts';
import { type ChannelModel, expectDrained, publishNumbers, range, sleep, until, useBroker } from './support/harness.ts';
import { Pod } from './support/pod.ts';
import { handOver, Replay, type ReplayOptions } from './support/replay.ts';

const harness = useBroker();
const PLAIN: AppOptions = {
  prefetch: 1,
  ack: 'each',
  batch: 1,
  jitter: 1,
  confirm: true,
  calls: false,
  echo: 0,
  lost: 0,
  nack: 0,
  get: 0,
  channel: 0,
};

let pods: Pod[] = [];
afterEach(async () => {
  for (const pod of pods) await pod.stop();
  pods = [];
});

const declare = async (client: ChannelModel, prefix: string): Promise<void> => {
  const channel = await client.createChannel();
  for (const name of ['in', 'out', 'rpc', 'replies', 'more', 'extra']) await channel.assertQueue(prefix + name);
  // Whoever is called answers.
  await channel.consume(`${prefix}rpc`, (message) => {
    if (!message) return;
    const { correlationId } = message.properties as { correlationId: string };
    channel.sendToQueue(`${prefix}replies`, Buffer.from(`re ${message.content.toString()}`), { correlationId });
    channel.ack(message);
  });
};

const publish = async (client: ChannelModel, queue: string, bodies: readonly string[]): Promise<void> => {
  const channel = await client.createConfirmChannel();
  for (const body of bodies) channel.sendToQueue(queue, Buffer.from(body));
  await channel.waitForConfirms();
  await channel.close();
};

const feed = async (client: ChannelModel, queue: string, last: number, perSecond: number): Promise<void> => {
  const began = performance.now();
  for (let n = 1; n <= last; ) {
    const due = Math.min(last, Math.floor(((performance.now() - began) / 1000) * perSecond));
    if (due >= n) await publishNumbers(client, queue, n, due);
    n = Math.max(n, due + 1);
    await sleep(5);
  }
};

const taken = async (client: ChannelModel, queue: string): Promise<string[]> => {
  const channel = await client.createChannel();
  const bodies: string[] = [];
  for (let idle = 0; idle < 3; ) {
    const message = await channel.get(queue, { noAck: true });
    if (message) bodies.push(message.content.toString());
    else {
      idle += 1;
      await sleep(20);
    }
  }
  await channel.close();
  return bodies;
};

const byNumber = (bodies: readonly string[]): number[] =>
  bodies.map((body) => Number(body.replace(/\D/g, ''))).sort((a, b) => a - b);

interface Case {
  readonly name: string;
  readonly app: Partial<AppOptions>;
  /** Milliseconds a handler takes, most. */
  readonly ms: number;
  readonly rate: number;
  readonly handoff?: Partial<ReplayOptions>;
}

const CASES: Case[] = [
  { name: 'one at a time, acks after the confirm', app: { safe: true }, ms: 4, rate: 150 },
  { name: 'prefetch 50, one after the other', app: { prefetch: 50 }, ms: 4, rate: 150 },
  { name: 'prefetch 50, out of order', app: { prefetch: 50, jitter: 8 }, ms: 6, rate: 120 },
  { name: 'acks every tenth, multiple', app: { prefetch: 25, ack: 'every', batch: 10 }, ms: 4, rate: 150 },
  { name: 'acks all at times', app: { prefetch: 25, ack: 'all', batch: 7 }, ms: 4, rate: 150 },
  { name: 'refuses some first, and hands them back', app: { prefetch: 5, nack: 6 }, ms: 4, rate: 120 },
  { name: 'mandatory publishes that come back', app: { prefetch: 5, lost: 4 }, ms: 4, rate: 120 },
  { name: 'calls somebody within a handler', app: { prefetch: 4, calls: true, jitter: 3 }, ms: 4, rate: 80 },
  { name: 'asks for messages, opens channels', app: { prefetch: 4, get: 7, channel: 9 }, ms: 4, rate: 100 },
  { name: 'more comes than it can take', app: { prefetch: 20 }, ms: 12, rate: 400, handoff: { restoreMs: 600 } },
];

const ours = (bodies: readonly string[]): string[] => bodies.filter((body) => !body.startsWith('m'));

/** What the world has of it is what each input gives, once. */
const check = async (app: ModelApp, outside: ChannelModel, prefix: string, total: number): Promise<void> => {
  expect(byNumber(ours(app.done))).toEqual(range(1, total));
  const out = await taken(outside, `${prefix}out`);
  expect(out.toSorted()).toEqual(app.done.toSorted());
  if (app.options.confirm) {
    await until(() => app.acked.length === app.published, 5000, `confirms ${app.acked.length} of ${app.published}`);
    expect(app.nacked).toEqual([]);
  }
  await expectDrained(harness, `${prefix}in`);
};

describe('two replays in a row', () => {
  it.each(CASES)('$name', async ({ app: options, ms, rate, handoff, name }) => {
    const prefix = `${CASES.findIndex((each) => each.name === name)}-`;
    const outside = await harness.outside();
    await declare(outside, prefix);
    if (options.get)
      await publish(
        outside,
        `${prefix}more`,
        range(1, 30).map((n) => `m${n}`),
      );
    let pod = new Pod(harness.broker.port);
    pods.push(pod);
    const pace = (): number => Math.random() * ms;
    await pod.app({ ...PLAIN, ...options, prefix }, pace);
    const total = rate * 5;
    const feeding = feed(outside, `${prefix}in`, total, rate);
    const seen = (): number => pod.edges[0]!.app.seen.length;
    for (const share of [0.15, 0.5]) {
      await until(() => seen() > total * share);
      const next = await handOver(pod, { pace, restoreMs: 150, latencyMs: 2, near: 40, ...handoff });
      expect(next.replay.losses).toEqual([]);
      // Both saw the same as long as both were served.
      const before = pod.edges[0]!.app.seen;
      expect(next.pod.edges[0]!.app.seen.slice(0, before.length)).toEqual(before);
      expect(pod.failure).toBeUndefined();
      pod = next.pod;
      pods.push(pod);
    }
    await feeding;
    const { app } = pod.edges[0]!;
    await until(() => new Set(ours(app.done)).size >= total, 30_000, 'all is done');
    await until(() => app.idle, 10_000);
    pod.edges[0]!.act((each) => each.flush());
    expect(pod.failure).toBeUndefined();
    await check(app, outside, prefix, total);
  });
});

/** A pod with one app that has begun, and its input coming. */
const serving = async (prefix: string, options: Partial<AppOptions>, pace: () => number, feeding: [number, number]) => {
  const outside = await harness.outside();
  await declare(outside, prefix);
  const pod = new Pod(harness.broker.port);
  pods.push(pod);
  const app = await pod.app({ ...PLAIN, ...options, prefix }, pace);
  const [total, rate] = feeding;
  const fed = feed(outside, `${prefix}in`, total, rate);
  await until(() => app.seen.length > total / 5);
  return { outside, pod, app, total, fed };
};

const allDone = async (pod: Pod, total: number): Promise<ModelApp> => {
  const { app } = pod.edges[0]!;
  await until(() => new Set(ours(app.done)).size >= total && app.idle, 30_000, 'all is done');
  pod.edges[0]!.act((each) => each.flush());
  expect(pod.failure).toBeUndefined();
  return app;
};

/** What an un-mute has carried is settled first. */
const begun = async (pod: Pod, options: ReplayOptions): Promise<Replay> => {
  for (;;) {
    try {
      return await Replay.begin(pod, options);
    } catch (error) {
      expect(error).toMatchObject({ code: 'SHADOW_E_FREEZE', retryable: true });
      await sleep(50);
    }
  }
};

describe('a copy that replays', () => {
  it('forwards what its app is ahead by, and tells each its own outcome', async () => {
    const pace = (): number => 3;
    const { outside, pod, app, total, fed } = await serving('ahead-', { prefetch: 30, jitter: 4 }, pace, [400, 150]);
    const replay = await Replay.begin(pod, { pace, restoreMs: 100 });
    pods.push(replay.copy);
    expect(await replay.near(30)).toBe(true);
    // The source's app stands still with a full hand: whatever the copy's does now, it does alone.
    pod.edges[0]!.stop();
    const copied = replay.copy.edges[0]!.app;
    await until(() => copied.published >= app.published + 12, 10_000, 'the copy is ahead');
    expect(replay.play().waiting).toBeGreaterThanOrEqual(12);
    expect(replay.play().lag).toBe(0);
    const told = (): number => copied.acked.length;
    await sleep(50);
    // None of them has an outcome, and none is at the broker.
    expect(told()).toBeLessThanOrEqual(app.published);
    expect(pod.relay.report().published).toBe(app.published);
    await replay.commit();
    await replay.finish();
    await fed;
    await check(await allDone(replay.copy, total), outside, 'ahead-', total);
  });

  it.each([
    ['Abort', 'SHADOW_E_DIVERGED'],
    ['Report', undefined],
  ] as const)('finds an app that does otherwise: %s', async (onDivergence, code) => {
    const prefix = `otherwise-${onDivergence}-`;
    const pace = (): number => 2;
    const { outside, pod, app, total, fed } = await serving(prefix, { prefetch: 5 }, pace, [300, 100]);
    const replay = await Replay.begin(pod, {
      pace,
      onDivergence,
      stallMs: 500,
      before: (copy) => {
        copy.edges[0]!.app.options.flavour = ' otherwise';
      },
    });
    pods.push(replay.copy);
    if (code === undefined) {
      await until(() => replay.play().diverged > 3, 10_000, 'divergence');
      expect(replay.failed).toBeUndefined();
      await replay.near(20);
      // The source's word stands: what the copy said otherwise of it never reaches the broker.
      await replay.commit();
      await replay.finish();
      await fed;
      const copied = await allDone(replay.copy, total);
      const out = await taken(outside, `${prefix}out`);
      expect(byNumber(out)).toEqual(range(1, total));
      const mine = out.filter((body) => body.endsWith('otherwise'));
      // What the source's app made after its mute went nowhere.
      expect(out.length - mine.length).toBe(pod.relay.report().published);
      expect(app.published).toBeGreaterThanOrEqual(pod.relay.report().published);
      await until(() => copied.acked.length === copied.published, 5000, 'each is told');
    } else {
      await until(() => replay.failed !== undefined, 10_000, 'divergence');
      expect(replay.failed).toMatchObject({ code, why: expect.stringContaining(`by key '${prefix}out'`) });
      expect(replay.play()).toMatchObject({ diverged: expect.any(Number), divergence: expect.any(String) });
      await replay.abort();
      await fed;
      const out = await allDone(pod, total).then(() => taken(outside, `${prefix}out`));
      expect(out.toSorted()).toEqual(app.done.toSorted());
      expect(out.some((body) => body.endsWith('otherwise'))).toBe(false);
    }
  });

  it.each([
    [
      'settles otherwise',
      (copy: Pod) => Object.assign(copy.edges[0]!.app.options, { nack: 1 }),
      /delivery \d+ was settled otherwise \((ack|nack|reject)\)/,
    ],
    ['does not go on', undefined, /^stalled: /],
  ] as const)('finds an app that %s, counts it and gives up before the commit', async (name, before, why) => {
    const prefix = `${name.replaceAll(' ', '-')}-`;
    const pace = (): number => 2;
    const { outside, pod, total, fed } = await serving(prefix, { prefetch: 5 }, pace, [200, 100]);
    const how = before ? { pace, before } : { pace: () => 1e6 };
    const replay = await Replay.begin(pod, { ...how, stallMs: 500 });
    pods.push(replay.copy);
    await until(() => replay.failed !== undefined, 10_000, 'divergence');
    expect(replay.failed).toMatchObject({ code: 'SHADOW_E_DIVERGED', why: expect.stringMatching(why) });
    expect(replay.play().diverged).toBeGreaterThan(0);
    expect(replay.play().divergence).toMatch(why);
    await expect(replay.commit()).rejects.toThrow('SHADOW_E_DIVERGED');
    await replay.abort();
    await fed;
    await check(await allDone(pod, total), outside, prefix, total);
  });

  it('is given up after the mute: the source goes on, nothing lost', async () => {
    const pace = (): number => Math.random() * 5;
    const { outside, pod, total, fed } = await serving('abort-', { prefetch: 10, jitter: 4 }, pace, [400, 120]);
    for (let turn = 0; turn < 2; turn++) {
      const replay = await begun(pod, { pace });
      pods.push(replay.copy);
      await replay.near(60);
      await replay.mute();
      await until(() => replay.replayed || replay.failed !== undefined);
      const { published } = pod.relay.report();
      await sleep(50);
      expect(pod.relay.report().published).toBe(published);
      await replay.abort();
    }
    await fed;
    await check(await allDone(pod, total), outside, 'abort-', total);
  });

  it('catches up with a source that is always busy, which pauses for no longer than a few messages', async () => {
    const pace = (): number => 10;
    const { outside, pod, app, total, fed } = await serving('busy-', { prefetch: 40, jitter: 1 }, pace, [900, 1000]);
    const gaps: number[] = [];
    let last = performance.now();
    let count = app.done.length;
    const watching = setInterval(() => {
      const now = performance.now();
      if (app.done.length === count) return;
      gaps.push(now - last);
      last = now;
      count = app.done.length;
    }, 2);
    const replay = await Replay.begin(pod, { pace, restoreMs: 1500 });
    pods.push(replay.copy);
    const began = performance.now();
    const shares: number[] = [];
    const looking = setInterval(() => {
      shares.push(replay.record().throttle);
    }, 50);
    expect(await replay.near(12)).toBe(true);
    const ms = performance.now() - began;
    clearInterval(looking);
    clearInterval(watching);
    // Behind by 1.5 s of a source that could go on for ever at the copy's own pace.
    expect(Math.min(...shares)).toBeLessThan(0.5);
    expect(ms).toBeLessThan(5000);
    expect(Math.max(...gaps.slice(10))).toBeLessThan(400);
    await replay.commit();
    await replay.finish();
    await fed;
    await check(await allDone(replay.copy, total), outside, 'busy-', total);
  });
});
