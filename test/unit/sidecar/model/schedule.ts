/**
 * Random schedules of whole handoffs in a world without a socket or a clock, and what must hold when all is over (invariants 1
 * to 4). The same seed, the same schedule.
 */
import { ok, deepStrictEqual as same } from 'node:assert/strict';
import type { AppOptions, ModelApp } from './app.ts';
import type { Random } from './broker.ts';
import { check } from './verdict.ts';
import { World } from './world.ts';

export const generator = (seed: number): Random => {
  let state = (seed ^ 0x9e3779b9) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
};

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)]!;

/** What an app may be like. */
export const CHOICES = {
  prefetch: [1, 2, 7, 50, 0],
  ack: ['each', 'every', 'all'],
  batch: [1, 3, 10],
  jitter: [1, 4],
  confirm: [true, false],
  calls: [true, false],
  echo: [0, 5],
  lost: [0, 4],
  nack: [0, 6],
  get: [0, 7],
  channel: [0, 8],
} as const;

export const optionsOf = (random: Random): AppOptions => {
  const chosen = Object.entries(CHOICES).map(([name, values]) => [name, pick<unknown>(random, values)]);
  return Object.fromEntries(chosen) as AppOptions;
};

const PLAYER = { onDivergence: 'Abort', stallMs: 1e9 } as const;

const seen = (app: ModelApp): object => ({ seen: app.seen, state: app.state });

/** All that comes is served, and everything is settled. */
const finish = (world: World): void => {
  const over = (): boolean => world.fedAll && world.handedOver && world.broker.queue('in').length === 0;
  // Once at least: what is on its way is in nobody's books.
  for (let turn = 0; turn === 0 || (turn < 1000 && !(over() && settledAll(world))); turn++) {
    world.run(50_000);
    world.pair.app.flush();
    world.run(50_000);
    // An app that settles in batches waits for more: patience ends.
    world.consume();
  }
  world.run(50_000);
  ok(over() && settledAll(world), 'it does not come to its end');
};
const settledAll = (world: World): boolean => world.pair.app.idle && world.pair.session.outstanding === 0;

/**
 * Out of order and in batches: the copy's batches may end elsewhere than the source's, and the last one only with more. Or a
 * channel for each message: the copy may have used one for another message, and closed it.
 */
const mayDiverge = ({ ack, jitter, channel }: AppOptions): boolean => jitter > 1 && (ack === 'every' || channel > 0);

/** Plays to the end and commits; an app that may diverge may also be given up. */
const commit = (world: World, how: AppOptions): void => {
  world.mute();
  const { player, pair, copy } = world;
  if (!player || !copy) throw new Error('no copy');
  world.until(() => player.failure !== undefined || player.done);
  if (!player.done && mayDiverge(how)) {
    player.tick(2 * PLAYER.stallMs);
    same(player.failure?.code, 'SHADOW_E_DIVERGED');
    world.abort();
    return;
  }
  same({ failure: player.failure, lag: player.lag, ended: player.ended }, { failure: undefined, lag: 0, ended: true });
  // Both apps take what is on its way to them, and do nothing.
  while (pair.toApp.length > 0) pair.app.receive(pair.toApp.take(() => 0.99));
  const twin = seen(pair.app);
  while (copy.toApp.length > 0) copy.app.receive(copy.toApp.take(() => 0.99));
  same(seen(copy.app), twin);
  // What the copy has settled alone is for the source to settle yet.
  for (const { channel, tag } of player.settlementsOf(1))
    same([tag, pair.session.wires.channels.get(channel)?.deliveries.has(tag)], [tag, true]);
  world.commit();
};

/** A handoff beside the serving source: committed, undone, or ended by the death of either. */
const replay = (world: World, how: AppOptions, random: Random, deadly: boolean): void => {
  world.cut(PLAYER, random() < 0.3);
  world.run(Math.floor(random() * 1500));
  if (random() < 0.2) {
    if (random() < 0.5) world.mute();
    world.abort();
  } else if (deadly && random() < 0.3) {
    if (random() < 0.5) world.mute();
    world.crash();
  } else commit(world, how);
  loseHalf(world, random, deadly);
};

/** The source dies while it settles for its copy. */
const loseHalf = (world: World, random: Random, deadly: boolean): void => {
  if (!deadly || random() < 0.6) return;
  world.run(Math.floor(random() * 100));
  world.crashOld();
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

/** One more thing that happens to the pod. */
const turn = (world: World, how: AppOptions, random: Random, deadly: boolean): void => {
  const choice = random();
  if (choice < 0.55) replay(world, how, random, deadly);
  else if (choice < 0.8) {
    world.stopAndCopy(true);
    loseHalf(world, random, deadly);
  } else if (choice < 0.9 || !deadly) world.stopAndCopy(false);
  else world.crash();
};

export interface Schedule {
  readonly seed: number;
  readonly how: AppOptions;
  /** Messages to come, and how often something happens to the pod. */
  readonly count: number;
  readonly turns: number;
  /** Processes die. */
  readonly deadly: boolean;
}

export const scheduleOf = (seed: number): Schedule => {
  const random = generator(seed);
  return {
    seed,
    how: optionsOf(random),
    count: 8 + Math.floor(random() * 40),
    turns: 1 + Math.floor(random() * 3),
    deadly: random() < 0.3,
  };
};

/**
 * What one app has asked or said to itself, another that begins anew knows nothing of; and one that settles all there is
 * settles what it has not done, and loses it by itself.
 */
const mortal = (how: AppOptions): AppOptions => ({
  ...how,
  echo: 0,
  calls: false,
  ack: how.ack === 'all' ? 'every' : how.ack,
});

/** Runs it to its end; throws what does not hold. */
export const runSchedule = ({ seed, how: wanted, count, turns, deadly }: Schedule): void => {
  const random = generator(~seed);
  const how = deadly ? mortal(wanted) : wanted;
  const world = new World(random, how, count);
  world.until(() => world.pair.app.ready > 0);
  for (let each = 0; each < turns; each++) {
    world.run(Math.floor(random() * 400));
    if (settled(world)) turn(world, how, random, deadly);
  }
  finish(world);
  check(world, how);
};
