import { expect, test } from 'vitest';
import { type Mode, type Sample, turned } from '../../../scripts/bench/rows.ts';
import { added, MEASURE, median, ratio, typical } from '../../../scripts/bench/statistics.ts';

const sample = (run: number, mode: Mode, received: number, cpu?: number): Sample => ({
  ...{ run, row: 'r', mode, seconds: 8, published: received, received },
  latency: { median: received / 10, p95: 2, p99: 3 },
  ...(cpu === undefined ? {} : { middle: { cpuPerMillion: cpu, busy: 1, rss: 1 } }),
});

test('the median is of values, not of their order', () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([10, 9, 1, 2])).toBe(5.5);
  expect(median([])).toBeNaN();
});

test('ratios are taken within a run: a slow run does not show', () => {
  // The machine was of another speed in each run, and the runs are not in order.
  const samples = [
    sample(2, 'direct', 2000),
    sample(1, 'sidecar', 90),
    sample(0, 'direct', 1000),
    sample(0, 'sidecar', 900),
    sample(1, 'direct', 100),
    sample(2, 'sidecar', 1800),
  ];
  expect(ratio(samples, 'r', ['sidecar', 'direct'], MEASURE.rate)).toBeCloseTo(0.9);
  expect(added(samples, 'r', ['sidecar', 'direct'], MEASURE.median)).toBeCloseTo(-10);
  expect(typical(samples, 'r', 'direct', MEASURE.rate)).toBe(1000);
});

test('what was not measured is not told', () => {
  const samples = [sample(0, 'direct', 10), sample(1, 'pipe', 10, 5)];
  expect(ratio(samples, 'r', ['pipe', 'direct'], MEASURE.rate)).toBeUndefined();
  expect(typical(samples, 'r', 'direct', MEASURE.cpu)).toBeUndefined();
  expect(typical(samples, 'other', 'direct', MEASURE.rate)).toBeUndefined();
});

test('from run to run every mode comes first once', () => {
  const modes = ['a', 'b', 'c'];
  expect([0, 1, 2, 3].map((run) => turned(modes, run).join(''))).toEqual(['abc', 'bca', 'cab', 'abc']);
  expect(turned([], 2)).toEqual([]);
});
