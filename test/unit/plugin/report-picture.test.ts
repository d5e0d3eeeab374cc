import { describe, expect, test } from 'vitest';
import { rendered } from '../../../plugin/report/command.ts';
import { reportOf } from '../../../plugin/report/data.ts';
import { WIDE } from '../../../plugin/report/frame.ts';
import type { Report } from '../../../plugin/report/schema.ts';
import { PALETTE } from '../../../plugin/report/style.ts';
import { timeline } from '../../../plugin/report/timeline.ts';
import { STEPS, type StatefulMigration } from '../../../webhook/api/migration.ts';
import * as samples from './report-sample.ts';
import { NOW } from './sample.ts';

const of = (migration: StatefulMigration): Report => reportOf(migration, NOW, '0.2.0');
const coded = (code: string) => expect.objectContaining({ code });

describe('the picture', () => {
  const x = (svg: string, kind: string) =>
    [...svg.matchAll(new RegExp(`<rect class="${kind}" x="([\\d.]+)" y="[\\d.]+" width="([\\d.]+)"`, 'g'))].map(
      ([, from, width]) => [Number(from), Number(width)] as const,
    );
  test('has each step of each handoff where it was, as wide as it took', () => {
    const svg = timeline(of(samples.swapped)).text;
    const perMs = (WIDE.width - 46 - 12) / 9200;
    const [first, second] = x(svg, 's-Replaying');
    expect(first![0]).toBeCloseTo(46 + 1800 * perMs, 0);
    expect(first![1]).toBeCloseTo(1300 * perMs, 0);
    expect(second![0]).toBeCloseTo(46 + 6300 * perMs, 0);
    expect(x(svg, 'band')).toHaveLength(4);
  });
  test('breaks a curve where nothing was seen', () => {
    const gap = structuredClone(samples.swapped);
    const [first] = gap.status!.handoffs!;
    const { series } = first!;
    const kept = series!.at.flatMap((time, index) => (time > 1000 && time < 3200 ? [] : [index]));
    const holed = Object.fromEntries(
      Object.entries(series!).map(([name, values]) => [name, kept.map((each) => values[each])]),
    );
    const runs = (migration: StatefulMigration) =>
      /class="c source" d="(M[^"]*L[^"]*)"/.exec(timeline(of(migration)).text)![1]!.split('M').length - 1;
    expect(runs({ ...gap, status: { ...gap.status, handoffs: [{ ...first!, series: holed as never }] } })).toBe(2);
    expect(runs({ ...gap, status: { ...gap.status, handoffs: [first!] } })).toBe(1);
  });
  test('of what has none is refused, in words', async () => {
    await expect(rendered(of(samples.refused), 'svg')).rejects.toEqual(coded('SHADOW_E_USAGE'));
    expect(await rendered(of(samples.swapped), 'svg')).toMatch(/^<svg xmlns/);
    expect(JSON.parse(await rendered(of(samples.swapped), 'json'))).toEqual(of(samples.swapped));
  });
});

describe('colours', () => {
  const [light, dark] = PALETTE.split('@media').map(
    (text) => new Map([...text.matchAll(/--([\w-]+):(#[0-9a-f]{6})/g)].map(([, a, b]) => [a!, b!])),
  );
  const luminance = (colour: string): number => {
    const [r, g, b] = [1, 3, 5].map((from) => {
      const share = Number.parseInt(colour.slice(from, from + 2), 16) / 255;
      return share <= 0.040_45 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  /** WCAG 2.2, 1.4.3. */
  const contrast = (a: string, b: string): number => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high! + 0.05) / (low! + 0.05);
  };
  test.each([
    ['light', light!],
    ['dark', dark!],
  ])('of text can be read, %s', (_name, palette) => {
    for (const text of ['ink', 'soft', 'good', 'bad', 'busy', 'stop'])
      for (const ground of ['bg', 'panel'])
        expect(contrast(palette.get(text)!, palette.get(ground)!), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
    for (const line of ['source', 'copy', 'lag'])
      expect(contrast(palette.get(line)!, palette.get('bg')!), line).toBeGreaterThanOrEqual(3);
  });
  test.each(['bg', 'panel'])('of steps stand out from the %s, and white text on them can be read', (ground) => {
    for (const [name, colour] of light!) {
      if (!name.startsWith('s-')) continue;
      expect(contrast('#ffffff', colour), name).toBeGreaterThanOrEqual(4.5);
      for (const palette of [light!, dark!])
        expect(contrast(palette.get(ground)!, colour), name).toBeGreaterThanOrEqual(2.5);
    }
  });
  test('there is one for each step that takes time', () => {
    expect(STEPS.filter((step) => !light!.has(`s-${step}`))).toEqual(['Done', 'Aborted']);
  });
});
