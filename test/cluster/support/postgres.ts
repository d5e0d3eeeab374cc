/** A real PostgreSQL for tests, on the playground's bridge: own directory, own port, trust; stopped by the pid it was started with. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { until } from '../../../scripts/demonstration/until.ts';
import { ADDRESS } from '../../../scripts/playground/layout.ts';
import { freePort } from '../../../scripts/playground/ports.ts';

const run = promisify(execFile);
const INSTALLED = '/usr/lib/postgresql';

export interface Postgres {
  /** For the app's pods and for us. */
  readonly url: string;
  query(text: string): Promise<Record<string, unknown>[]>;
  stop(): Promise<void>;
}

/** It refuses to run as root. */
const asPostgres = (argv: readonly string[]): [string, string[]] => [
  'setpriv',
  ['--reuid=postgres', '--regid=postgres', '--init-groups', ...argv],
];

const programs = async (): Promise<string> => {
  const versions = (await readdir(INSTALLED)).sort((a, b) => Number(b) - Number(a));
  return join(INSTALLED, versions[0] ?? '', 'bin');
};

const idOf = async (flag: '-u' | '-g'): Promise<number> => Number((await run('id', [flag, 'postgres'])).stdout);

export const startPostgres = async (): Promise<Postgres> => {
  const bin = await programs();
  const directory = await mkdtemp(join(tmpdir(), 'shadow-postgres-'));
  await chown(directory, await idOf('-u'), await idOf('-g'));
  const data = join(directory, 'data');
  await run(...asPostgres([join(bin, 'initdb'), '-D', data, '-A', 'trust', '-U', 'shadow', '--no-sync']));
  // Pods come by their nodes' addresses or by their own.
  await run(...asPostgres(['sh', '-c', `echo 'host all all 0.0.0.0/0 trust' >>${data}/pg_hba.conf`]));
  const port = await freePort(ADDRESS.host);
  const settings = ['-h', ADDRESS.host, '-p', String(port), '-k', directory, '-c', 'fsync=off'];
  const server: ChildProcess = spawn(...asPostgres([join(bin, 'postgres'), '-D', data, ...settings]), {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  server.stderr?.on('data', (text: Buffer) => {
    log = (log + text.toString()).slice(-4000);
  });
  const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    server.kill('SIGINT');
    await ended;
    await rm(directory, { recursive: true, force: true });
  };
  const url = `postgres://shadow@${ADDRESS.host}:${port}/postgres`;
  const query: Postgres['query'] = async (text) => {
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  };
  try {
    await until('PostgreSQL to answer', 30_000, () => query('select 1'));
  } catch (error) {
    await stop();
    throw new Error(`PostgreSQL did not start:\n${log}`, { cause: error });
  }
  return { url, query, stop };
};
