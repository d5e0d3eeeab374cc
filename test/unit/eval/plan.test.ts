import { expect, test } from 'vitest';
import { CONFIGURATIONS } from '../../../scripts/eval/configurations.ts';
import { RATES } from '../../../scripts/eval/paper.ts';
import { type Asked, isOf, missing, orderOf, secondsLeft, spoken } from '../../../scripts/eval/plan.ts';
import { failed, keyOf, measured, unsupported } from './sample.ts';

const asked: Asked = { app: 'node', workMs: 10, configs: CONFIGURATIONS, rates: RATES, runs: 3, seed: 1 };
const nameOf = (key: object): string => JSON.stringify(key);

test('every run is made once, round by round', () => {
  const order = orderOf(asked);
  expect(order).toHaveLength(6 * 7 * 3);
  expect(new Set(order.map(nameOf)).size).toBe(order.length);
  expect(order.map(({ run }) => run)).toEqual([1, 2, 3].flatMap((run) => new Array(42).fill(run)));
});

test('the order is mixed, another in each round, and the same of the same seed', () => {
  const order = orderOf(asked);
  const round = (run: number): string[] =>
    order.filter((key) => key.run === run).map(({ config, rate }) => `${config} ${rate}`);
  expect(round(1)).not.toEqual(round(2));
  expect([...round(1)].sort()).toEqual([...round(2)].sort());
  expect(orderOf(asked)).toEqual(order);
  expect(orderOf({ ...asked, seed: 2 })).not.toEqual(order);
  // Not configuration by configuration, nor rate by rate.
  const turns = round(1).filter(
    (name, index, all) => index > 0 && name.split(' ')[0] !== all[index - 1]!.split(' ')[0],
  );
  expect(turns.length).toBeGreaterThan(20);
});

test('a further run asked for later changes none of those before', () => {
  expect(orderOf({ ...asked, runs: 4 }).slice(0, 126)).toEqual(orderOf(asked));
});

test('a go takes up what is missing: failures are results, refusals are asked for again', () => {
  const order = orderOf({ ...asked, rates: [10], runs: 1 });
  const results = [measured('StopAndCopy', 10, 1), failed('ShadowPodSwap', 10, 1), unsupported('Sequential')];
  const left = missing(order, results).map(({ config }) => config);
  expect(left.sort()).toEqual(['Deployment', 'ExchangeFence', 'Sequential', 'ShadowPod']);
});

test('results of another app, work, rate or run stand for none', () => {
  const key = keyOf('StopAndCopy', 10, 1);
  for (const other of [{ app: 'python' }, { workMs: 16 }, { rate: 20 }, { run: 2 }, { config: 'Deployment' }] as const)
    expect(isOf(key, { ...key, ...other })).toBe(false);
  expect(missing([key], [measured('StopAndCopy', 10, 1, { workMs: 16 })])).toEqual([key]);
});

test('the remaining time goes by what each configuration has taken', () => {
  const left = [keyOf('StopAndCopy', 10, 2), keyOf('Sequential', 10, 2)];
  expect(secondsLeft(left, [])).toBe(100);
  const results = [
    measured('StopAndCopy', 10, 1, { tookSeconds: 20 }),
    measured('StopAndCopy', 20, 1, { tookSeconds: 40 }),
    unsupported('Sequential'),
  ];
  // What was refused says nothing of how long it takes.
  expect(secondsLeft(left, results)).toBe(30 + 30);
  expect(secondsLeft(left, [...results, measured('Sequential', 10, 1, { tookSeconds: 90 })])).toBe(30 + 90);
});

test('all of it is planned to fit in three hours, a quick one in ten minutes', () => {
  expect(secondsLeft(orderOf(asked), [])).toBeLessThan(3 * 3600);
  expect(secondsLeft(orderOf({ ...asked, rates: [10, 120], runs: 1 }), [])).toBeLessThanOrEqual(600);
  expect(spoken(secondsLeft(orderOf(asked), []))).toBe('1 h 45 min');
  expect(spoken(59)).toBe('1 min');
});
