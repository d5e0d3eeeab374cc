import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { put } from '../../../plugin/report/command.ts';
import { reportOf } from '../../../plugin/report/data.ts';
import { NARROW, WIDE } from '../../../plugin/report/frame.ts';
import { page } from '../../../plugin/report/page.ts';
import type { Report } from '../../../plugin/report/schema.ts';
import { timeline } from '../../../plugin/report/timeline.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import { begun, happyCalls, type Way } from '../controller/rigour.ts';
import type { World } from '../controller/world.ts';
import * as samples from './report-sample.ts';
import { completed, NOW, START } from './sample.ts';

const of = (migration: StatefulMigration, now = NOW): Report => reportOf(migration, now, '0.2.0');
const coded = (code: string) => expect.objectContaining({ code });
const all = Object.entries(samples.SAMPLES);

/** What stands in the page, by its place in the JSON. */
const figuresOf = (html: string): [string, number][] =>
  [...html.matchAll(/<data value="([^"]*)" data-path="([^"]*)">/g)].map(([, value, path]) => [path!, Number(value)]);
const at = (report: unknown, path: string): unknown =>
  // biome-ignore lint/suspicious/noExplicitAny: any document
  path.split('.').reduce((value: any, key) => value?.[key], report);

/** Numbers that are shown, as paths. */
const numbersIn = (value: unknown, path = ''): string[] => {
  if (typeof value === 'number') return [path];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => numbersIn(each, path === '' ? key : `${path}.${key}`));
};

/** By nothing but nesting: enough to find what an escape that is missing would break. */
const openTags = (markup: string): string[] => {
  const open: string[] = [];
  for (const [, close, name, rest] of markup.matchAll(/<(\/?)([a-z][a-z0-9]*)((?:"[^"]*"|[^">])*)>/gi)) {
    if (close) expect(open.pop(), `end of ${name}`).toBe(name);
    else if (!rest!.endsWith('/') && !['meta'].includes(name!.toLowerCase())) open.push(name!);
  }
  return open;
};

describe.each(all)('%s', (_name, migration) => {
  const report = of(migration);
  test('every number of the page is that of the JSON, and none is left out', () => {
    const figures = figuresOf(page(report));
    for (const [path, value] of figures) expect(at(report, path), path).toBe(value);
    const shown = new Set(figures.map(([path]) => path));
    // Where something ends follows from where it begins and how long it took; a version is none.
    const hidden =
      /^version$|\.index$|\.steps\.\d+\.to$|\.stops\.\d+\.(from|to)$|\.handoffs\.\d+\.from$|^handoffs\.\d+\.from$/;
    expect(numbersIn(report).filter((path) => !shown.has(path) && !hidden.test(path))).toEqual([]);
  });
  test('page and picture are well formed', () => {
    expect(openTags(page(report).replace('<!doctype html>', ''))).toEqual([]);
    for (const size of [WIDE, NARROW]) expect(openTags(timeline(report, size).text)).toEqual([]);
    expect(timeline(report).text).not.toMatch(/NaN|Infinity|undefined|null/);
    expect(page(report)).not.toMatch(/NaN|Infinity|undefined|\[object/);
  });
  test('nothing is run, and nothing is fetched', () => {
    const html = page(report);
    expect(html).not.toMatch(/<(script|img|link|iframe|object|embed|base|form)\b/i);
    const [style, ...tags] = [/<style>.*?<\/style>/s.exec(html)![0], ...html.match(/<[^>]*>/g)!];
    expect(style).not.toMatch(/url\(|@import|image-set/i);
    for (const tag of tags)
      expect(tag.replace('xmlns="http://www.w3.org/2000/svg"', '')).not.toMatch(/:\/\/|\s(src|href|style|on\w+)=/i);
  });
});

describe('what the real controller leaves', { timeout: 60_000 }, () => {
  const left = async (way: Way, prepare: (world: World) => void = () => {}): Promise<Report> => {
    const world = begun(way);
    prepare(world);
    await world.run();
    return reportOf(world.get()!, world.time, '0.2.0');
  };
  const WAYS: Way[] = [
    { kind: 'StatefulSet', strategy: 'ShadowPodSwap' },
    { kind: 'Deployment', strategy: 'ShadowPod' },
    { kind: 'StatefulSet', strategy: 'StopAndCopy' },
  ];
  test.each(WAYS)('of $kind by $strategy is a report', async (way) => {
    const report = await left(way);
    expect(report.result.state).toBe('done');
    expect(report.handoffs.every(({ curves, result }) => curves !== null && result === 'committed')).toBe(true);
    // In that world a stop takes no time.
    expect(report.totals.longestStopMs).toBeGreaterThanOrEqual(0);
    expect(report.versions.nodes).toHaveLength(2);
    expect(openTags(page(report).replace('<!doctype html>', ''))).toEqual([]);
    expect(page(report)).not.toMatch(/NaN|Infinity|undefined/);
  });
  test.each(WAYS)('of $kind by $strategy is one after an abort at any call, too', async (way) => {
    const count = (await happyCalls(way)).length;
    for (let at = 1; at <= count; at += 3) {
      const report = await left(way, (world) => {
        world.hook = (_name, when, n) => {
          if (n === at && when === 'before') world.abort();
        };
      });
      const { state, putBack, error } = report.result;
      expect(state === 'failed').toBe(error !== null);
      if (state === 'failed') expect(putBack[0]).toMatch(/goes on|was not touched/);
      expect(page(report)).not.toMatch(/NaN|Infinity|undefined/);
    }
  });
});

describe('what a name or an error text holds', () => {
  test('is text everywhere, and whole', () => {
    const html = page(of(samples.hostile));
    const escaped =
      '&lt;/title&gt;&lt;script&gt;globalThis.pwned=1&lt;/script&gt;&lt;img src=x onerror=&quot;globalThis.pwned=2&quot;&gt;&#39;&quot;&amp;\ufffd';
    expect(html.split(escaped).length).toBeGreaterThan(15);
    expect(html).not.toContain('<script');
    expect(html).not.toContain('\u0007');
  });
});

describe('the JSON', () => {
  test('tells a swap: two handoffs, when nobody served, and what was proven', () => {
    const { migration, result, totals, handoffs, versions } = of(samples.swapped);
    expect(migration).toMatchObject({
      pod: 'consumer-0',
      from: 'worker-a',
      to: 'worker-b',
      movedTo: 'consumer-0',
      ms: 9200,
    });
    expect(migration).toMatchObject({ owner: 'StatefulSet consumer', strategy: 'ShadowPodSwap', phase: 'Completed' });
    expect(result).toEqual({ state: 'done', error: null, putBack: [] });
    expect(totals).toEqual({ longestStopMs: 150, matched: 472, diverged: 1, carried: 18, checkpointBytes: 82_575_360 });
    expect(handoffs[0]).toMatchObject({
      result: 'committed',
      from: 200,
      ms: 4400,
      proof: {
        recorded: 492,
        played: 492,
        matched: 242,
        swallowed: 242,
        diverged: 0,
        divergence: null,
        link: 'direct',
      },
      stops: [
        { what: 'checkpoint', from: 1118, to: 1260, ms: 142 },
        { what: 'handover', from: 3100, to: 3250, ms: 150 },
      ],
    });
    expect(handoffs[0]!.steps.map(({ step }) => step)).toEqual([
      'Warming',
      'Cutting',
      'Transferring',
      'Restoring',
      'Replaying',
      'Muting',
      'Attaching',
      'Committed',
      'Settling',
      'Switching',
      'Retiring',
    ]);
    expect(versions).toMatchObject({ plugin: '0.2.0', controller: '0.2.0', sidecar: '0.2.0' });
  });
  test('what was not known is null, in every column', () => {
    const { curves } = of(samples.swapped).handoffs[0]!;
    expect(curves!.copyRate.slice(0, 3)).toEqual([null, null, null]);
    expect(new Set(Object.values(curves!).map(({ length }) => length)).size).toBe(1);
  });
  test('a record of another make does not break it', () => {
    const odd = structuredClone(samples.swapped);
    const [first, second] = odd.status!.handoffs!;
    // biome-ignore lint/suspicious/noExplicitAny: what no controller of ours writes
    first!.series = { at: [0, 'x', 400], lag: [1] } as any;
    // biome-ignore lint/suspicious/noExplicitAny: what no controller of ours writes
    second!.series = {} as any;
    const { handoffs } = of(odd);
    expect(handoffs[0]!.curves).toMatchObject({ at: [0, 400], lag: [1, null], sourceRate: [null, null] });
    expect(handoffs[1]!.curves).toBeNull();
    expect(page(of(odd))).not.toMatch(/NaN|undefined/);
  });
  test('a stopped one stood still from the mute to the commit, which is one stop', () => {
    const [first] = of(samples.stopped).handoffs;
    expect(first!.stops).toEqual([{ what: 'handover', from: 1100, to: 1950, ms: 850 }]);
    expect(first!.proof).toBeNull();
  });
  test('one under way lasts until now', () => {
    const { result, migration, handoffs } = of(samples.catchingUp, START + 3400);
    expect(result.state).toBe('running');
    expect(migration).toMatchObject({ ms: 3400, ended: null, movedTo: null });
    expect(handoffs[0]!.steps.at(-1)).toMatchObject({ step: 'Replaying', to: null, ms: 1600 });
    expect(handoffs[0]!.result).toBe('under way');
  });
  test('an undone one tells what was put back, and how long nobody served at most', () => {
    const { result, handoffs } = of(samples.undone);
    expect(result).toMatchObject({ state: 'failed', error: { code: 'SHADOW_E_RESTORE' } });
    expect(result.putBack).toEqual([
      'consumer-0 on worker-a goes on with its memory and its connections',
      'consumer-0-shadow on worker-b was removed; it had no voice, nothing of it went out',
    ]);
    expect(handoffs[0]!.stops).toEqual([{ what: 'handover', from: 1100, to: 2900, ms: 1800 }]);
  });
  test('one that diverged never left its source standing but for the checkpoint', () => {
    expect(of(samples.diverged).handoffs[0]!.stops.map(({ what }) => what)).toEqual(['checkpoint']);
  });
  test('a refused one, and one nobody has seen, have no handoff', () => {
    const report = of(samples.refused);
    expect(report.handoffs).toEqual([]);
    expect(report.result.putBack).toEqual(['consumer-0 goes on as before: it was refused before anything was touched']);
    expect(of(samples.notSeen).result).toEqual({ state: 'running', error: null, putBack: [] });
  });
  test('what an ended migration left open lasts no longer than it', () => {
    const lost = structuredClone(completed);
    lost.status!.handoffs![1] = { ...lost.status!.handoffs![1]!, step: 'Restoring' };
    for (const step of ['Attaching', 'Committed', 'Settling', 'Retiring', 'Done'] as const)
      delete lost.status!.handoffs![1]!.entered[step];
    expect(of(lost, NOW + 86_400_000).handoffs[1]!.steps.at(-1)).toMatchObject({ step: 'Restoring', ms: 5200 - 4000 });
  });
  test('every field is described in docs/report.md', () => {
    const text = readFileSync(join(import.meta.dirname, '../../../docs/report.md'), 'utf8');
    const keys = new Set<string>();
    const collect = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const [key, each] of Object.entries(value)) {
        if (!Array.isArray(value)) keys.add(key);
        collect(each);
      }
    };
    for (const [, each] of all) collect(of(each));
    expect([...keys].filter((key) => !text.includes(`\`${key}\``))).toEqual([]);
  });
});

describe('the page', () => {
  test.each([
    ['swapped', 'consumer-0 moved from worker-a to worker-b'],
    ['older', 'web-7d9f-x2k4p moved from worker-a to worker-b as web-7d9f-3fa9c'],
    ['catchingUp', 'consumer-0 is moving from worker-a to worker-b'],
    ['undone', 'consumer-0 was to move from worker-a to worker-b'],
    ['notSeen', 'web-0 is moving from an unknown node to worker-b'],
  ] as const)('of %s is called "%s"', (name, title) =>
    expect(page(of(samples.SAMPLES[name]!))).toContain(`<h1>${title} <span`),
  );
  test('says that there are no curves where there are none, and only there', () => {
    expect(page(of(samples.older))).toContain('There are no curves');
    expect(page(of(samples.swapped))).not.toContain('There are no curves');
    expect(page(of(samples.refused))).toContain('There is no timeline');
  });
  test('says what went wrong, what to do and what was put back', () => {
    const html = page(of(samples.refused));
    for (const text of [
      'SHADOW_E_SESSION',
      'What to do: exclusive, server-named',
      'refused before anything was touched',
    ])
      expect(html).toContain(text);
  });
});

describe('where it goes', () => {
  test('a file, or standard output; what cannot be written is told by its code', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'shadow-report-'));
    const [out, err]: [string[], string[]] = [[], []];
    const io = {
      out: (text: string) => void out.push(text),
      err: (text: string) => void err.push(text),
      live: false,
      color: false,
      unicode: false,
    };
    await put('page\n', join(dir, 'a.html'), io);
    expect(readFileSync(join(dir, 'a.html'), 'utf8')).toBe('page\n');
    expect([out, err]).toEqual([[], [`${join(dir, 'a.html')} written`]]);
    await put('page\n', undefined, io);
    await put('page\n', '-', io);
    expect(out).toEqual(['page', 'page']);
    await expect(put('page', join(dir, 'not', 'there'), io)).rejects.toEqual(coded('SHADOW_E_FILE'));
    rmSync(dir, { recursive: true });
  });
});

test('a handoff that took several attempts says whose steps and curves are shown', () => {
  const again = structuredClone(completed);
  again.status!.handoffs![1]!.attempt = 3;
  const lost = 'steps and curves of those before it are not kept';
  expect(page(of(again)).split(lost)).toHaveLength(2);
  expect(page(of(completed))).not.toContain(lost);
});
