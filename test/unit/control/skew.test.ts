/** Which versions go together. */
import { describe, expect, test } from 'vitest';
import { jumpOf, LEAST_PROTOCOL, minorsAhead, PROTOCOL, releaseOf, skewOf } from '../../../webhook/api/skew.ts';

describe('a version', () => {
  test.each([
    ['0.2.0', { major: 0, minor: 2 }],
    ['v1.30.7', { major: 1, minor: 30 }],
    ['0.2.0-rc.1', { major: 0, minor: 2 }],
    ['0.2', { major: 0, minor: 2 }],
    ['dev', undefined],
    ['', undefined],
    ['2', undefined],
    ['0.2x', undefined],
    ['1.2.3 ', undefined],
  ])('%s', (text, release) => expect(releaseOf(text)).toEqual(release));
  test('is compared by minor number, within a major one', () => {
    expect(minorsAhead('0.1.9', '0.2.0')).toBe(1);
    expect(minorsAhead('0.10.0', '0.9.0')).toBe(-1);
    expect(minorsAhead('0.9.0', '1.0.0')).toBeUndefined();
  });
});

describe('a sidecar and its controller', () => {
  test.each([
    ['0.2.0', '0.2.5'],
    ['0.2.7', '0.2.0'],
    ['0.1.0', '0.2.0'],
    ['0.9.3', '0.10.0'],
    [undefined, '0.2.0'],
  ])('%s goes with %s', (version, own) => expect(skewOf({ version }, own)).toBeUndefined());
  test.each([
    ['0.0.9', '0.2.0', /0\.0\.9, more than one minor version before the controller's 0\.2\.0/],
    ['0.3.0', '0.2.9', /newer/],
    ['1.0.0', '0.9.0', /does not go with/],
    ['nonsense', '0.2.0', /does not go with/],
    // What does not say its version is 0.1.
    [undefined, '0.3.0', /0\.1\.0, more than one/],
  ])('%s does not go with %s', (version, own, why) => expect(skewOf({ version }, own)).toMatch(why));
  test('must speak the same protocol, whatever its version; one that tells none speaks the first', () => {
    expect(skewOf({ version: '0.2.0', protocol: PROTOCOL }, '0.2.0')).toBeUndefined();
    expect(skewOf({ version: '0.2.0', protocol: LEAST_PROTOCOL }, '0.2.0')).toBeUndefined();
    expect(skewOf({ version: '0.2.0', protocol: PROTOCOL + 1 }, '0.2.0')).toMatch(/speaks protocol/);
    expect(skewOf({ version: '0.2.0', protocol: LEAST_PROTOCOL - 1 }, '0.2.0')).toMatch(/speaks protocol/);
  });
});

test('an installation goes one minor version forth at a time, and never back', () => {
  expect(jumpOf('0.1.0', '0.2.0')).toBeUndefined();
  expect(jumpOf('0.2.0', '0.2.0')).toBeUndefined();
  expect(jumpOf('0.2.0', '0.2.1')).toBeUndefined();
  expect(jumpOf('0.2.1', '0.2.0')).toMatch(/older/);
  expect(jumpOf('0.2.0', '0.1.9')).toMatch(/older/);
  expect(jumpOf('0.1.0', '0.3.0')).toMatch(/2 minor versions ahead/);
  expect(jumpOf('0.9.0', '1.0.0')).toMatch(/does not follow/);
});
