import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { boardOn } from '../../../plugin/migration/board.ts';
import { frame } from '../../../plugin/migration/frame.ts';
import { podOf } from '../../../plugin/migration/model.ts';
import { paceOf, sparkline } from '../../../plugin/migration/pace.ts';
import { podRows } from '../../../plugin/migration/pods.ts';
import type { Seen } from '../../../plugin/migration/tree.ts';
import { linesOf } from '../../../plugin/migration/view.ts';
import type { Size } from '../../../plugin/painter.ts';
import { lineText, widthOf } from '../../../plugin/style.ts';
import { type Series, STEPS, type StatefulMigration } from '../../../webhook/api/migration.ts';
import * as sample from './sample.ts';
import { plainIo, Screen, woundClock } from './stage.ts';

const { at, failed, fresh, handoff, migration, NOW, replaying, replica, running, START, uncommitted } = sample;
const golden = (name: string, text: string) => expect(`${text}\n`).toMatchFileSnapshot(`golden/${name}.txt`);
const PLAIN = { color: false, unicode: true };
const WIDE: Size = { columns: 120, rows: 60 };

/** As it is while it replays, `seconds` after its copy was restored. */
const replayingFor = (seconds: number): StatefulMigration => {
  const [first] = replaying.status!.handoffs!;
  const replay = {
    ...first!.replay!,
    at: at(1800 + seconds * 1000),
    sourceRate: 60,
    recorded: seconds * seconds * 30 + 40 - 4 * seconds,
    played: seconds * seconds * 30,
    lag: 40 - 4 * seconds,
    throttle: 1,
    diverged: 0,
  };
  const looks = Array.from({ length: seconds }, (_, index) => index + 1);
  const series: Series = {
    at: looks.map((second) => 1800 + second * 1000),
    sourceRate: looks.map((second) => 60 + (second % 3) * 4),
    // Of the first look it is not known.
    copyRate: looks.map((second) => (second === 1 ? -1 : 60 * second - 30)),
    ...{ lag: [], throttle: [], sourceGap: [], copyGap: [] },
  };
  const status = { ...replaying.status!, statefulSetName: 'consumer', handoffs: [{ ...first!, replay, series }] };
  return migration('consumer-0-fffff', status);
};

const seenOf = (state: StatefulMigration): Seen => ({ migration: state, born: START - 3 * 3_600_000 });

const text = (seen: readonly Seen[], size = WIDE, look = PLAIN, ahead: string[] = [], now = NOW): string => {
  const pods = [...seen.map((each) => podOf(each.migration)), ...ahead];
  const map = new Map(seen.map((each) => [podOf(each.migration), each]));
  return frame({ pods, seen: map }, now, size, look)
    .map((line) => lineText(line, size.columns, look))
    .join('\n');
};

const midway = [1, 2, 3, 4, 5, 6].map(replayingFor);
const replayingSeen = seenOf(midway.at(-1)!);
const done = migration('consumer-2-zzzzz', { ...sample.completed.status! }, 'consumer-2');

describe('the tree', () => {
  test('of one that replays', () => golden('tree-replaying', text([replayingSeen])));
  test('on 80 columns', () => golden('tree-80', text([replayingSeen], { columns: 80, rows: 24 })));
  test('on 40 columns', () => golden('tree-40', text([replayingSeen], { columns: 40, rows: 12 })));
  test('in ASCII', () => golden('tree-ascii', text([replayingSeen], WIDE, { color: false, unicode: false })));
  test('in its second half', () => golden('tree-second', text([seenOf(running)])));
  test('at its end', () => golden('tree-end', text([seenOf(sample.besides)])));
  test('of one that failed', () => golden('tree-failed', text([seenOf(failed)])));
  test('before the controller has seen it', () => golden('tree-fresh', text([seenOf(fresh)])));
  test("of a Deployment's pod", () => golden('tree-replica', text([seenOf(replica)])));
  test('of several, in turn', () =>
    golden('tree-several', text([seenOf(done), replayingSeen], WIDE, PLAIN, ['consumer-1'])));
});

describe('what is drawn fits', () => {
  const long = migration(`${'a-very-long-name-of-a-pod-'.repeat(7)}0-xxxxx`, {
    ...replaying.status!,
    strategyReason: 'x'.repeat(300),
  });
  const states = [
    replayingSeen,
    seenOf(running),
    seenOf(sample.besides),
    seenOf(failed),
    seenOf(fresh),
    seenOf(replica),
    seenOf(long),
  ];
  const shown = [...states.map((each) => [each]), [seenOf(done), replayingSeen]];
  test.each([40, 60, 80, 100, 132, 200])('%d columns, at any height, in and without unicode', (columns) => {
    for (const seen of shown) {
      for (const rows of [1, 2, 3, 5, 8, 13, 24, 50]) {
        for (const unicode of [true, false]) {
          const drawn = text(seen, { columns, rows }, { color: false, unicode }, ['web-0', 'web-1']);
          const lines = drawn.split('\n');
          expect(lines.length).toBeLessThanOrEqual(rows);
          for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(columns);
          expect(drawn).not.toContain('\x1b');
          if (!unicode) expect(drawn).toMatch(/^[\n -~]*$/);
        }
      }
    }
  });
  test('what matters most is never left out: the pods, their state, their node', () => {
    for (const columns of [40, 60, 80, 200]) {
      const drawn = text([replayingSeen], { columns, rows: 12 });
      for (const word of ['consumer-0', 'Serving', 'Replaying', 'worker-a', 'worker-b']) expect(drawn).toContain(word);
    }
  });
  test('colour changes no text and no width', () => {
    const coloured = text([replayingSeen], WIDE, { color: true, unicode: true });
    expect(coloured).toContain('\x1b[32m');
    expect(stripVTControlCharacters(coloured)).toBe(text([replayingSeen]));
  });
  test('lower terminals fold finished steps first, then all but the one under way', () => {
    const rowsOf = (rows: number): string => text([seenOf(running)], { columns: 120, rows });
    expect(rowsOf(60)).toContain('Settling');
    expect(rowsOf(12)).toMatch(/9 steps in 2\.40s/);
    expect(rowsOf(12)).toContain('Transferring');
    expect(rowsOf(7)).toMatch(/▸ Restoring/);
    expect(rowsOf(7)).not.toContain('Transferring');
    expect(rowsOf(1)).toMatch(/^▸ consumer-0-bbbbb +migration +Restoring/);
  });
});

describe('the pods', () => {
  const statesOf = (state: StatefulMigration): string[] => podRows(state).map(({ role, state: is }) => `${role} ${is}`);
  const set = (handoffs: ReturnType<typeof handoff>[]): StatefulMigration =>
    migration('m', { phase: 'Restoring', statefulSetName: 'consumer', handoffs });
  test('one serves at a time, and by the commit it is the copy', () => {
    for (const step of STEPS) {
      if (step === 'Aborted' || step === 'Done') continue;
      const rows = podRows(set([handoff(0, 0, step)]));
      expect(rows.filter(({ mark }) => mark === 'serving').length).toBeLessThanOrEqual(1);
    }
    expect(statesOf(set([handoff(0, 0, 'Restoring')]))).toEqual([
      'source Paused',
      'copy Restoring',
      'successor Not yet',
    ]);
    expect(statesOf(set([handoff(0, 0, 'Settling')]))).toEqual([
      'source Settling',
      'copy Serving',
      'successor Not yet',
    ]);
    expect(statesOf(set([handoff(0, 0), handoff(1, 3000)]))).toEqual(['source Gone', 'copy Gone', 'successor Serving']);
  });
  test('beside a copy that replays the source serves until it is muted; else it is paused from the cut on', () => {
    expect(statesOf(midway[0]!).slice(0, 2)).toEqual(['source Serving', 'copy Replaying']);
    for (const step of ['Cutting', 'Transferring', 'Restoring'] as const) {
      expect(statesOf(set([{ ...handoff(0, 0, step), mode: 'replay' }]))[0]).toBe('source Serving');
      expect(statesOf(set([handoff(0, 0, step)]))[0]).toBe('source Paused');
    }
    expect(statesOf(set([{ ...handoff(0, 0, 'Attaching'), mode: 'replay' }]))[0]).toBe('source Muted');
  });
  test('after an abort the source serves, and no successor is waited for', () => {
    expect(statesOf(failed)).toEqual(['source Serving', 'copy Removed']);
  });
  test('a copy that was lost after it took over does not serve', () => {
    const status = { ...uncommitted.status!, phase: 'Failed' as const, handoffs: [handoff(0, 0, 'Committed')] };
    const lost = migration('m', { ...status, error: { code: 'SHADOW_E_COPY_LOST', message: '' } });
    expect(statesOf(lost)[1]).toBe('copy Lost');
  });
});

describe('the pace', () => {
  test('is what the record tells, where it is known', () => {
    const [first] = midway.at(-1)!.status!.handoffs!;
    expect(paceOf(first!, 'sourceRate')).toEqual([64, 68, 60, 64, 68, 60]);
    expect(paceOf(first!, 'copyRate')).toEqual([90, 150, 210, 270, 330]);
    expect(paceOf(handoff(0, 0), 'copyRate')).toEqual([]);
  });
  test('is drawn against its own greatest value', () => {
    expect(sparkline([0, 5, 10], 8, true)).toBe('▁▅█');
    expect(sparkline([1, 2, 3, 4], 2, true)).toBe('▆█');
    expect(sparkline([0, 0], 8, false)).toBe('__');
    expect(sparkline([1], 0, true)).toBe('');
  });
});

describe('the board', () => {
  test('on a terminal redraws the tree in place', () => {
    const clock = woundClock(NOW);
    const terminal = new Screen({ columns: 100, rows: 40 }, clock);
    const io = { ...plainIo(), terminal, live: true };
    const board = boardOn(io, { pods: ['consumer-0'], born: new Map() }, io.err, clock);
    board.say('created');
    for (const state of midway) {
      board.show(state);
      clock.pass(1000);
    }
    board.close();
    expect(io.told).toEqual(['created']);
    expect(terminal.lines.filter((line) => line.includes('ROLE'))).toHaveLength(1);
    expect(terminal.lines.join('\n')).toMatch(/copy +Replaying +worker-b +16 +▃▄▅▇█ 330 msg\/s/);
  });
  test('elsewhere keeps the lines back while it is paused', () => {
    const io = plainIo();
    const board = boardOn(io, { pods: ['consumer-0'], born: new Map() });
    board.pause();
    board.show(uncommitted);
    board.say('asked to abort');
    expect(io.told).toEqual([]);
    board.resume();
    board.show(uncommitted);
    expect(io.told).toEqual([...linesOf(uncommitted).map(({ text: line }) => line), 'asked to abort']);
  });
  test('elsewhere tells each line once, of two migrations alike', () => {
    const io = plainIo();
    const board = boardOn(io, { pods: ['consumer-0', 'consumer-2'], born: new Map() });
    for (const state of [running, running, done, done]) board.show(state);
    board.close();
    expect(io.told).toHaveLength(linesOf(running).length + linesOf(done).length);
    expect(io.told.filter((line) => line.includes('StopAndCopy'))).toHaveLength(2);
    expect(io.told.join('')).not.toContain('\x1b');
  });
});
