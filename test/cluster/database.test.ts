/** Invariant 4 where an app's effects are not broker messages: rows in a real PostgreSQL, each message's written once. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import {
  type Bed,
  closeBed,
  deployApp,
  finish,
  instances,
  migrateAway,
  nodeOf,
  openBed,
  openLoad,
  removeApp,
  type Spec,
} from './support/bed.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { EXACT, type Load } from './support/load.ts';
import { type Postgres, startPostgres } from './support/postgres.ts';

const TOPIC = 'rows';
const POD = `${TOPIC}-0`;
let bed: Bed;
let database: Postgres;
let spec: Spec;
let load: Load;

beforeAll(async () => {
  bed = await openBed('shadow-test-database');
  database = await startPostgres();
  spec = { topic: TOPIC, mode: 'database', env: { DATABASE_URL: database.url } };
});
afterAll(async () => {
  await closeBed(bed);
  await database?.stop();
});

beforeEach(async () => {
  // No key: a row written twice is there twice.
  await database.query('drop table if exists applied; create table applied (seq int, consumer text)');
  await deployApp(bed, spec);
  load = await openLoad(bed, spec, { rate: 30 });
  load.start();
  await load.flowing();
});
afterEach(async () => {
  await load.stop();
  await removeApp(bed, spec);
});

const rows = async (): Promise<{ written: number; twice: number }> => {
  const [counted] = await database.query(
    'select count(*)::int as written, count(*) filter (where n > 1)::int as twice from (select count(*) as n from applied group by seq) as each',
  );
  return counted as { written: number; twice: number };
};

it('Auto sees the connection and stops the app for the copy, saying why', async () => {
  const { exit, stderr, migration, target } = await migrateAway(bed, POD);
  expect({ exit, stderr }).toMatchObject({ exit: 0 });
  expect(migration?.status).toMatchObject({ phase: 'Completed', strategy: 'StopAndCopy' });
  expect(migration?.status?.strategyReason).toContain(new URL(database.url).host);
  expect(await nodeOf(bed, POD)).toBe(target);
  const finding = await finish(bed, spec, load);
  expect(finding).toMatchObject(EXACT);
  // A write under way when the app was stopped is repeated by its own code, over its next connection; none is missing.
  expect((await rows()).written).toBe(finding.confirmed);
  expect(await settledLeftovers(bed)).toEqual([]);
});

it('forced to replay, the copy is fenced: no row is written twice, and the source goes on', async () => {
  const before = await instances(bed, spec);
  const home = await nodeOf(bed, POD);
  const { exit, migration } = await migrateAway(bed, POD, 'ShadowPodSwap');
  // It can't write, so it can't do what the source did: that is found, and nothing has happened.
  expect({ exit, phase: migration?.status?.phase, code: migration?.status?.error?.code }).toEqual({
    exit: 1,
    phase: 'Failed',
    code: 'SHADOW_E_DIVERGED',
  });
  await load.flowing();
  const finding = await finish(bed, spec, load);
  expect(finding).toMatchObject(EXACT);
  expect(await rows()).toEqual({ written: finding.confirmed, twice: 0 });
  expect(await instances(bed, spec)).toEqual(before);
  expect(await nodeOf(bed, POD)).toBe(home);
  expect(await settledLeftovers(bed)).toEqual([]);
});
