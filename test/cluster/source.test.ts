/**
 * Invariants 1, 4 and 5 where the source itself dies: its sidecar, or its node without a word. Before the commit its memory is
 * lost with it, as that of any pod, and every message is applied by whoever starts in its place. After it the copy has all;
 * what the source had not settled yet the broker hands out again, and how much that is, is printed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { getPod } from '../../scripts/demonstration/kube.ts';
import { longestGapMs } from '../../scripts/demonstration/oracle.ts';
import { until } from '../../scripts/demonstration/until.ts';
import { type NodeName, powerCut, powerOn } from '../../scripts/playground/lib.ts';
import type { StatefulMigration, Step } from '../../webhook/api/migration.ts';
import { BROKER } from './support/apps.ts';
import {
  type Bed,
  closeBed,
  deployApp,
  finish,
  installed,
  instances,
  migrateAway,
  nodeOf,
  openBed,
  openLoad,
  readStates,
  type Spec,
} from './support/bed.ts';
import { killIn, pidsOf, signal } from './support/faults.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { type Finding, type Load, secondVoices } from './support/load.ts';
import { spread } from './support/spread.ts';
import { atMoment } from './support/watch.ts';

const PREFETCH = 20;
const POD = 'mortal-0';
/**
 * It acks every ten, and by a timer: there is nearly always something unsettled. A copy that is behind when its source's timer
 * fires acks by its own next time: within the second for which a copy that stands still is waited for. The broker misses a dead
 * peer within 15 s.
 */
const SPEC: Spec = {
  topic: 'mortal',
  mode: 'ack-batch',
  prefetch: PREFETCH,
  env: { AMQP_URL: `${BROKER}?heartbeat=5`, FLUSH_MS: '500' },
};
const SIDECAR = 'sidecar.cjs';
let bed: Bed;
let load: Load;
/** Processes of the app that were lost with their memory. */
let deaths = 0;
/** Deliveries that may have come again: what each death, or each commit it met, left unsettled. */
let allowance = 0;

beforeAll(async () => {
  bed = await openBed('shadow-test-source');
  await deployApp(bed, SPEC);
  load = await openLoad(bed, SPEC, { rate: 33 });
  load.start();
  await load.flowing();
});
afterAll(async () => {
  for (const node of ['node-1', 'node-2'] as const) await powerOn(node);
  // The kubelet tells only now which of its containers are gone.
  await sleep(10_000);
  await installed(bed.kube);
  await closeBed(bed);
});

const uids = ({ status }: StatefulMigration): { source: string; copy: string } => {
  const [first] = status?.handoffs ?? [];
  return { source: first?.source.uid ?? '', copy: first?.copy.uid ?? '' };
};

/** From that step on the copy says nothing any more, least of all that it is ready: no commit comes before what the test does. */
const holdCopy = async (at: 'Replaying' | 'Muting'): Promise<() => void> => {
  let pids: number[] = [];
  const find = (migration: StatefulMigration): void => {
    pids = pidsOf(uids(migration).copy, SIDECAR);
  };
  const hold = (migration: StatefulMigration): void => {
    if (pids.length === 0) find(migration);
    signal(pids, 'SIGSTOP');
  };
  // Found ahead: the steps after it are short.
  const found = await atMoment(bed, { pod: POD, handoff: 0, step: 'Replaying' }, at === 'Replaying' ? hold : find);
  const held = await atMoment(bed, { pod: POD, handoff: 0, step: 'Muting' }, hold);
  return () => {
    found.disarm();
    held.disarm();
    expect(pids).not.toEqual([]);
  };
};

const decisionOf = ({ status }: StatefulMigration): string | undefined => status?.handoffs?.[0]?.decision?.verdict;

const answersAgain = (): Promise<unknown> => {
  const before = load.outputs.length;
  return until('outputs', 120_000, async () => load.outputs.length >= before + 20, 50);
};

/** Deliveries that came to the app's process with the broker's word that they may have come before. */
const redelivered = async (): Promise<number> =>
  (await readStates(bed, SPEC)).reduce((sum, state) => sum + state.redelivered, 0);

/** `before`: what of the redelivered had come by then; a fresh process has seen none. */
const report = async (what: string, from: number, before: number, more: object): Promise<void> => {
  const gap = longestGapMs(load.outputs, POD, from, performance.now());
  const again = (await redelivered()) - before;
  console.log(JSON.stringify({ what, longestGapSeconds: Math.round(gap / 100) / 10, redelivered: again, ...more }));
};

const seconds = (from: number): number => Math.round((performance.now() - from) / 100) / 10;

/** Seconds from the first commit to each later step of either handoff. */
const stepsOf = (migration: StatefulMigration | undefined): Record<string, number> => {
  const [first, second] = migration?.status?.handoffs ?? [];
  const committed = Date.parse(first?.entered.Committed ?? '');
  const marks = [first, second].flatMap((handoff) =>
    Object.entries(handoff?.entered ?? {}).map(
      ([step, at]) => [`${handoff?.index}.${step}`, Math.round((Date.parse(at) - committed) / 100) / 10] as const,
    ),
  );
  return Object.fromEntries(marks.filter(([, after]) => after > 0));
};

const expectUndone = (migration: StatefulMigration | undefined, exit: number): void => {
  expect(migration && decisionOf(migration)).toBe('abort');
  expect({ exit, phase: migration?.status?.phase }).toEqual({ exit: 1, phase: 'Failed' });
  expect(migration?.status?.error?.code).toMatch(
    /^SHADOW_E_(SOURCE_LOST|SIDECAR_UNREACHABLE|AGENT_UNREACHABLE|ATTACH|RECORD|MUTE)$/,
  );
};

it('its sidecar is killed when it is mute, before the commit: undone, and a fresh process of the app serves', async () => {
  const home = await nodeOf(bed, POD);
  const before = await instances(bed, SPEC);
  const release = await holdCopy('Muting');
  let from = 0;
  const armed = await atMoment(bed, { pod: POD, handoff: 0, step: 'Attaching' }, (migration) => {
    from = performance.now();
    expect(killIn(uids(migration).source, SIDECAR)).toBeGreaterThan(0);
  });
  const { exit, stderr, migration } = await migrateAway(bed, POD, 'ShadowPodSwap');
  armed.disarm();
  release();
  expect(armed.fired(), stderr).toBeDefined();
  expectUndone(migration, exit);
  await answersAgain();
  expect(await nodeOf(bed, POD)).toBe(home);
  expect(await instances(bed, SPEC)).not.toEqual(before);
  deaths += 1;
  allowance += PREFETCH;
  await report('sidecar killed, mute', from, 0, { code: migration?.status?.error?.code, seconds: seconds(from) });
  expect(await settledLeftovers(bed)).toEqual([]);
});

it('its sidecar is killed when it is superseded: the copy has all, and the pod is moved', async () => {
  const before = await instances(bed, SPEC);
  const seen = await redelivered();
  let from = 0;
  const armed = await atMoment(bed, { pod: POD, handoff: 0, step: 'Committed' }, (migration) => {
    from = performance.now();
    expect(killIn(uids(migration).source, SIDECAR)).toBeGreaterThan(0);
  });
  const { exit, stderr, migration, target } = await migrateAway(bed, POD, 'ShadowPodSwap');
  armed.disarm();
  expect(armed.fired(), stderr).toBeDefined();
  expect({ exit, stderr }).toMatchObject({ exit: 0 });
  expect(await nodeOf(bed, POD)).toBe(target);
  expect(await instances(bed, SPEC)).toEqual(before);
  allowance += migration?.status?.handoffs?.[0]?.carried ?? 0;
  await answersAgain();
  await report('sidecar killed, superseded', from, seen, {
    carried: migration?.status?.handoffs?.[0]?.carried,
    seconds: seconds(from),
  });
  expect(await settledLeftovers(bed)).toEqual([]);
});

it("its node's power is cut after the commit: the copy has all, and the pod gets its name though the node is dark", async () => {
  const before = await instances(bed, SPEC);
  const seen = await redelivered();
  const home = (await nodeOf(bed, POD)) as NodeName;
  let from = 0;
  let cut: Promise<void> | undefined;
  const armed = await atMoment(bed, { pod: POD, handoff: 0, step: 'Committed' }, () => {
    from = performance.now();
    cut = powerCut(home);
  });
  try {
    const { exit, stderr, migration, target } = await migrateAway(bed, POD, 'ShadowPodSwap');
    armed.disarm();
    await cut;
    expect(armed.fired(), stderr).toBeDefined();
    expect({ exit, stderr }).toMatchObject({ exit: 0 });
    expect(await nodeOf(bed, POD)).toBe(target);
    expect(await instances(bed, SPEC)).toEqual(before);
    const carried = migration?.status?.handoffs?.[0]?.carried ?? 0;
    allowance += carried;
    const moved = seconds(from);
    await answersAgain();
    await report('power cut after the commit', from, seen, { carried, seconds: moved, ...stepsOf(migration) });
  } finally {
    await powerOn(home);
  }
  expect(await settledLeftovers(bed, 30_000)).toEqual([]);
  expect(await instances(bed, SPEC)).toEqual(before);
});

const BEFORE: readonly { step: Step; held: 'Replaying' | 'Muting' }[] = [
  { step: 'Replaying', held: 'Replaying' },
  { step: 'Attaching', held: 'Muting' },
];

it.each(BEFORE)(
  "its node's power is cut in $step, before the commit: undone, and it serves when the node is back",
  async ({ step, held }) => {
    await spread(bed);
    const home = (await nodeOf(bed, POD)) as NodeName;
    const { uid } = (await getPod(bed.kube, bed.namespace, POD))!.metadata!;
    const release = await holdCopy(held);
    let from = 0;
    let cut: Promise<void> | undefined;
    const armed = await atMoment(bed, { pod: POD, handoff: 0, step }, () => {
      from = performance.now();
      cut = powerCut(home);
    });
    const decided = await atMoment(bed, { pod: POD, handoff: 0, step: 'Aborting' }, () => undefined);
    const running = migrateAway(bed, POD, 'ShadowPodSwap');
    try {
      await until('the migration to be undone', 150_000, async () => decided.fired(), 100);
      await cut;
    } finally {
      await powerOn(home);
    }
    const dark = seconds(from);
    const { exit, stderr, migration } = await running;
    for (const each of [armed, decided]) each.disarm();
    release();
    expect(armed.fired(), stderr).toBeDefined();
    expectUndone(migration, exit);
    await answersAgain();
    expect(await nodeOf(bed, POD)).toBe(home);
    expect((await getPod(bed.kube, bed.namespace, POD))?.metadata?.uid).toBe(uid);
    deaths += 1;
    allowance += PREFETCH;
    await report(`power cut in ${step}`, from, 0, {
      code: migration?.status?.error?.code,
      dark,
      seconds: seconds(from),
    });
    expect(await settledLeftovers(bed, 30_000)).toEqual([]);
  },
);

it('and after all of this no message is lost, and nobody has spoken beside another', async () => {
  const finding: Finding = await finish(bed, SPEC, load);
  const { confirmed, outputsDuplicated, redelivered } = finding;
  console.log(JSON.stringify({ confirmed, outputsDuplicated, redelivered, deaths, allowance }));
  expect(finding).toMatchObject({ outputsLost: 0, shutdowns: 0 });
  expect(secondVoices(load.outputs)).toBe(0);
  expect(outputsDuplicated).toBeLessThanOrEqual(allowance);
  // The memory is that of the last process that started empty: every process but it died before a commit.
  expect(new Set((load.outputs as unknown as { instance: string }[]).map(({ instance }) => instance)).size).toBe(
    deaths + 1,
  );
});
