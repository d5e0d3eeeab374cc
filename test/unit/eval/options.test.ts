import { expect, test } from 'vitest';
import { CONFIGURATIONS } from '../../../scripts/eval/configurations.ts';
import { parse, UsageError } from '../../../scripts/eval/options.ts';
import { RATES } from '../../../scripts/eval/paper.ts';

test('all is measured, and written to docs, unless said otherwise', () => {
  expect(parse([])).toEqual({
    ...{ app: 'node', workMs: 10, configs: CONFIGURATIONS, rates: [...RATES], runs: 3, seed: 1 },
    ...{ resume: false, within: undefined, reportOnly: false, out: 'docs/evaluation' },
  });
});

test('a part of it never takes the place of the whole in docs', () => {
  for (const args of [['--quick'], ['--runs', '2'], ['--rates', '10'], ['--configs', 'StopAndCopy']]) {
    expect(parse(args)?.out).toMatch(/shadow-evaluation-/);
    expect(parse([...args, '--out', 'elsewhere'])?.out).toBe('elsewhere');
    // It would be another directory than the one to go on with.
    expect(() => parse([...args, '--resume'])).toThrow(UsageError);
    expect(parse([...args, '--resume', '--out', 'elsewhere'])?.resume).toBe(true);
  }
  expect(parse(['--resume'])?.out).toBe('docs/evaluation');
});

test('a quick one is one run at two rates, and what is said goes before', () => {
  expect(parse(['--quick'])).toMatchObject({ rates: [10, 120], runs: 1, configs: CONFIGURATIONS });
  expect(parse(['--quick', '--rates', '60', '--runs', '2'])).toMatchObject({ rates: [60], runs: 2 });
});

test('rates and configurations come in our order, each once', () => {
  expect(parse(['--rates', '120, 10,120', '--configs', 'StopAndCopy,Sequential'])).toMatchObject({
    rates: [10, 120],
    configs: ['Sequential', 'StopAndCopy'],
  });
});

test('another consumer', () => {
  expect(parse(['--app', 'python', '--work', '16'])).toMatchObject({
    app: 'python',
    workMs: 16,
    out: 'docs/evaluation',
  });
});

test.each([
  ['--rates', '0'],
  ['--rates', ''],
  ['--rates', '10;20'],
  ['--rates', '-5'],
  ['--configs', 'Sequentially'],
  ['--configs', ''],
  ['--runs', '0'],
  ['--runs', '1.5'],
  ['--app', 'java'],
  ['--app', 'node,python'],
  ['--work', 'fast'],
  ['--seed', '-1'],
  ['--within', '0'],
  ['--out', ''],
  ['--quick', '--report'],
  ['--fast'],
  ['one'],
])('refuses %s %s', (...args) => {
  expect(() => parse(args)).toThrow(UsageError);
});

test('help is no run', () => {
  expect(parse(['--help', '--runs', '0'])).toBeUndefined();
});
