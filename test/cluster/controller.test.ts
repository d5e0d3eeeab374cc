/** Invariant 5 through crashes: the leading controller is killed in every step, and the migration ends well without it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Step, Strategy } from '../../webhook/api/migration.ts';
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
  type Spec,
} from './support/bed.ts';
import { leader } from './support/faults.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { EXACT, type Load } from './support/load.ts';
import { atMoment } from './support/watch.ts';

const SPEC: Spec = { topic: 'orphan', mode: 'sequential', prefetch: 50 };
const POD = 'orphan-0';
let bed: Bed;
let load: Load;
let before: string[];

beforeAll(async () => {
  bed = await openBed('shadow-test-controller');
  await deployApp(bed, SPEC);
  before = await instances(bed, SPEC);
  load = await openLoad(bed, SPEC, { rate: 30 });
  load.start();
  await load.flowing();
});
afterAll(() => closeBed(bed));

/** Each step, by one of the strategies. At every single call, by each of them: test/unit/controller. */
const MOMENTS: readonly { strategy: Strategy; handoff: number; steps: readonly Step[] }[] = [
  { strategy: 'StopAndCopy', handoff: 0, steps: ['Muting', 'Transferring', 'Attaching', 'Settling'] },
  { strategy: 'StopAndCopy', handoff: 1, steps: ['Restoring', 'Committed', 'Retiring'] },
  {
    strategy: 'ShadowPodSwap',
    handoff: 0,
    steps: ['Warming', 'Cutting', 'Restoring', 'Replaying', 'Muting', 'Committed', 'Switching', 'Retiring'],
  },
  { strategy: 'ShadowPodSwap', handoff: 1, steps: ['Cutting', 'Replaying', 'Switching'] },
];

describe.each(MOMENTS)('$strategy: the controller is killed in handoff $handoff', ({ strategy, handoff, steps }) => {
  it.each(steps)('in %s', async (step) => {
    const home = await nodeOf(bed, POD);
    const victim = await leader(bed);
    const armed = await atMoment(bed, { pod: POD, handoff, step }, () => victim.kill());
    const { exit, stderr, target, migration } = await migrateAway(bed, POD, strategy);
    armed.disarm();
    expect(armed.fired(), stderr).toBeDefined();
    await victim.replace();
    // It may have been given up before the commit, by name; after it, it must have come through.
    const phase = migration?.status?.phase;
    const committed = migration?.status?.handoffs?.[0]?.decision?.verdict === 'commit';
    expect({ exit, phase, stderr }).toMatchObject(
      committed ? { exit: 0, phase: 'Completed' } : { exit: 1, phase: expect.stringMatching(/Aborted|Failed/) },
    );
    expect(await nodeOf(bed, POD)).toBe(committed ? target : home);
    expect(await instances(bed, SPEC)).toEqual(before);
    await load.flowing();
    expect(await settledLeftovers(bed)).toEqual([]);
  });
});

it('and after all of this the oracle agrees', async () => {
  expect(await finish(bed, SPEC, load)).toMatchObject({ ...EXACT, reordered: 0 });
});
