/** One sample: a fresh middle process, PerfTest through it, and what the middle cost in the measured window. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import amqp from 'amqplib';
import { type MiddleOptions, openMiddle } from './middles.ts';
import { perfTest, queuesOf } from './perftest.ts';
import { type Cost, costOf } from './processes.ts';
import { connectionsOf, type Mode, type Row, type Sample } from './rows.ts';

export interface SampleOptions extends Omit<MiddleOptions, 'dir'> {
  readonly classPath: string;
  readonly seconds: number;
  /** Directory for files of its own. */
  readonly scratch: string;
}

export interface Window {
  readonly begin: Cost;
  readonly end: Cost;
  /** Messages a second, published and delivered. */
  readonly published: number;
  readonly received: number;
}

/** What the middle cost in a window. Pure. */
export const middleOf = ({ begin, end, published, received }: Window): NonNullable<Sample['middle']> => {
  const seconds = (end.at - begin.at) / 1000;
  const cpu = end.cpuSeconds - begin.cpuSeconds;
  const messages = ((published + received) / 2) * seconds;
  return { cpuPerMillion: (cpu / messages) * 1e6, busy: cpu / seconds, rss: end.rss };
};

/** Nothing of one sample is in the broker in the next. */
const dropQueues = async ({ host, port }: MiddleOptions['broker'], queues: readonly string[]): Promise<void> => {
  const client = await amqp.connect({ hostname: host, port });
  client.on('error', () => undefined);
  const channel = await client.createChannel();
  for (const queue of queues) await channel.deleteQueue(queue);
  await client.close();
};

export const takeSample = async (run: number, row: Row, mode: Mode, options: SampleOptions): Promise<Sample> => {
  const { broker, classPath, seconds } = options;
  const dir = mkdtempSync(join(options.scratch, 'sample-'));
  const queues = `bench-${run}-${row.name}-${mode}`;
  try {
    const middle = await openMiddle(mode, { ...options, dir: join(dir, 'middle') });
    try {
      const cost: { begin?: Cost; end?: Cost } = {};
      const mark = (edge: 'begin' | 'end'): void => {
        middle.assertReady();
        if (middle.pid !== undefined) cost[edge] = costOf(middle.pid);
      };
      const { host, port } = middle;
      const call = { classPath, host, port, row, seconds, queues, csv: join(dir, 'figures.csv') };
      const measured = await perfTest(call, mark, () => middle.prepare(connectionsOf(row)));
      const { published, received, latency } = measured;
      const { begin, end } = cost;
      return {
        ...{ run, row: row.name, mode, seconds: measured.seconds, published, received, latency },
        ...(begin && end ? { middle: middleOf({ begin, end, published, received }) } : {}),
      };
    } finally {
      await middle.stop();
    }
  } finally {
    await dropQueues(broker, queuesOf({ row, queues })).catch(() => undefined);
    rmSync(dir, { recursive: true, force: true });
  }
};
