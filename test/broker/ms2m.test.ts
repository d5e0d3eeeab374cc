/**
 * Apps without the sidecar, by the control protocol: whatever the producers do, whenever the controller dies or the handoff is
 * undone, the one who goes on has had every message once and in order, and nothing is left on the broker.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { connectBroker } from '../../webhook/controller/ms2m/amqp.ts';
import { forward, isCommitted, type Ms2mStep, type TakeOver } from '../../webhook/controller/ms2m/plan.ts';
import { exchangesOf, queuesOf } from '../../webhook/controller/ms2m/queues.ts';
import { sleep, until, useBroker } from './support/harness.ts';
import { Crash, EXCHANGE, Handoff, type Load, produce, QUEUE, type Setting } from './support/ms2m.ts';

const harness = useBroker();
const TAKE_OVERS: readonly TakeOver[] = ['Cutoff', 'ExchangeFence'];
let open: { handoff: Handoff; load: Load } | undefined;

const totalOf = ({ published }: Load): number => Object.values(published).reduce((sum, n) => sum + n, 0);

const begin = async (setting: Omit<Setting, 'url'>, { backlog = 0, meanMs = 8 } = {}) => {
  const outside = await harness.outside();
  const channel = await outside.createChannel();
  await channel.assertExchange(EXCHANGE, 'fanout', { durable: true });
  await channel.assertQueue(QUEUE, { durable: true });
  await channel.bindQueue(QUEUE, EXCHANGE, '');
  const load = await produce(outside, 3, meanMs);
  await until(() => totalOf(load) >= backlog);
  const handoff = new Handoff({ url: `amqp://guest:guest@127.0.0.1:${harness.broker.port}`, ...setting });
  open = { handoff, load };
  void handoff.source.run();
  await until(() => handoff.source.state.processed > 0);
  return { handoff, load, outside };
};

const QUEUES = [...Object.values(queuesOf(QUEUE)), 'ms2m.control.consumer-0', 'ms2m.control.consumer-0-shadow'];
const EXCHANGES = [EXCHANGE, ...Object.values(exchangesOf(QUEUE))];

/** Of all names that there could be: rabbitmqctl would take seconds. */
const there = async (): Promise<string[]> => {
  const broker = await connectBroker(`amqp://guest:guest@127.0.0.1:${harness.broker.port}`);
  const depths = await Promise.all(QUEUES.map((name) => broker.depth(name)));
  const left = await Promise.all(
    Object.values(exchangesOf(QUEUE)).map((name) =>
      broker.bindExchange(name, { exchange: EXCHANGE, key: 'probe' }).then(
        () => [name],
        () => [],
      ),
    ),
  );
  await broker.close();
  return [...QUEUES.filter((_name, index) => depths[index] !== undefined), ...left.flat()];
};

/** All of it, once, in order; then nothing is there that was not there before. */
const expectExact = async ({ handoff, load }: Pick<Awaited<ReturnType<typeof begin>>, 'handoff' | 'load'>) => {
  await sleep(100);
  await load.stop();
  const { state } = handoff.survivor;
  await until(() => Object.entries(load.published).every(([producer, n]) => (state.last[producer] ?? 0) >= n));
  expect(state.violations).toEqual([]);
  expect(state.last).toEqual(load.published);
  expect(state.processed).toBe(totalOf(load));
  expect(await there()).toEqual([QUEUE, `ms2m.control.${handoff.undone ? 'consumer-0' : 'consumer-0-shadow'}`]);
};

afterEach(async () => {
  await open?.load.stop();
  await open?.handoff.close();
  open = undefined;
  await sleep(50);
  const broker = await connectBroker(`amqp://guest:guest@127.0.0.1:${harness.broker.port}`);
  for (const name of QUEUES) await broker.deleteQueue(name);
  for (const name of EXCHANGES) await broker.deleteExchange(name);
  await broker.close();
});

describe.each(TAKE_OVERS)('a handoff by %s', (takeOver) => {
  it('is exact under load, and the source serves on while the copy catches up', async () => {
    const run = await begin({ takeOver });
    await run.handoff.run('Stopping');
    const before = run.handoff.source.state.processed;
    expect(before).toBeGreaterThan(run.handoff.copy === undefined ? before : 0);
    await run.handoff.run();
    await expectExact(run);
    expect(run.handoff.steps).toEqual(expect.arrayContaining([...forward(takeOver)]));
  });

  it('works off what the queue had before the second one was bound', async () => {
    const run = await begin({ takeOver, delayMs: 2 }, { backlog: 150, meanMs: 20 });
    await run.handoff.run();
    expect(run.handoff.steps).toContain('Yielding');
    await expectExact(run);
  });

  it('outlives a controller that dies after each step, before that is on record', async () => {
    const run = await begin({ takeOver });
    const died = new Set<Ms2mStep>();
    run.handoff.onDone = (step) => {
      if (died.has(step)) return;
      died.add(step);
      throw new Crash();
    };
    await run.handoff.run();
    expect([...died]).toEqual(expect.arrayContaining([...forward(takeOver)]));
    await expectExact(run);
  });

  it.each([1, 2, 3])('outlives a controller that dies at random calls (%s)', async () => {
    const run = await begin({ takeOver });
    run.handoff.strike = () => {
      if (run.handoff.crashes < 25 && Math.random() < 0.08) throw new Crash();
    };
    await run.handoff.run();
    expect(run.handoff.crashes).toBeGreaterThan(2);
    await expectExact(run);
  });

  it.each(forward(takeOver).filter((step) => !isCommitted(step, takeOver)))(
    'undone after %s, leaves the source with everything',
    async (at) => {
      const run = await begin({ takeOver });
      run.handoff.onDone = (step) => {
        if (step === at) run.handoff.abort();
        if (run.handoff.undone && run.handoff.crashes < 20 && Math.random() < 0.2) throw new Crash();
      };
      await run.handoff.run();
      expect(run.handoff.undone).toBe(true);
      await expectExact(run);
    },
  );

  it('can not be undone once the source is stopped', async () => {
    const run = await begin({ takeOver });
    await run.handoff.run('Stopping');
    run.handoff.abort();
    expect(run.handoff.undone).toBe(false);
    await run.handoff.run();
    await expectExact(run);
  });
});

it('a cutoff ends the catching up of a copy that can not catch up, and drops nothing', async () => {
  // 3 producers at 25/s each and more; 60/s is what the app can do.
  const run = await begin({ takeOver: 'Cutoff', replayMode: 'Cutoff', cutoffMs: 700, delayMs: 15 }, { meanMs: 30 });
  await run.handoff.run('Following');
  await run.load.stop();
  await run.handoff.run();
  await expectExact(run);
});

it.each(TAKE_OVERS)('%s: goes on when the copy of a source that is never idle comes no nearer', async (takeOver) => {
  // About 100/s come, and the app can do less.
  const run = await begin({ takeOver, replayMode: 'Drain', delayMs: 11 }, { meanMs: 30 });
  await run.handoff.run('Calling');
  // As long as a checkpoint travels.
  await sleep(1_500);
  await run.handoff.run('Stopping');
  if (takeOver === 'Cutoff') await run.load.stop();
  await run.handoff.run();
  await run.load.stop();
  await expectExact(run);
});

it('takes messages that are all alike for what they are: so many', async () => {
  const outside = await harness.outside();
  const channel = await outside.createConfirmChannel();
  const run = await begin({ takeOver: 'ExchangeFence' }, { meanMs: 1e6 });
  await run.load.stop();
  const before = totalOf(run.load);
  await until(() => run.handoff.source.state.processed === before);
  let [alike, over] = [0, false];
  const ticking = (async () => {
    for (; !over; alike++) {
      channel.publish(EXCHANGE, '', Buffer.from('{}'));
      await sleep(Math.random() * 8);
    }
    await channel.waitForConfirms();
  })();
  await sleep(100);
  await run.handoff.run();
  over = true;
  await ticking;
  const { state } = run.handoff.survivor;
  await until(() => state.processed >= before + alike);
  await sleep(200);
  expect(state.processed).toBe(before + alike);
});

const fedBesides = async (run: Awaited<ReturnType<typeof begin>>) => {
  const channel = await run.outside.createConfirmChannel();
  let [alike, over] = [0, false];
  const feeding = (async () => {
    for (; !over; alike++) {
      channel.sendToQueue(QUEUE, Buffer.from(JSON.stringify({ alike })));
      await sleep(4);
    }
    await channel.waitForConfirms();
  })();
  return async () => {
    over = true;
    await feeding;
    return alike;
  };
};

it('goes on only when what came to the queue in another way has been worked off', async () => {
  const run = await begin({ takeOver: 'Cutoff' }, { meanMs: 60 });
  const stop = await fedBesides(run);
  let aligned = false;
  run.handoff.onDone = (step) => {
    aligned ||= step === 'Releasing';
  };
  const running = run.handoff.run();
  await sleep(1_500);
  expect(aligned).toBe(false);
  const besides = await stop();
  await running;
  await run.load.stop();
  const { state } = run.handoff.survivor;
  const total = totalOf(run.load);
  await until(() => state.processed >= total + besides);
  await sleep(200);
  expect(state.violations).toEqual([]);
  expect(state.processed).toBe(total + besides);
});

it('a queue is poured into another as it is: order, properties, all of it', async () => {
  const broker = await connectBroker(`amqp://guest:guest@127.0.0.1:${harness.broker.port}`);
  const { primary, buffer } = queuesOf(QUEUE);
  await broker.declareQueue(primary);
  await broker.declareQueue(buffer);
  const channel = await (await harness.outside()).createConfirmChannel();
  for (let n = 1; n <= 20; n++)
    channel.sendToQueue(buffer, Buffer.from(String(n)), { messageId: `m${n}`, headers: { n }, persistent: true });
  await channel.waitForConfirms();
  await broker.pour(buffer, primary);
  expect(await broker.depth(buffer)).toEqual({ ready: 0, consumers: 0 });
  for (let n = 1; n <= 20; n++) {
    const message = await channel.get(primary, { noAck: true });
    const properties = { messageId: `m${n}`, headers: { n }, deliveryMode: 2 };
    expect(message).toMatchObject({ properties, content: Buffer.from(String(n)) });
  }
  await broker.close();
});

it('tells a quorum queue from others', async () => {
  const broker = await connectBroker(`amqp://guest:guest@127.0.0.1:${harness.broker.port}`);
  const channel = await (await harness.outside()).createChannel();
  const { primary, buffer } = queuesOf(QUEUE);
  await channel.assertQueue(primary, { arguments: { 'x-queue-type': 'quorum' } });
  await broker.declareQueue(buffer);
  expect([await broker.isQuorum(primary), await broker.isQuorum(buffer), await broker.isQuorum('none')]).toEqual([
    true,
    false,
    false,
  ]);
  await broker.close();
});
