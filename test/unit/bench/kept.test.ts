import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CEILING, digestOf, Kept } from '../../../scripts/bench/kept.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kept-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const terms = { seconds: 3, node: '26', sidecar: 'a' };
const latency = { median: 1, p95: 2, p99: 3 };
const sample = { run: 1, row: 'latency-20', mode: 'pipe', seconds: 3, published: 20, received: 20, latency } as const;

test('the next go has what was taken before, and nothing else', () => {
  const file = join(dir, 'kept.json');
  const kept = new Kept(file, terms);
  expect(existsSync(file)).toBe(false);
  kept.samples.push(sample);
  kept.ceilings.push({ run: 0, mode: 'pipe', bytes: 1, messages: 1 });
  kept.failures.push({ run: 0, row: 'latency-20', mode: 'pipe', error: 'none' });
  kept.save();
  expect(readdirSync(dir)).toEqual(['kept.json']);
  const next = new Kept(file, terms);
  expect(next.samples).toEqual([sample]);
  expect(next.has(1, 'latency-20', 'pipe')).toBe(true);
  expect(next.has(0, CEILING, 'pipe')).toBe(true);
  // What could not be measured is tried again.
  expect(next.failures).toEqual([]);
  expect(next.has(0, 'latency-20', 'pipe')).toBe(false);
  expect(next.has(1, 'latency-20', 'direct')).toBe(false);
  expect(next.has(1, 'latency-1000', 'pipe')).toBe(false);
  expect(next.has(1, CEILING, 'pipe')).toBe(false);
});

test.each([{ seconds: 8 }, { node: '20' }, { sidecar: 'b' }])('figures of %o are not mixed with others', (other) => {
  const file = join(dir, 'kept.json');
  new Kept(file, terms).save();
  expect(() => new Kept(file, { ...terms, ...other })).toThrow(Object.keys(other)[0]);
});

test('a bundle is known by what is in it', () => {
  const write = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return digestOf(join(dir, name));
  };
  expect(write('one', 'x')).toBe(write('two', 'x'));
  expect(write('one', 'x')).not.toBe(write('two', 'y'));
});

test('it is over when its time is', () => {
  expect(new Kept(undefined, terms).over).toBe(false);
  expect(new Kept(undefined, terms, performance.now() - 1).over).toBe(true);
});
