/** Invariant 5: before the commit whatever goes wrong, or is called off, leaves the source as it was. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { otherNode } from '../../scripts/demonstration/kube.ts';
import { until } from '../../scripts/demonstration/until.ts';
import type { StatefulMigration, Step, Strategy } from '../../webhook/api/migration.ts';
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
import { breakCriu, truncateCheckpoints } from './support/faults.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { EXACT, type Load } from './support/load.ts';
import { connectionsOf } from './support/untouched.ts';
import { askAbort, atMoment } from './support/watch.ts';

const SPEC: Spec = { topic: 'stays', mode: 'sequential', prefetch: 50, declares: true };
const POD = 'stays-0';
let bed: Bed;
let load: Load;
let home: string;
let before: string[];

beforeAll(async () => {
  bed = await openBed('shadow-test-abort');
  await deployApp(bed, SPEC);
  home = await nodeOf(bed, POD);
  before = await instances(bed, SPEC);
  load = await openLoad(bed, SPEC, { rate: 60 });
  load.start();
  await load.flowing();
});
afterAll(() => closeBed(bed));

/** The app is the process it was, where it was, on the broker connection it had, and serves. */
const goesOn = async (had: string[]): Promise<void> => {
  expect(await nodeOf(bed, POD)).toBe(home);
  expect(await instances(bed, SPEC)).toEqual(before);
  expect(await connectionsOf(bed, POD)).toEqual(had);
  await load.flowing();
  expect(await settledLeftovers(bed)).toEqual([]);
};

const BEFORE_COMMIT: readonly { strategy: Strategy; steps: readonly Step[] }[] = [
  {
    strategy: 'StopAndCopy',
    steps: ['Warming', 'Muting', 'Cutting', 'Transferring', 'Restoring', 'Attaching'],
  },
  {
    strategy: 'ShadowPodSwap',
    steps: ['Warming', 'Cutting', 'Transferring', 'Restoring', 'Replaying', 'Muting', 'Attaching'],
  },
];

/** So late that the commit may be faster: a fair race, in which it must then have happened altogether. */
const RACES: readonly Step[] = ['Muting', 'Attaching'];

describe.each(BEFORE_COMMIT)('an abort of $strategy in', ({ strategy, steps }) => {
  it.each(steps)('%s', async (step) => {
    const had = await connectionsOf(bed, POD);
    // Too late, it is refused by name.
    const ask = (migration: StatefulMigration) =>
      askAbort(bed, migration).catch((error: unknown) => expect(String(error)).toContain('SHADOW_E_COMMITTED'));
    const armed = await atMoment(bed, { pod: POD, handoff: 0, step }, (migration) => void ask(migration));
    const { exit, stderr, migration } = await migrateAway(bed, POD, strategy);
    armed.disarm();
    expect(armed.fired(), stderr).toBeDefined();
    const phase = migration?.status?.phase;
    if (phase === 'Completed') {
      expect(strategy === 'StopAndCopy' ? ['Attaching'] : RACES).toContain(step);
      home = await nodeOf(bed, POD);
      expect(await instances(bed, SPEC)).toEqual(before);
      return;
    }
    expect({ phase, code: migration?.status?.error?.code }).toEqual({ phase: 'Aborted', code: 'SHADOW_E_ABORTED' });
    expect(migration?.status?.handoffs?.[0]?.decision?.verdict).toBe('abort');
    expect(exit).toBe(1);
    await goesOn(had);
  });
});

describe('a restore that fails', () => {
  it('because a checkpoint was cut short: the source goes on', async () => {
    const had = await connectionsOf(bed, POD);
    const fault = truncateCheckpoints(await otherNode(bed.kube, home), /(^|\/)app\/checkpoint\/core-\d+\.img$/);
    const { exit, migration } = await migrateAway(bed, POD).finally(() => fault.stop());
    expect(fault.truncated).not.toEqual([]);
    expect({ exit, code: migration?.status?.error?.code }).toEqual({ exit: 1, code: 'SHADOW_E_RESTORE' });
    await goesOn(had);
  });

  it('because CRIU refuses: the source goes on, and the user reads what CRIU said', async () => {
    const had = await connectionsOf(bed, POD);
    const undo = breakCriu(await otherNode(bed.kube, home));
    const { exit, stderr, migration } = await migrateAway(bed, POD).finally(undo);
    expect({ exit, code: migration?.status?.error?.code }).toEqual({ exit: 1, code: 'SHADOW_E_RESTORE' });
    expect(stderr).toContain('SHADOW_E_RESTORE');
    await goesOn(had);
  });

  it('and when that is mended, the same pod migrates', async () => {
    const { exit, stderr, target } = await migrateAway(bed, POD);
    expect({ exit, stderr }).toMatchObject({ exit: 0 });
    expect(await nodeOf(bed, POD)).toBe(target);
    home = target;
  });
});

it('the user aborts by the plugin, and is told how it ended', async () => {
  const had = await connectionsOf(bed, POD);
  const armed = await atMoment(bed, { pod: POD, handoff: 0, step: 'Warming' }, () => undefined);
  const running = migrateAway(bed, POD);
  const { metadata } = await until('the migration to begin', 30_000, async () => armed.fired(), 10);
  // A start-up time later it may have committed: then the abort is refused by name.
  const asked = await plugin(bed, 'abort', metadata.name, '--wait');
  armed.disarm();
  const { migration } = await running;
  if (asked.exit === 0) {
    expect(migration?.status?.phase).toBe('Aborted');
    await goesOn(had);
  } else {
    expect(asked.stderr).toMatch(/SHADOW_E_(COMMITTED|FINISHED)/);
    expect(migration?.status?.phase).toBe('Completed');
  }
});

it('after all of this the oracle agrees', async () => {
  expect(await finish(bed, SPEC, load)).toMatchObject({ ...EXACT, reordered: 0 });
  expect(await instances(bed, SPEC)).toEqual(before);
});
