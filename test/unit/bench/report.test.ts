import { expect, test } from 'vitest';
import type { Ceiling } from '../../../scripts/bench/ceiling.ts';
import { markdown } from '../../../scripts/bench/markdown.ts';
import { plot } from '../../../scripts/bench/plot.ts';
import { type Report, verdictsOf } from '../../../scripts/bench/report.ts';
import { MODES, type Mode, ROWS, type Sample } from '../../../scripts/bench/rows.ts';

/** Of direct throughput, added latency in µs, and CPU. */
const LIKE: Readonly<Record<Mode, readonly [rate: number, added: number, cpu: number]>> = {
  direct: [1, 0, 0],
  pipe: [0.8, 80, 10],
  toxiproxy: [0.7, 150, 20],
  sidecar: [0.78, 100, 11],
  recording: [0.6, 200, 25],
};

const samples: Sample[] = [0, 1, 2].flatMap((run) =>
  ROWS.flatMap(({ name: row }) =>
    MODES.map((mode) => {
      const [rate, added, cpu] = LIKE[mode];
      const received = 20_000 * rate * (run + 1);
      const latency = { median: 300 + added, p95: 400 + added, p99: 500 + added };
      const middle = { cpuPerMillion: cpu, busy: 0.5, rss: 60 * 2 ** 20 };
      return {
        ...{ run, row, mode, seconds: 8, published: received, received, latency },
        ...(mode === 'direct' ? {} : { middle }),
      };
    }),
  ),
);
const ceilings: Ceiling[] = [
  { run: 0, mode: 'sidecar', bytes: 0.9e9, messages: 800_000, cpuPerMillion: 1, busy: 0.95 },
];
const report: Report = {
  made: '2026-11-24T12:00:00.000Z',
  machine: { cpu: 'CPU', cores: 2, kernel: '6', node: '26', perfTest: '1', toxiproxy: '2' },
  ...{ runs: 3, seconds: 8, samples, ceilings, failures: [] },
};

const met = (of: Pick<Report, 'samples' | 'ceilings'>): Record<string, boolean | undefined> =>
  Object.fromEntries(verdictsOf(of).map((verdict) => [verdict.what, verdict.met]));

test('each demand is judged by what it is about', () => {
  expect(met(report)).toEqual({
    "relaying, 100 B: throughput, of the pipe's": true,
    "relaying, 100 B: throughput, of toxiproxy's": true,
    "relaying, 100 B: CPU a message, of the pipe's": true,
    "relaying, 1 KiB: throughput, of the pipe's": true,
    "relaying, 1 KiB: throughput, of toxiproxy's": true,
    "relaying, 1 KiB: CPU a message, of the pipe's": true,
    'relaying, 1,000 msg/s: median latency added': true,
    'relaying, 20 msg/s: median latency added': true,
    'recording, 1 KiB: throughput, of relaying': false,
    'recording, 1,000 msg/s: median latency added': false,
    'without a broker, 1 KiB in chunks of 64 KiB': false,
  });
});

test('a value at its limit is met, but not where more is demanded', () => {
  const level = samples.map((sample) =>
    sample.mode === 'toxiproxy' ? { ...sample, received: sample.run * 15_600 + 15_600 } : sample,
  );
  const verdicts = met({ samples: level, ceilings: [{ ...ceilings[0]!, bytes: 1e9 }] });
  expect(verdicts["relaying, 1 KiB: throughput, of toxiproxy's"]).toBe(false);
  expect(verdicts['without a broker, 1 KiB in chunks of 64 KiB']).toBe(true);
});

test('what was not measured is neither met nor missed', () => {
  expect(Object.values(met({ samples: [], ceilings: [] })).every((each) => each === undefined)).toBe(true);
});

test('the page has a line for each mode of each row', () => {
  const page = markdown(report);
  expect(page).toContain(
    '| sidecar, relaying | 31,200 | 0.78 | 0.97 | 1.11 | 400 | +100 | 500 | 600 | 11.00 | 1.10 | 60 |',
  );
  expect(page).toContain('| direct | 40,000 | 1.00 | 1.25 | 1.43 | 300 | – | 400 | 500 | – | – | – |');
  expect(page.match(/^\| sidecar, recording \|/gm)).toHaveLength(ROWS.length);
  expect(page).toContain('| recording, 1 KiB: throughput, of relaying | ≥ 0.85 | 0.77 | **no** |');
  expect(page).toContain('| sidecar, relaying | 0.90 | 800,000 | 1.00 | 0.95 |');
  expect(page).not.toMatch(/NaN|undefined|Infinity/);
});

test('what failed is told, and nothing is made up for it', () => {
  const without = { ...report, samples: samples.filter(({ mode }) => mode !== 'pipe'), ceilings: [] };
  const page = markdown({ ...without, failures: [{ run: 0, row: 'latency-20', mode: 'pipe', error: 'gone\nlog' }] });
  expect(page).toContain('- run 1, latency-20, pipe: gone\n');
  expect(page).not.toMatch(/NaN|undefined|Infinity/);
  expect(page).not.toContain('| Node.js pipe |');
});

test('the plot draws a bar for each value, within its frame', () => {
  const picture = plot(report);
  const bars = [...picture.matchAll(/<rect x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)" fill="#/g)].slice(
    MODES.length,
  );
  // 4 rows of throughput in all modes, 2 of latency and 4 of CPU in all but direct.
  expect(bars).toHaveLength(4 * 5 + 2 * 4 + 4 * 4);
  for (const [, x, y, height] of bars) {
    expect(Number(x)).toBeLessThan(960);
    expect(Number(y)).toBeGreaterThan(0);
    expect(Number(height)).toBeLessThanOrEqual(150);
  }
  expect(picture).not.toMatch(/NaN|undefined|Infinity/);
});

test('a mode that is faster than direct does not draw below the axis', () => {
  const quick = samples.map((sample) => ({
    ...sample,
    latency: { median: 300 - LIKE[sample.mode][1], p95: 1, p99: 1 },
  }));
  expect(plot({ samples: quick })).not.toMatch(/height="-/);
});
