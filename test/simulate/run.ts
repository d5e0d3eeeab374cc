/** The command: seeds side by side over one broker, what they show, and how it ended. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { linkPair } from '../../webhook/controller/link.ts';
import { startRabbitMQ } from '../broker/support/rabbitmq.ts';
import { mutate } from './mutate.ts';
import { Outside } from './outside.ts';
import { printFailure, Summary } from './report.ts';
import { runSeeds } from './run-seeds.ts';
import { Ticker } from './ticker.ts';
import type { Ground } from './world.ts';

/** In memory where there is a place for it: the pods' volumes are synced often. */
const volumes = (): string => {
  try {
    return mkdtempSync('/dev/shm/shadow-simulate-');
  } catch {
    return mkdtempSync(join(tmpdir(), 'shadow-simulate-'));
  }
};

export const withGround = async <T>(act: (ground: Ground) => Promise<T>): Promise<T> => {
  const broker = await startRabbitMQ();
  const dir = volumes();
  try {
    const outside = await Outside.connect(broker.port);
    const result = await act({ port: broker.port, outside, ticker: new Ticker(), dir, tls: linkPair(Date.now()) });
    await outside.close().catch(() => undefined);
    return result;
  } finally {
    rmSync(dir, { recursive: true, force: true });
    await broker.stop();
  }
};

const number = (text: string, name: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} ${text}: not a count`);
  return value;
};

export const runSimulation = async (args: string[]): Promise<number> => {
  const { values } = parseArgs({
    args,
    options: {
      seeds: { type: 'string', default: '200' },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      jobs: { type: 'string', default: '24' },
      repeat: { type: 'string', default: '1' },
      mutations: { type: 'boolean', default: false },
    },
  });
  const from = number(values.seed ?? values.from, 'from');
  const count = values.seed === undefined ? number(values.seeds, 'seeds') : 1;
  const repeat = number(values.repeat, 'repeat');
  const seeds = Array.from({ length: count * repeat }, (_, index) => from + Math.floor(index / repeat));
  // The same seed twice at a time would share its queues.
  const jobs = repeat > 1 ? 1 : number(values.jobs, 'jobs');
  if (values.mutations) return (await withGround((ground) => mutate(seeds.slice(0, 60), jobs, ground))) > 0 ? 1 : 0;
  const summary = new Summary(seeds.length);
  await withGround((ground) =>
    runSeeds(seeds, jobs, ground, (world) => {
      summary.add(world);
      if (world.oracle.violations.length > 0) printFailure(world);
      return false;
    }),
  );
  summary.print();
  return summary.failed > 0 ? 1 : 0;
};
