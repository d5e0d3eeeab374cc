/** The command: seeds side by side over one broker, what they show, and how it ended. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { linkPair } from '../../webhook/controller/link.ts';
import { startRabbitMQ } from '../broker/support/rabbitmq.ts';
import { mutate } from './mutate.ts';
import { type Options, parse, USAGE, UsageError } from './options.ts';
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
  const dir = volumes();
  const broker = await startRabbitMQ([dir]).catch((error: unknown) => {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  });
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

/** 0: no violation; 1: some; 2: it was not asked for properly. */
export const runSimulation = async (args: string[]): Promise<number> => {
  let options: Options | undefined;
  try {
    options = parse(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n\n${USAGE}`);
    return 2;
  }
  if (options) return simulate(options);
  process.stdout.write(USAGE);
  return 0;
};

const simulate = async ({ seeds, jobs, mutations }: Options): Promise<number> => {
  if (mutations) return (await withGround((ground) => mutate(seeds.slice(0, 60), jobs, ground))) > 0 ? 1 : 0;
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
