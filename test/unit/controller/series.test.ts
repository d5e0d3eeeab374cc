import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Handoff, Series } from '../../../webhook/api/migration.ts';
import { type Look, looksOf, MOST, thinned, withLooks, withSeries } from '../../../webhook/controller/series.ts';
import { handoff } from '../plugin/sample.ts';
import { begun, expectCompleted } from './rigour.ts';
import { Crash } from './world.ts';
import { RATE } from './world-trace.ts';

const value = fc.double({ min: -10, max: 1e12, noNaN: false });
const look = fc.record({
  at: fc.integer({ min: 0, max: 3_600_000 }),
  sourceRate: value,
  copyRate: value,
  lag: value,
  throttle: value,
  sourceGap: value,
  copyGap: value,
});
const looks = fc.array(look, { maxLength: 400 }).map((all) => all.sort((a, b) => a.at - b.at));

const every = (ms: number, count: number, lag = (index: number) => index): Look[] =>
  Array.from({ length: count }, (_, index) => ({ at: index * ms, sourceRate: 60, lag: lag(index) }));

describe('the series of a handoff', () => {
  it('is bounded in looks and bytes, in order of time, and all its columns are as long, whatever was seen', () => {
    fc.assert(
      fc.property(looks, looks, (first, second) => {
        const series = withLooks(withLooks(undefined, first), second) ?? ({ at: [] } as unknown as Series);
        const columns = Object.values(series) as number[][];
        expect(new Set(columns.map(({ length }) => length)).size).toBe(1);
        expect(series.at.length).toBeLessThanOrEqual(MOST);
        expect(series.at).toEqual([...series.at].sort((a, b) => a - b));
        // As the comment of MOST says.
        expect(JSON.stringify(series).length).toBeLessThanOrEqual(6_600);
        expect(columns.flat().every((each) => Number.isFinite(each) && each >= -1)).toBe(true);
      }),
    );
  });

  it('keeps its bound when it is full of the longest numbers', () => {
    const most = { sourceRate: 1e300, copyRate: 1e300, lag: 1e300, throttle: 0.123, sourceGap: 1e300, copyGap: 1e300 };
    const full = withLooks(
      undefined,
      every(200, MOST).map(({ at }) => ({ at: at + 98_000_000, ...most })),
    );
    expect(full!.at).toHaveLength(MOST);
    expect(JSON.stringify(full).length).toBeGreaterThan(6_300);
    expect(JSON.stringify(full).length).toBeLessThanOrEqual(6_600);
  });

  it('of an ordinary run has about a kilobyte', () => {
    const seen = every(200, 40).map((each, index) => ({
      ...each,
      copyRate: 58.3,
      throttle: 0.85,
      sourceGap: index % 3,
      copyGap: 0,
    }));
    expect(JSON.stringify(withLooks(undefined, seen)).length).toBeLessThan(1_100);
  });

  it('grown look by look for ten minutes covers all of it, evenly', () => {
    let series: Series | undefined;
    for (const each of every(250, 2400)) series = withLooks(series, [each]);
    const { at } = series!;
    expect(at[0]).toBe(0);
    expect(at.at(-1)).toBeGreaterThan(590_000);
    const spaces = at.slice(1).map((time, index) => time - at[index]!);
    expect(Math.max(...spaces)).toBeLessThanOrEqual(2 * Math.max(...spaces.slice(0, 10)));
    expect(at.length).toBeGreaterThan(MOST / 3);
  });

  it('does not lose a peak by thinning', () => {
    const seen = every(200, 1000, (index) => (index === 501 ? 900 : 1));
    expect(Math.max(...withLooks(undefined, seen)!.lag)).toBe(900);
    const held = every(200, 1000).map((each, index) => ({ ...each, throttle: index === 333 ? 0.4 : 1 }));
    expect(Math.min(...withLooks(undefined, held)!.throttle)).toBe(0.4);
  });

  it('is the same when the same is written again, as after a conflict', () => {
    fc.assert(
      fc.property(looks, (seen) => {
        const all = thinned(seen);
        const once = withLooks(undefined, all);
        expect(withLooks(once, all)).toEqual(once);
      }),
    );
  });

  it('takes up what came into the stretch of its last look', () => {
    const first = withLooks(undefined, [{ at: 1000, sourceRate: 10 }]);
    const later = withLooks(
      first,
      thinned([
        { at: 1000, sourceRate: 10 },
        { at: 1100, lag: 7 },
      ]),
    );
    expect(later).toMatchObject({ at: [1000], sourceRate: [10], lag: [7], copyRate: [-1] });
  });

  it('reads back what it has written', () => {
    const seen: Look[] = [
      { at: 5, sourceRate: 60.2 },
      { at: 405, lag: 3, throttle: 0.5 },
    ];
    expect(looksOf(withLooks(undefined, seen))).toEqual(seen);
    expect(looksOf(undefined)).toEqual([]);
  });
});

describe('a write takes up what was seen', () => {
  const seen = () => every(200, 3);
  const at = (mode: NonNullable<Handoff['mode']>, step: Handoff['step']): Handoff => ({
    ...handoff(0, 0, 'Warming'),
    mode,
    step,
  });
  const takes = (mode: NonNullable<Handoff['mode']>) =>
    (
      [
        'Warming',
        'Muting',
        'Cutting',
        'Transferring',
        'Restoring',
        'Replaying',
        'Attaching',
        'Committed',
        'Settling',
        'Aborting',
        'Aborted',
      ] as const
    ).filter((step) => withSeries([at(mode, step)], [at(mode, 'Warming')], seen)[0]?.series !== undefined);
  it('only where no user waits for it', () => {
    expect(takes('stop')).toEqual(['Settling', 'Aborted']);
    expect(takes('replay')).toEqual(['Transferring', 'Restoring', 'Replaying', 'Settling', 'Aborted']);
  });
  it('not of a handoff that had ended before', () => {
    const done = at('replay', 'Done');
    expect(withSeries([done], [done], seen)).toEqual([done]);
    expect(withSeries([done], [at('replay', 'Retiring')], seen)[0]?.series?.at).toHaveLength(3);
  });
});

describe('a migration', { timeout: 60_000 }, () => {
  const columns = (series: Series | undefined, name: keyof Series) =>
    (series?.[name] ?? []).filter((each) => each >= 0);

  it('beside its source leaves the curves of both, made with no write that it had not made', async () => {
    const world = begun({ kind: 'StatefulSet', strategy: 'ShadowPodSwap' });
    world.behind = 40;
    await world.run();
    expectCompleted(world);
    const writes = world.log.filter((call) => call === 'writeStatus').length;
    for (const { series, entered } of world.get()!.status!.handoffs!) {
      expect(columns(series, 'copyRate').some((each) => Math.abs(each - RATE) < 3)).toBe(true);
      expect(columns(series, 'lag').length).toBeGreaterThan(0);
      const start = Date.parse(world.get()!.status!.startTime!);
      expect(series!.at[0]).toBeGreaterThanOrEqual(Date.parse(entered.Warming!) - start);
      expect(series!.at.at(-1)).toBeLessThanOrEqual(Date.parse(entered.Done!) - start);
    }
    const { series } = world.get()!.status!.handoffs![0]!;
    expect(columns(series, 'sourceRate').filter((each) => each === RATE).length).toBeGreaterThan(10);
    expect(Math.max(...columns(series, 'lag'))).toBeGreaterThan(900);
    const blind = begun({ kind: 'StatefulSet', strategy: 'ShadowPodSwap' });
    blind.behind = 40;
    blind.trace.looks = () => [];
    await blind.run();
    expect(blind.log.filter((call) => call === 'writeStatus')).toHaveLength(writes);
    expect(blind.get()!.status!.handoffs!.map(({ series }) => series)).toEqual([undefined, undefined]);
  });

  it('stopped and copied leaves the rate of the copy that serves', async () => {
    const world = begun({ kind: 'StatefulSet', strategy: 'StopAndCopy' });
    await world.run();
    expectCompleted(world);
    for (const { series } of world.get()!.status!.handoffs!)
      expect(columns(series, 'copyRate').length).toBeGreaterThan(0);
  });

  it('goes on with the curves when its leader dies in the midst of replaying', async () => {
    const world = begun({ kind: 'StatefulSet', strategy: 'ShadowPodSwap' });
    world.behind = 60;
    let crashed = 0;
    world.hook = (name, when) => {
      const first = world.get()?.status?.handoffs?.[0];
      if (name !== 'writeStatus' || when !== 'after' || (first?.series?.at.length ?? 0) < 8 || crashed > 0) return;
      crashed = first!.series!.at.at(-1)!;
      throw new Crash();
    };
    await world.run();
    expectCompleted(world);
    expect(crashed).toBeGreaterThan(0);
    const { at } = world.get()!.status!.handoffs![0]!.series!;
    expect(at.filter((each) => each < crashed).length).toBeGreaterThanOrEqual(7);
    expect(at.filter((each) => each > crashed).length).toBeGreaterThan(3);
  });

  it('records what took part', async () => {
    const world = begun({ kind: 'StatefulSet', strategy: 'StopAndCopy' });
    await world.run();
    const { versions } = world.get()!.status!;
    expect(versions?.controller).toMatch(/^\d+\.\d+\.\d+/);
    expect(versions?.nodes.map(({ name, criu, containerd }) => [name, criu, containerd])).toEqual([
      ['one', '4.2.1', '2.3.7'],
      ['two', '4.2.1', '2.3.7'],
    ]);
  });
});
