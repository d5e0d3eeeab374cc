import { expect, it } from 'vitest';
import type { PlayReport, SidecarState } from '../../../webhook/api/control.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import type { Hub } from '../../../webhook/controller/hub/hub.ts';
import { asked, Trace, underWay } from '../../../webhook/controller/trace.ts';
import { tracing } from '../../../webhook/controller/tracing.ts';
import { handoff, migration, START, replaying as sample } from '../plugin/sample.ts';

const of = (step: Parameters<typeof handoff>[2], mode: 'stop' | 'replay' = 'replay') => {
  const made = handoff(0, 0, 'Warming');
  return { ...made, mode, step: step!, source: { ...made.source, uid: 's' }, copy: { ...made.copy, uid: 'c' } };
};
const record = (entries: number) => ({ bytes: 0, entries, rate: 60, throttle: 0.8 });
const play = (played: number): PlayReport => ({
  ...{ link: 'direct', received: 100, played, lag: 5, matched: 9, waiting: 0, rate: 50, diverged: 0 },
  ...{ attached: true, ended: false },
});

it('a gap is the time in which a count stood still; growth between two words is none', () => {
  const trace = new Trace();
  const told = (at: number, entries: number, played: number) =>
    trace.told(
      of('Replaying'),
      { state: 'recording', record: record(entries) },
      { state: 'replaying', play: play(played) },
      at,
    );
  told(1000, 100, 50);
  told(1200, 110, 50);
  told(1400, 110, 50);
  told(1600, 110, 60);
  expect(trace.looks('u-0').map(({ at, sourceGap, copyGap }) => [at, sourceGap, copyGap])).toEqual([
    [1000, 0, 0],
    [1200, 0, 200],
    [1400, 200, 400],
    [1600, 400, 0],
  ]);
  // What has not reached the copy is owed, too.
  expect(trace.looks('u-0').map(({ lag }) => lag)).toEqual([5, 15, 15, 15]);
  expect(trace.looks('u-0')[0]).toMatchObject({ sourceRate: 60, throttle: 0.8 });
});

it('a rate is the difference of two counts, and none is made of a sidecar that was started anew', () => {
  const trace = new Trace();
  const count = (at: number, delivered: number) => trace.counted(of('Settling'), 'copy', delivered, at);
  count(1000, 500);
  count(1100, 900);
  count(1500, 530);
  count(2000, 3);
  count(2500, 53);
  expect(trace.looks('u-0')).toEqual([
    { at: 1500, copyRate: 60 },
    { at: 2500, copyRate: 100 },
  ]);
});

it('nothing known is no look; a clock set back makes none out of order', () => {
  const trace = new Trace();
  trace.told(of('Warming'), { state: 'idle' }, undefined, 1000);
  expect(trace.looks('u-0')).toEqual([]);
  for (const at of [5000, 2000, 6000]) trace.told(of('Muting'), { state: 'mute', record: record(1) }, undefined, at);
  // A mute source serves nobody, whatever its mean over the last second is.
  expect(trace.looks('u-0').map(({ sourceRate }) => sourceRate)).toEqual([0, 0]);
  const times = trace.looks('u-0').map(({ at }) => at);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  trace.keep(new Set());
  expect(trace.looks('u-0')).toEqual([]);
});

const states = (source: SidecarState, copy?: SidecarState) => (uid: string) => {
  const state = uid === 's' ? source : copy;
  return state && { state };
};
it.each<[string, ReturnType<typeof of>, SidecarState, SidecarState | undefined, string[]]>([
  ['the source before anything happens', of('Warming'), 'idle', undefined, ['source']],
  ['a copy that replays, while its source tells by itself', of('Replaying'), 'recording', 'replaying', ['copy']],
  ['nobody at the cut', of('Cutting'), 'idle', undefined, []],
  ['nobody while users wait', of('Muting'), 'muting', 'replaying', []],
  ['nobody for the last of the record', of('Attaching'), 'mute', 'replaying', []],
  ['nobody while the copy goes live', of('Committed'), 'mute', 'replayed', []],
  ['nobody while a stopped source is copied', of('Transferring', 'stop'), 'mute', 'idle', []],
  ['the copy that serves', of('Settling', 'stop'), 'superseded', 'live', ['copy']],
  ['the copy until its source is gone', of('Retiring'), 'closed', 'idle', ['copy']],
])('%s is asked', (_text, given, source, copy, expected) => {
  expect(asked(given, states(source, copy)).map(({ side }) => side)).toEqual(expected);
});

it('only what is under way is looked at', () => {
  expect(underWay(sample, START + 5)?.sinceStart).toBe(5);
  expect(underWay(migration('m', { ...sample.status!, phase: 'Completed' }), START)).toBeUndefined();
  expect(underWay(migration('m', {}), START)).toBeUndefined();
});

it('a sidecar that never answers is asked once, keeps nobody waiting, and fails nothing', async () => {
  const running: StatefulMigration = migration('m', {
    ...sample.status!,
    handoffs: [of('Settling')],
  });
  const asking: string[] = [];
  const hub: Pick<Hub, 'session' | 'command'> = {
    session: () => ({ state: 'live', process: 'p' }),
    command: (uid) => {
      asking.push(uid);
      return asking.length === 1 ? new Promise(() => {}) : Promise.reject(new Error('gone'));
    },
  };
  const traced = tracing({ migrations: () => [running] }, hub, () => START + 1000, 5);
  traced.start();
  await expect.poll(() => asking.length).toBeGreaterThan(0);
  await new Promise((resolve) => setTimeout(resolve, 40));
  traced.stop();
  expect(asking).toEqual(['c']);
  expect(traced.seen('u-0')).toEqual([]);
});
