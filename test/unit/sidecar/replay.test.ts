/** Record and play without a socket or a clock: two sessions forked at a cut, random schedules (invariants 1 to 4). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AppOptions, ModelApp } from './model/app.ts';
import type { Random } from './model/broker.ts';
import { World } from './model/world.ts';

const generator = (seed: number): Random => {
  let state = (seed ^ 0x9e3779b9) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
};

const options: fc.Arbitrary<AppOptions> = fc.record({
  prefetch: fc.constantFrom(1, 2, 7, 50, 0),
  ack: fc.constantFrom('each', 'every', 'all'),
  batch: fc.constantFrom(1, 3, 10),
  jitter: fc.constantFrom(1, 4),
  confirm: fc.boolean(),
  calls: fc.boolean(),
  echo: fc.constantFrom(0, 5),
  lost: fc.constantFrom(0, 4),
  nack: fc.constantFrom(0, 6),
  get: fc.constantFrom(0, 7),
  channel: fc.constantFrom(0, 8),
});

const PLAYER = { onDivergence: 'Abort', stallMs: 1e9 } as const;

const seen = (app: ModelApp): object => ({ seen: app.seen, state: app.state });

/** All that comes is served, and everything is settled. */
const finish = (world: World): void => {
  const over = (): boolean => world.fedAll && world.handedOver && world.broker.queue('in').length === 0;
  for (let turn = 0; turn < 1000 && !(over() && settledAll(world)); turn++) {
    world.run(50_000);
    world.pair.app.flush();
    world.run(50_000);
    // An app that settles in batches waits for more: patience ends.
    world.consume();
  }
  world.run(50_000);
  expect(over()).toBe(true);
};
const settledAll = (world: World): boolean => world.pair.app.idle && world.pair.session.outstanding === 0;

const counts = (names: readonly string[]): Map<string, number> => {
  const found = new Map<string, number>();
  for (const name of names) found.set(name, (found.get(name) ?? 0) + 1);
  return found;
};

const check = (world: World, { confirm, prefetch, ack: how, get }: AppOptions): void => {
  const { app } = world.pair;
  // An app that settles several at once may settle what is still on its way to it, and count otherwise.
  if (prefetch > 0 && (how === 'each' || (how === 'every' && get === 0)))
    expect(app.most).toBeLessThanOrEqual(prefetch);
  const { broker } = world;
  // 1, 2: each input was done once, by the line that survives, and settled once.
  const done = counts(app.done);
  for (const body of world.bodies) expect([body, done.get(body)]).toEqual([body, 1]);
  for (const [body, count] of done) expect([body, count]).toEqual([body, 1]);
  for (const [body, count] of broker.settled) expect([body, count]).toEqual([body, 1]);
  for (const body of app.done) expect([body, broker.settled.get(body)]).toEqual([body, 1]);
  // What the app has published is what the broker has got, each as often.
  const published = counts([...app.sent.slice(1), ...app.extrasSent.map((body) => `extra ${body}`)]);
  const got = counts(broker.outputs.map(({ key, body }) => `${key} ${body}`));
  expect(got).toEqual(published);
  expect(app.returned.toSorted()).toEqual(
    broker.outputs
      .filter(({ returned }) => returned)
      .map(({ body }) => body)
      .toSorted(),
  );
  if (!confirm) return;
  // Each publish was told once, what the broker said of it.
  expect(app.acked.length + app.nacked.length).toBe(app.published);
  for (const [list, ack] of [
    [app.acked, true],
    [app.nacked, false],
  ] as const)
    for (const seq of list) {
      const said = broker.said.get(app.sent[seq]!)!;
      expect([seq, app.sent[seq], said.includes(ack)]).toEqual([seq, app.sent[seq], true]);
    }
};

/**
 * Out of order and in batches: the copy's batches may end elsewhere than the source's, and the last one only with more. Or a
 * channel for each message: the copy may have used one for another message, and closed it.
 */
const mayDiverge = ({ ack, jitter, channel }: AppOptions): boolean => jitter > 1 && (ack === 'every' || channel > 0);

/** A handoff from the cut to the commit, or to an abort. */
const handOver = (world: World, how: AppOptions, random: Random): void => {
  world.cut(PLAYER, random() < 0.3);
  world.run(Math.floor(random() * 1500));
  if (random() < 0.2) {
    if (random() < 0.5) world.mute();
    world.abort();
    return;
  }
  world.mute();
  const { player, pair, copy } = world;
  if (!player || !copy) throw new Error('no copy');
  world.until(() => player.failure !== undefined || player.done);
  if (!player.done && mayDiverge(how)) {
    player.tick(2 * PLAYER.stallMs);
    expect(player.failure?.code).toBe('SHADOW_E_DIVERGED');
    world.abort();
    return;
  }
  expect({ failure: player.failure, lag: player.lag, ended: player.ended }).toEqual({ lag: 0, ended: true });
  // Both apps take what is on its way to them, and do nothing.
  while (pair.toApp.length > 0) pair.app.receive(pair.toApp.take(() => 0.99));
  const twin = seen(pair.app);
  while (copy.toApp.length > 0) copy.app.receive(copy.toApp.take(() => 0.99));
  expect(seen(copy.app)).toEqual(twin);
  // What the copy has settled alone is for the source to settle yet.
  for (const { channel, tag } of player.settlementsOf(1))
    expect([tag, pair.session.wires.channels.get(channel)?.deliveries.has(tag)]).toEqual([tag, true]);
  world.commit();
};

/** Waits for the last handoff to be over; an app that settles in batches is given time to. */
const settled = (world: World): boolean => {
  if (!world.until(() => world.handedOver)) {
    world.pair.app.flush();
    world.consume();
    world.until(() => world.handedOver);
  }
  world.consume();
  return world.handedOver;
};

describe('record and play', () => {
  it('hands over again and again: nothing lost, nothing twice, order kept, every outcome told', () => {
    fc.assert(
      fc.property(options, fc.integer(), fc.integer({ min: 1, max: 3 }), (how, seed, handoffs) => {
        const random = generator(seed);
        const world = new World(random, how, 60);
        world.until(() => world.pair.app.ready > 0);
        for (let turn = 0; turn < handoffs; turn++) {
          world.run(Math.floor(random() * 400));
          if (settled(world)) handOver(world, how, random);
        }
        finish(world);
        check(world, how);
      }),
      { numRuns: Number(process.env.RUNS ?? 150) },
    );
  }, 120_000);
});
