import { expect, test } from 'vitest';
import { parse, UsageError } from '../../../scripts/bench/options.ts';
import { MODES, ROWS } from '../../../scripts/bench/rows.ts';

test('all is measured and written unless said otherwise', () => {
  const all = { rows: ROWS, modes: MODES, ceiling: true, out: 'docs' };
  expect(parse([])).toEqual({ runs: 3, seconds: 8, ...all, json: false, resume: undefined, within: undefined });
});

test('a part of it never takes the place of the whole in docs', () => {
  for (const args of [['--rows', 'latency-20'], ['--modes', 'direct,pipe'], ['--no-ceiling'], ['--only-ceiling']]) {
    expect(parse(args)?.out).toBeUndefined();
    expect(parse([...args, '--out', 'elsewhere'])?.out).toBe('elsewhere');
  }
});

test('rows and modes come in our order, each once', () => {
  const options = parse(['--rows', 'latency-20, throughput-1k,latency-20', '--modes', 'recording,direct']);
  expect(options?.rows.map(({ name }) => name)).toEqual(['throughput-1k', 'latency-20']);
  expect(options?.modes).toEqual(['direct', 'recording']);
});

test.each([
  ['--runs', '0'],
  ['--runs', '1.5'],
  ['--runs', '1e1'],
  ['--runs', ''],
  ['--seconds', '601'],
  ['--rows', 'throughput'],
  ['--rows', ''],
  ['--modes', 'direct,haproxy'],
  ['--out', ''],
  ['--fast'],
  ['one'],
  ['--no-ceiling', '--only-ceiling'],
  ['--only-ceiling', '--rows', 'latency-20'],
  ['--resume', ''],
  ['--within', '60'],
  ['--resume', 'kept.json', '--within', '0'],
])('refuses %s %s', (...args) => {
  expect(() => parse(args.filter((arg) => arg !== undefined))).toThrow(UsageError);
});

test('it can be done in several goes', () => {
  expect(parse(['--resume', 'kept.json', '--within', '200'])).toMatchObject({ resume: 'kept.json', within: 200 });
});

test('help is asked for', () => {
  expect(parse(['--help', '--runs', 'many'])).toBeUndefined();
});
