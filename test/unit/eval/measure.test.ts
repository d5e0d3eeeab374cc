/** Faults that are put into a run, each of which must be seen, and nothing else. */
import { describe, expect, test } from 'vitest';
import { State as Memory } from '../../../manifests/examples/consumer/state.ts';
import type { SeenOutput } from '../../../scripts/demonstration/oracle.ts';
import { type Load, measuredOf, type State } from '../../../scripts/eval/measure.ts';
import type { Migrated } from '../../../scripts/eval/migration.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';

const RATE = 20;
const SECONDS = 20;
const COUNT = RATE * SECONDS;
/** On the clock of performance.now(), and a whole millisecond on that of the day. */
const START = 1000 + Math.ceil(performance.timeOrigin) - performance.timeOrigin;
const FROM = START + 6000;
const TO = FROM + 5000;

const bodyOf = (seq: number): Buffer => {
  const sentAt = START + Math.floor((seq - 1) / RATE) * 1000;
  const event = { seq, sentAt: new Date(performance.timeOrigin + sentAt).toISOString(), payload: 'x' };
  return Buffer.from(JSON.stringify(event));
};

const bodies = new Map(Array.from({ length: COUNT }, (_, index) => [index + 1, bodyOf(index + 1)]));

/** A consumer that applied `list`, as it remembers it, and what it told. */
const applied = (list: readonly number[]): { state: State; outputs: SeenOutput[] } => {
  const memory = new Memory({ consumer: 'consumer-0', instance: 'i', startedAt: '' });
  const outputs = list.map((seq) => {
    const index = memory.apply(seq, bodies.get(seq)!, false);
    const burst = Math.floor((seq - 1) / RATE);
    return { consumer: 'consumer-0', seq, index, at: START + burst * 1000 + (((seq - 1) % RATE) + 1) * 10 };
  });
  return { state: { ...memory.snapshot(), list: [...list], connections: 1 }, outputs };
};

const all = [...bodies.keys()];
const probes = Array.from({ length: SECONDS * 100 }, (_, index) => ({ at: START + index * 10, ok: true }));

const migration = {
  metadata: { name: 'eval', namespace: 'shadow-eval', uid: 'u', resourceVersion: '1' },
  spec: {},
  status: {
    phase: 'Completed',
    strategy: 'ShadowPodSwap',
    startTime: '2026-11-30T01:00:00.250Z',
    completionTime: '2026-11-30T01:00:05.000Z',
    phaseTimings: { Checkpointing: '350ms', Replaying: '1m2.5s' },
    handoffs: [
      {
        ...{ source: { node: 'node-1' }, copy: { node: 'node-2' }, bytes: 1500 },
        entered: { Done: '2026-11-30T01:00:03.000Z', Warming: '2026-11-30T01:00:00.500Z' },
      },
      // From the shadow to its successor.
      { source: { node: 'node-2' }, copy: { node: 'node-2' }, bytes: 2000, entered: {} },
      { source: { node: 'node-1' }, copy: { node: 'node-2' }, entered: {} },
    ],
  },
} as unknown as StatefulMigration;
const migrated: Migrated = { end: { kind: 'completed' }, from: FROM, to: TO, migration };
const nodes = { from: 'node-1', to: 'node-2' };

const measure = (change: { load?: Partial<Load>; states?: readonly State[]; list?: readonly number[] }) => {
  const { state, outputs } = applied(change.list ?? all);
  const load: Load = { sent: bodies, confirmed: new Set(all), outputs, probes, since: START, ...change.load };
  return measuredOf(load, migrated, nodes, change.states ?? [state]);
};

const CLEAN = {
  ...{ failedProbes: 0, failures: [], downtimeMs: 0, gapMs: 10, before: { failedProbes: 0, gapMs: 10 } },
  ...{ confirmed: COUNT, lost: 0, duplicated: 0, reordered: 0, outputsLost: 0, outputsDuplicated: 0 },
  ...{ stateMatches: true, reconnects: 0, pods: 1 },
};

test('a run in which nothing went wrong is clean', () => {
  expect(measure({})).toEqual({
    ...CLEAN,
    ...{ from: 'node-1', to: 'node-2', strategy: 'ShadowPodSwap', totalSeconds: 4.75, bytes: 1500 },
    phaseSeconds: { Checkpointing: 0.35, Replaying: 62.5 },
    steps: [{ Warming: 0.25, Done: 2.75 }, {}, {}],
    // 801: the end, three seconds more and both ends of that.
    ...{ probes: 801, silenceMs: 810 },
  });
});

describe('is seen, and nothing beside it:', () => {
  test('a lost message', () => {
    const list = all.filter((seq) => seq !== 150 && seq !== 151);
    expect(measure({ list })).toMatchObject({ ...CLEAN, gapMs: 30, lost: 2, outputsLost: 2 });
  });

  test('a message applied twice', () => {
    const list = [...all.slice(0, 150), 150, ...all.slice(150)];
    expect(measure({ list })).toMatchObject({ ...CLEAN, duplicated: 1, outputsDuplicated: 1 });
  });

  test('messages out of order', () => {
    const list = [...all.slice(0, 150), 152, 151, ...all.slice(152)];
    expect(measure({ list })).toMatchObject({ ...CLEAN, reordered: 1 });
  });

  test('a message that two pods applied', () => {
    const { state, outputs } = applied(all);
    const other = applied([150]);
    const states = [state, { ...other.state, consumer: 'consumer-0-shadow', instance: 'j' }];
    expect(measure({ states, load: { outputs } })).toMatchObject({ ...CLEAN, pods: 2, duplicated: 1 });
  });

  test('a memory that is not what the messages make it', () => {
    const { state } = applied(all);
    expect(measure({ states: [{ ...state, hash: '00'.repeat(32) }] })).toMatchObject({ ...CLEAN, stateMatches: false });
    expect(measure({ states: [{ ...state, count: COUNT - 1 }] })).toMatchObject({ ...CLEAN, stateMatches: false });
  });

  test('a pod that connected again', () => {
    const { state } = applied(all);
    expect(measure({ states: [{ ...state, connections: 3 }] })).toMatchObject({ ...CLEAN, reconnects: 2 });
  });

  test('the longest streak of failed probes, not their sum', () => {
    const bad = (at: number): boolean => (at >= FROM + 500 && at < FROM + 800) || (at >= TO && at < TO + 100);
    const load = { probes: probes.map(({ at }) => ({ at, ok: !bad(at), ...(bad(at) ? { why: 'refused' } : {}) })) };
    const measured = measure({ load });
    const { failures } = measured;
    expect(measured).toMatchObject({ ...CLEAN, failedProbes: 40, downtimeMs: 300, failures });
    const startTime = Date.parse('2026-11-30T01:00:00.250Z') - performance.timeOrigin;
    expect(failures).toHaveLength(10);
    expect(failures[1]?.why).toBe('refused');
    expect(failures[1]?.at).toBeCloseTo((FROM + 510 - startTime) / 1000, 2);
  });

  test('probes that failed before the migration, apart from its own', () => {
    const load = { probes: probes.map(({ at }) => ({ at, ok: at !== START + 3000 })) };
    expect(measure({ load })).toMatchObject({ ...CLEAN, before: { failedProbes: 1, gapMs: 10 } });
  });

  test('a time in which nothing was done', () => {
    const { outputs } = applied(all);
    const late = outputs.map((each) => (each.at > TO && each.at <= TO + 400 ? { ...each, at: TO + 400 } : each));
    expect(measure({ load: { outputs: late } })).toMatchObject({ ...CLEAN, gapMs: 400 });
  });

  test("a time that begins before the migration and ends in it is the migration's", () => {
    const { outputs } = applied(all);
    const [from, to] = [FROM - 960, FROM + 500];
    const late = outputs.map((each) => (each.at > from && each.at <= to ? { ...each, at: to } : each));
    // What was to be seen of it before.
    const before = { failedProbes: 0, gapMs: 960 };
    expect(measure({ load: { outputs: late } })).toMatchObject({ ...CLEAN, gapMs: 1460, before });
  });

  test('the same before the migration, apart from its own', () => {
    const { outputs } = applied(all);
    const [from, to] = [START + 3000, START + 3300];
    const late = outputs.map((each) => (each.at > from && each.at <= to ? { ...each, at: to } : each));
    expect(measure({ load: { outputs: late } })).toMatchObject({ ...CLEAN, before: { failedProbes: 0, gapMs: 300 } });
  });
});

test('a message the broker never confirmed is owed by nobody', () => {
  const confirmed = new Set(all.filter((seq) => seq !== 77));
  expect(measure({ list: all.filter((seq) => seq !== 77), load: { confirmed } })).toMatchObject({
    ...{ lost: 0, outputsLost: 0, confirmed: COUNT - 1, stateMatches: true },
  });
});
