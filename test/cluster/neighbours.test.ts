/** What a migration must not touch: the other replica, the StatefulSet, everybody's messages. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { getPod } from '../../scripts/demonstration/kube.ts';
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
  plugin,
  type Spec,
} from './support/bed.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { EXACT, type Load } from './support/load.ts';
import { atMoment } from './support/watch.ts';

const SPEC: Spec = { topic: 'pair', mode: 'sequential', replicas: 2, prefetch: 50 };
let bed: Bed;
let load: Load;

beforeAll(async () => {
  bed = await openBed('shadow-test-pair');
  await deployApp(bed, SPEC);
  load = await openLoad(bed, SPEC, { rate: 60 });
  load.start();
  await load.flowing();
});
afterAll(() => closeBed(bed));

const readSet = () => bed.kube.apps.readNamespacedStatefulSet({ namespace: bed.namespace, name: 'pair' });

it('the other replica never restarts, and the StatefulSet is never edited', async () => {
  const [set, other, before] = [
    await readSet(),
    await getPod(bed.kube, bed.namespace, 'pair-1'),
    await instances(bed, SPEC),
  ];
  const replicas: (number | undefined)[] = [];
  const watched = await atMoment(bed, { pod: 'pair-0', handoff: 1, step: 'Committed' }, () => {
    void readSet().then(({ spec }) => replicas.push(spec?.replicas));
  });
  const { exit, stderr, target } = await migrateAway(bed, 'pair-0');
  watched.disarm();
  expect({ exit, stderr }).toMatchObject({ exit: 0 });
  expect(await nodeOf(bed, 'pair-0')).toBe(target);
  const [setAfter, otherAfter] = [await readSet(), await getPod(bed.kube, bed.namespace, 'pair-1')];
  expect(setAfter.metadata?.uid).toBe(set.metadata?.uid);
  expect(setAfter.metadata?.generation).toBe(set.metadata?.generation);
  expect(setAfter.spec).toEqual(set.spec);
  expect(replicas).toEqual([2]);
  expect(otherAfter?.metadata?.uid).toBe(other?.metadata?.uid);
  expect(otherAfter?.status?.containerStatuses?.map(({ restartCount }) => restartCount)).toEqual([0]);
  expect(await instances(bed, SPEC)).toEqual(before);
  expect(await settledLeftovers(bed)).toEqual([]);
});

it('what was committed cannot be aborted: it says so, and ends well', async () => {
  let name = '';
  const watched = await atMoment(bed, { pod: 'pair-0', handoff: 0, step: 'Committed' }, ({ metadata }) => {
    name = metadata.name;
  });
  const running = migrateAway(bed, 'pair-0');
  await expect.poll(() => name, { timeout: 60_000, interval: 20 }).not.toBe('');
  const refused = await plugin(bed, 'abort', name);
  watched.disarm();
  expect(refused).toMatchObject({ exit: 1 });
  expect(refused.stderr).toMatch(/SHADOW_E_(COMMITTED|FINISHED)/);
  const { exit, migration } = await running;
  expect({ exit, phase: migration?.status?.phase }).toEqual({ exit: 0, phase: 'Completed' });
});

it('afterwards the oracle agrees', async () => {
  expect(await finish(bed, SPEC, load)).toMatchObject({ ...EXACT, reordered: 0 });
  expect(await settledLeftovers(bed)).toEqual([]);
});
