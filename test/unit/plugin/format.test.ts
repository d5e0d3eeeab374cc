import { expect, test } from 'vitest';
import { age, bytes, columns, seconds } from '../../../plugin/format.ts';
import { durationMs, podName } from '../../../plugin/options.ts';

const [S, M, H, D] = [1000, 60_000, 3_600_000, 86_400_000] as const;

test.each([
  [0, '0s'],
  [119 * S, '119s'],
  [2 * M, '2m'],
  [9 * M + 59 * S, '9m59s'],
  [10 * M + 5 * S, '10m'],
  [2 * H + 59 * M, '179m'],
  [3 * H, '3h'],
  [7 * H + 5 * M, '7h5m'],
  [47 * H, '47h'],
  [2 * D + 3 * H, '2d3h'],
  [9 * D, '9d'],
  [800 * D, '2y70d'],
  [-5 * S, '0s'],
])('age %i is %s, as kubectl has it', (ms, text) => expect(age(ms)).toBe(text));

test('seconds and bytes', () => {
  expect([0, 1234, 59_994, 59_996, 125_000].map(seconds)).toEqual(['0.00s', '1.23s', '59.99s', '1m00s', '2m05s']);
  expect([0, 1023, 1536, 13_421_772].map(bytes)).toEqual(['0 B', '1023 B', '1.5 KiB', '12.8 MiB']);
});

test.each([
  ['90', 90 * S],
  ['0', 0],
  ['1m30s', 90 * S],
  ['500ms', 500],
  ['1.5h', 90 * M],
])('duration %s', (text, ms) => expect(durationMs('timeout', text)).toBe(ms));
test.each(['', 'x', '5x', '-1s', '1m 30s', 's'])('duration %j is refused', (text) => {
  expect(() => durationMs('timeout', text)).toThrow(expect.objectContaining({ code: 'SHADOW_E_USAGE' }));
});

test.each(['a', 'pod/a', 'pods/a', 'po/a'])('%s names pod a', (text) => expect(podName(text)).toBe('a'));
test.each(['', 'pod/', 'sts/a', 'pod/a/b', '/a'])('%j names no pod', (text) => {
  expect(() => podName(text)).toThrow(expect.objectContaining({ code: 'SHADOW_E_USAGE' }));
});

test('columns: as wide as their widest cell, empty cells named, no space at the end', () => {
  expect(
    columns(
      ['A', 'LONG'],
      [
        ['xyz', '1'],
        ['', '2'],
      ],
    ),
  ).toBe('A        LONG\nxyz      1\n<none>   2');
});
