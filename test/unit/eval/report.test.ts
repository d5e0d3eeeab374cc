import { describe, expect, test } from 'vitest';
import { CONFIGURATIONS, type Configuration, PAPERS, SHAPE } from '../../../scripts/eval/configurations.ts';
import { paperBest, paperSeconds, RATES } from '../../../scripts/eval/paper.ts';
import { csv } from '../../../scripts/eval/report/csv.ts';
import { demandsOf } from '../../../scripts/eval/report/demands.ts';
import { markdown, plotFile } from '../../../scripts/eval/report/markdown.ts';
import { gapPlot, phasePlot, totalPlot } from '../../../scripts/eval/report/plots.ts';
import { type Variant, variantsOf } from '../../../scripts/eval/report/summary.ts';
import type { Result } from '../../../scripts/eval/results.ts';
import { failed, measured, unsupported, whole } from './sample.ts';

const variantOf = (results: readonly Result[]): Variant => variantsOf(results)[0]!;

/** Of CSV as we write it. */
const records = (text: string): Record<string, string>[] => {
  const lines = [...text.matchAll(/(?:"(?:[^"]|"")*"|[^",\n]*)(?:,(?:"(?:[^"]|"")*"|[^",\n]*))*\n/g)].map(([line]) =>
    [...line.slice(0, -1).matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g)].map(
      ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
    ),
  );
  const [head = [], ...rest] = lines;
  return rest.map((cells) => Object.fromEntries(head.map((name, index) => [name, cells[index] ?? ''])));
};

const middle = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** What a plot says of a configuration at a rate. */
const titles = (svg: string): string[] => [...svg.matchAll(/<title>([^<]*)<\/title>/g)].map(([, title]) => title!);

describe('CSV', () => {
  test('has a line for every result, whatever became of it', () => {
    const all = [...whole, unsupported('Sequential'), failed('StopAndCopy', 10, 4)];
    const lines = records(csv(all));
    expect(lines).toHaveLength(all.length);
    expect(lines.at(-1)).toMatchObject({ outcome: 'failed', code: 'SHADOW_E_RESTORE', total_s: '', lost: '0' });
    expect(lines.at(-2)).toMatchObject({ configuration: 'Sequential', outcome: 'unsupported', gap_ms: '' });
    expect(lines[0]).toMatchObject({ configuration: 'Sequential', rate: '10', total_s: '7.1', paper_median_s: '50.8' });
  });

  test('keeps commas, quotes and line ends of a message apart from its own', () => {
    const message = 'a, "b"\nand c';
    const [line] = records(csv([{ ...failed('StopAndCopy', 10, 1), message } as Result]));
    expect(line).toMatchObject({ message, ended: '2026-11-30T01:00:00.000Z' });
  });
});

describe('the plots', () => {
  const variant = variantOf(whole);
  const lines = records(csv(whole));
  const of = (config: Configuration, rate: number, column: string): number[] =>
    lines
      .filter((line) => line.configuration === config && line.rate === String(rate))
      .map((line) => Number(line[column]));

  test('show the medians of the CSV, and the paper beside them', () => {
    const told = titles(totalPlot(variant));
    for (const config of CONFIGURATIONS)
      for (const rate of RATES) {
        const totals = of(config, rate, 'total_s');
        const [worst, median] = [Math.max(...totals).toFixed(2), middle(totals).toFixed(2)];
        expect(told).toContain(`${SHAPE[config].title}, ${rate} msg/s: median ${median} s, worst ${worst} s, n = 3`);
        const paper = paperSeconds(config, rate);
        if (paper !== undefined)
          expect(told).toContain(`${SHAPE[config].title}, ${rate} msg/s: the paper's median ${paper} s`);
      }
    expect(told).toHaveLength((CONFIGURATIONS.length + PAPERS.length) * RATES.length);
  });

  test('show gaps and downtime of the CSV', () => {
    const told = titles(gapPlot(variant));
    for (const rate of RATES) {
      const gaps = of('ShadowPodSwap', rate, 'gap_ms');
      expect(told).toContain(
        `ShadowPodSwap, ${rate} msg/s: median ${middle(gaps)} ms, worst ${Math.max(...gaps)} ms, n = 3`,
      );
    }
    expect(told).toHaveLength(2 * CONFIGURATIONS.length * RATES.length);
  });

  test('stack the phases of the CSV as high as they are long', () => {
    const svg = phasePlot(variant);
    const heights = [...svg.matchAll(/height="([\d.]+)" fill="#\w+"><title>Sequential, 10 msg\/s: (\w+) ([\d.]+) s/g)];
    const seconds = Object.fromEntries(heights.map(([, , phase, value]) => [phase, Number(value)]));
    for (const phase of ['Checkpointing', 'Transferring', 'Restoring', 'Replaying', 'Finalizing'])
      expect(seconds[phase]).toBe(middle(of('Sequential', 10, `${phase.toLowerCase()}_s`)));
    for (const [, height, , value] of heights)
      expect(Number(height) / Number(value)).toBeCloseTo(Number(heights[0]![1]) / Number(heights[0]![3]), 0);
  });

  test('put greater values higher, and none on the foot of the scale', () => {
    const results = [
      measured('StopAndCopy', 10, 1, { downtimeMs: 0, gapMs: 50 }),
      measured('StopAndCopy', 20, 1, { downtimeMs: 800, gapMs: 500 }),
      measured('StopAndCopy', 40, 1, { downtimeMs: 10, gapMs: 5000 }),
    ];
    const points = [...gapPlot(variantOf(results)).matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)];
    const heights = points.map(([, , y]) => Number(y));
    // SVG counts downwards. Tenfold is as far from tenfold.
    expect(heights[0]! - heights[1]!).toBeCloseTo(heights[1]! - heights[2]!, 0);
    expect(heights[1]).toBeLessThan(heights[0]!);
    expect(heights[3]).toBe(heights[5]);
    expect(heights[4]).toBeLessThan(heights[3]!);
    expect(points.map(([, x]) => Number(x)).slice(0, 3)).toEqual(
      points
        .map(([, x]) => Number(x))
        .slice(0, 3)
        .sort((a, b) => a - b),
    );
  });

  test('draw the worst gap and the median total, as they say', () => {
    const heightsOf = (svg: string): number[] =>
      [...svg.matchAll(/<circle cx="[\d.]+" cy="([\d.]+)" r="4"/g)].map(([, y]) => Number(y));
    const some = [100, 200, 5000].map((gapMs, index) =>
      measured('StopAndCopy', 10, index + 1, { gapMs, seconds: gapMs }),
    );
    const worst = measured('StopAndCopy', 20, 1, { gapMs: 5000 });
    const median = measured('StopAndCopy', 20, 1, { seconds: 200.1 });
    const [gap, same] = heightsOf(gapPlot(variantOf([...some, worst])));
    expect(gap).toBe(same);
    const [total, alike] = heightsOf(totalPlot(variantOf([...some, median])));
    expect(total).toBe(alike);
  });

  test('leave out what was not measured, and are well-formed nonetheless', () => {
    const part = variantOf([measured('StopAndCopy', 10, 1), unsupported('Sequential')]);
    for (const plot of [totalPlot(part), phasePlot(part), gapPlot(part)]) {
      expect(plot).not.toMatch(/NaN|Infinity|undefined/);
      expect(titles(plot).filter((title) => title.startsWith('Sequential') && title.includes('n ='))).toEqual([]);
    }
  });
});

describe('the table', () => {
  test('shows median, worst and number, and the paper beside them', () => {
    const text = markdown(whole);
    // Run 2 of 3: 6 + 10/10 + 0.2.
    expect(text).toContain('| 10 | 7.20 / 7.30 (3)<br>paper: 50.8 |');
    expect(text).toContain('5.20 / 5.30 (3) |');
    for (const plot of ['total', 'phases', 'gaps'] as const)
      expect(text).toContain(`](${plotFile({ app: 'node', workMs: 10 }, plot)})`);
    expect(text).not.toMatch(/NaN|undefined/);
  });

  test('names what is not supported by its code, and a failure with what it said', () => {
    const text = markdown([measured('StopAndCopy', 10, 1), unsupported('Sequential'), failed('StopAndCopy', 10, 2)]);
    expect(text).toContain('unsupported: SHADOW_E_NOT_INJECTED<br>paper: 50.8 |');
    expect(text).toContain('- Sequential: SHADOW_E_NOT_INJECTED: the pod has no shadow sidecar: label it');
    expect(text).toContain('5.10 / 5.10 (1, 1 failed)');
    expect(text).toContain('- StopAndCopy, 10 msg/s, run 2: SHADOW_E_RESTORE: the restore failed\n');
    expect(text).not.toContain('#### Sequential');
  });

  test('a configuration that is supported by now is not called unsupported', () => {
    const text = markdown([unsupported('Sequential'), measured('Sequential', 10, 1)]);
    expect(text).not.toContain('nsupported');
  });

  test('what can not be compared is told apart: another app, other work', () => {
    const text = markdown([
      ...[measured('StopAndCopy', 10, 1), measured('StopAndCopy', 10, 1, { workMs: 16, seconds: 8 })],
      measured('StopAndCopy', 10, 1, { app: 'python', seconds: 9 }),
    ]);
    expect(text.match(/^## .*/gm)).toEqual([
      '## Node.js, amqplib, 10 ms of work a message',
      '## Node.js, amqplib, 16 ms of work a message',
      '## Python, pika, 10 ms of work a message',
    ]);
    expect(text).toContain('8.10 / 8.10 (1)');
    expect(text).not.toContain('(2)');
  });

  test('what was measured on other machines or builds is said', () => {
    const text = markdown([
      measured('StopAndCopy', 10, 1),
      measured('StopAndCopy', 10, 2, { build: 'c', machine: 'n' }),
    ]);
    expect(text).toContain('on: m; n.');
    expect(text).toContain('Builds: b; c.');
  });
});

describe('what is demanded', () => {
  const met = (results: readonly Result[]): Record<string, boolean | undefined> =>
    Object.fromEntries(demandsOf(variantOf(results)).map(({ what, met }) => [what, met]));
  const clean = met(whole);
  const broken = (
    change: Partial<Parameters<typeof measured>[3]>,
    config: Configuration = 'ShadowPodSwap',
    rate = 120,
  ) =>
    Object.entries(
      met([...whole.filter((each) => each.config !== config || each.rate !== rate), measured(config, rate, 1, change)]),
    )
      .filter(([what, now]) => now !== clean[what] && what !== 'runs of each configuration at each rate')
      .map(([what, now]) => `${what}: ${now}`);

  test('all is met where it is', () => {
    expect(paperBest(10)).toBe(12.4);
    expect(paperBest(120)).toBe(129);
    expect(Object.values(clean)).toEqual(new Array(clean && Object.keys(clean).length).fill(true));
  });

  test('each is judged by what it is about', () => {
    expect(broken({ seconds: 8 })).toEqual(['ShadowPodSwap: total at 120 msg/s, of that at 10: false']);
    expect(broken({ seconds: 8.6 })).toHaveLength(2);
    expect(broken({ seconds: 6.2 }, 'ShadowPodSwap', 10)).toEqual([
      "ShadowPodSwap at 10 msg/s: times faster than the paper's best: false",
    ]);
    for (const wrong of [{ lost: 1 }, { duplicated: 1 }, { reordered: 1 }])
      expect(broken(wrong, 'StopAndCopy')).toEqual(['StopAndCopy: messages lost, duplicated or out of order: false']);
    expect(broken({ failedProbes: 1 }, 'ExchangeFence')).toEqual(['ExchangeFence: failed probes: false']);
    // Of the paper's own baseline nothing is demanded, and StopAndCopy may fail probes.
    expect(broken({ failedProbes: 9 }, 'StopAndCopy')).toEqual([]);
    expect(broken({ lost: 9 }, 'Sequential')).toEqual([]);
  });

  test('too few runs of one cell are too few', () => {
    const what = 'runs of each configuration at each rate';
    expect(met(whole.filter(({ config, rate, run }) => config !== 'Sequential' || rate !== 60 || run < 3))[what]).toBe(
      false,
    );
    expect(met(whole.filter(({ config }) => config !== 'Sequential'))[what]).toBeUndefined();
  });

  test('what was not measured is neither met nor missed', () => {
    const values = Object.values(met([unsupported('Sequential'), measured('ShadowPodSwap', 20, 1)]));
    expect(values.filter((value) => value === undefined).length).toBeGreaterThan(5);
    expect(values).not.toContain(false);
  });

  test('a migration that failed is held against its configuration', () => {
    expect(met([...whole, failed('ShadowPodSwap', 10, 4)])['ShadowPodSwap: migrations that did not complete']).toBe(
      false,
    );
  });
});
