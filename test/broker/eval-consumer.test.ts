/** The evaluation's consumers speak MS2M: where they consume, in which order, and what they leave to others. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Channel } from 'amqplib';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { declare, EVENTS, OUTPUTS } from '../../manifests/examples/broker.ts';
import type { Snapshot } from '../../manifests/examples/consumer/state.ts';
import { until } from '../../scripts/demonstration/until.ts';
import { controlQueue, REPLAY_SUFFIX } from '../../scripts/eval/apps/ms2m-consumer/control.ts';
import { PYTHON, pikaPackage } from '../../scripts/images/python.ts';
import { freePort } from '../../scripts/playground/ports.ts';
import { sleep, useBroker } from './support/harness.ts';

const harness = useBroker();
const APPS = join(import.meta.dirname, '../../scripts/eval/apps');
const POD = 'consumer-0-shadow';
const REPLAY = `${EVENTS.queue}${REPLAY_SUFFIX}`;
const CONTROL = controlQueue(POD);

type State = Snapshot & { connections: number };

const command = {
  node: async () => ({ argv: [process.execPath, join(APPS, 'ms2m-consumer/main.ts')], env: {} }),
  python: async () => ({
    argv: [PYTHON, join(APPS, 'python/consumer.py')],
    env: { PYTHONPATH: await pikaPackage(), PYTHONDONTWRITEBYTECODE: '1' },
  }),
};

const start = async (app: keyof typeof command): Promise<() => Promise<State>> => {
  const { argv, env } = await command[app]();
  const port = await freePort();
  const settings = {
    AMQP_URL: `amqp://guest:guest@127.0.0.1:${harness.broker.port}/%2f`,
    POD_NAME: POD,
    RECONNECT_MS: '300',
    PROCESSING_DELAY_MS: '5',
    PORT: String(port),
  };
  const child: ChildProcess = spawn(argv[0]!, argv.slice(1), {
    env: { ...process.env, ...env, ...settings },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return async () => {
    const response = await fetch(`http://127.0.0.1:${port}/state`, { signal: AbortSignal.timeout(5000) });
    return (await response.json()) as State;
  };
};

const applied = (state: () => Promise<State>, count: number): Promise<State> =>
  until(`${count} messages`, 20_000, async () => {
    const now = await state();
    return now.count >= count ? now : undefined;
  });

const span = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe.each(['node', 'python'] as const)('%s', (app) => {
  let channel: Channel;
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
    const state = await start(app);
    send(EVENTS.queue, span(1, 30));
    await applied(state, 30);
    send(REPLAY, span(1001, 1010));
    // Three prefetches of work: when it turns, it holds some of them.
    send(EVENTS.queue, span(31, 180));
    await applied(state, 40);
    tell({ type: 'START_REPLAY', payload: { queue: REPLAY } });
    const turned = await until('the replay queue', 20_000, async () => {
      const { list } = await state();
      return list.includes(1010) ? list : undefined;
    });
    const replayed = turned.indexOf(1001);
    expect(turned.slice(0, replayed)).toEqual(span(1, replayed));
    expect(turned.slice(replayed)).toEqual(span(1001, 1010));
    // Nothing it held is kept from its source.
    expect(await ready(EVENTS.queue)).toBe(180 - replayed);
    tell({ type: 'END_REPLAY' });
    const { list, connections } = await applied(state, 190);
    expect(list).toEqual([...span(1, replayed), ...span(1001, 1010), ...span(replayed + 1, 180)]);
    expect(connections).toBe(1);
    await until('all to be acked and told', 10_000, async () => (await ready(OUTPUTS.queue)) === 190);
  });

  it('works off what it holds of the replay queue before it turns back', async () => {
    const state = await start(app);
    tell({ type: 'START_REPLAY', payload: { queue: EVENTS.queue } });
    send(EVENTS.queue, span(1001, 1010));
    send(REPLAY, span(1, 40));
    await applied(state, 5);
    tell({ type: 'END_REPLAY' });
    const { list } = await applied(state, 50);
    // What was on its way to it when it turned is the replay queue's still; what it was given is done before.
    expect(list.slice(0, 40)).toEqual(span(1, 40));
    expect(list.slice(40)).toEqual(span(1001, 1010));
  });

  it('a copy that is told before it connects does not consume beside its source', async () => {
    send(EVENTS.queue, span(1001, 1010));
    send(REPLAY, span(1, 10));
    tell({ type: 'START_REPLAY', payload: { queue: REPLAY } });
    const state = await start(app);
    const { list } = await applied(state, 10);
    expect(list).toEqual(span(1, 10));
    await sleep(300);
    expect((await state()).list).toEqual(span(1, 10));
    expect(await ready(EVENTS.queue)).toBe(10);
    // Nor has it taken any for a moment.
    expect(await channel.get(EVENTS.queue)).toMatchObject({ fields: { redelivered: false } });
  });

  it('connects again to the queue it was turned to, and takes nonsense for none', async () => {
    const state = await start(app);
    tell({ type: 'START_REPLAY' });
    tell({ type: 'STOP' });
    channel.sendToQueue(CONTROL, Buffer.from('nonsense'));
    send(REPLAY, span(1, 5));
    await applied(state, 5);
    await harness.broker.crash();
    await harness.broker.start();
    channel = await (await harness.outside()).createChannel();
    await channel.assertQueue(REPLAY, { durable: true });
    send(REPLAY, span(6, 10));
    send(EVENTS.queue, [1001]);
    const { list, connections } = await applied(state, 10);
    expect(list).toEqual(span(1, 10));
    expect(connections).toBe(2);
    expect(await ready(EVENTS.queue)).toBe(1);
  });
});
