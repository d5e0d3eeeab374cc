/** The evaluation's measuring, on a real consumer to which a migration's faults are done by hand. */
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { declare, EVENTS, OUTPUTS } from '../../manifests/examples/broker.ts';
import { Producer } from '../../manifests/examples/producer/producer.ts';
import { collectOutputs } from '../../scripts/demonstration/outputs.ts';
import { startProber } from '../../scripts/demonstration/prober.ts';
import { until } from '../../scripts/demonstration/until.ts';
import { measuredOf, STEADY_MS } from '../../scripts/eval/measure.ts';
import type { Measured } from '../../scripts/eval/results.ts';
import { type Consumer, startConsumer } from './support/consumer.ts';
import { sleep, useBroker } from './support/harness.ts';

const harness = useBroker();
const RATE = 40;
const POD = 'consumer-0';

beforeEach(async () => {
  const channel = await (await harness.outside()).createChannel();
  for (const { queue } of [EVENTS, OUTPUTS]) await channel.deleteQueue(queue);
  await declare(channel);
});

const start = (): Promise<Consumer> => startConsumer({ app: 'node', port: harness.broker.port, pod: POD, workMs: 10 });

/** As a run does it; `migrate` stands for the migration, and returns who is there afterwards. */
const measure = async (first: Consumer, migrate: () => Promise<Consumer>): Promise<Measured> => {
  const broker = await harness.outside();
  const outputs = await collectOutputs(await broker.createChannel());
  const producer = new Producer(await broker.createConfirmChannel(), { rate: RATE, burst: RATE });
  const producing = producer.run();
  onTestFinished(() => producer.stop());
  await until('it to work', 20_000, async () => outputs.length > 0);
  const prober = startProber(first.url);
  onTestFinished(() => prober.stop());
  const since = performance.now();
  await sleep(1500);
  const from = performance.now();
  const last = await migrate();
  const to = performance.now();
  await sleep(STEADY_MS);
  await prober.stop();
  producer.stop();
  await producing;
  await until('all to be told', 20_000, async () => new Set(outputs.map(({ seq }) => seq)).size === producer.sent);
  const load = { sent: producer.bodies, confirmed: producer.confirmed, outputs, probes: prober.probes, since };
  const migrated = { end: { kind: 'completed' as const }, from, to, migration: undefined };
  return measuredOf(load, migrated, { from: 'node-1', to: 'node-2' }, [await last.state()]);
};

const EXACT = { lost: 0, duplicated: 0, reordered: 0, outputsLost: 0, outputsDuplicated: 0, stateMatches: true };

it('an app that stands still for a while: a gap and downtime, and nothing lost', async () => {
  const consumer = await start();
  const measured = await measure(consumer, async () => {
    consumer.signal('SIGSTOP');
    await sleep(2500);
    consumer.signal('SIGCONT');
    return consumer;
  });
  expect(measured).toMatchObject({ ...EXACT, reconnects: 0, pods: 1 });
  expect(measured.confirmed).toBeGreaterThanOrEqual(RATE * 4);
  // Between two bursts it has nothing to do for less than a second.
  expect(measured.gapMs).toBeGreaterThanOrEqual(1400);
  // A probe waits a second before it has failed: those sent in the last one were answered late.
  expect(measured.downtimeMs).toBeGreaterThanOrEqual(1400);
  expect(measured.before.gapMs).toBeLessThan(measured.gapMs);
});

it('an app that is started anew: what it had in memory is lost, and outputs tell of more than one life', async () => {
  const first = await start();
  const measured = await measure(first, async () => {
    const { count } = await first.state();
    expect(count).toBeGreaterThan(0);
    first.signal('SIGKILL');
    return start();
  });
  expect(measured.lost).toBeGreaterThanOrEqual(RATE);
  expect(measured.lost).toBeLessThan(measured.confirmed);
  expect(measured).toMatchObject({ duplicated: 0, outputsLost: 0, stateMatches: false });
  // Nobody answers where it was any more.
  expect(measured.failedProbes).toBeGreaterThan(100);
});
