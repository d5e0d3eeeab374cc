import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Malformed } from '../../../webhook/sidecar/frames.ts';
import { Ledger } from '../../../webhook/sidecar/ledger.ts';

interface Value {
  readonly of: number;
}

/** A ledger beside a map that is done the same to. */
class Both {
  readonly ledger = new Ledger<Value>();
  readonly model = new Map<number, Value>();
  last: number;
  constructor(from: number) {
    this.last = from;
  }
  add(by: number): void {
    this.last += by;
    const value = { of: this.last };
    this.ledger.add(this.last, value);
    this.model.set(this.last, value);
  }
  remove(index: number): void {
    const tag = [...this.model.keys(), 7][index % (this.model.size + 1)]!;
    expect(this.ledger.delete(tag)).toBe(this.model.delete(tag));
  }
  look(below: number): void {
    const limit = this.last - below;
    expect(this.ledger.upTo(limit)).toEqual([...this.model].filter(([tag]) => tag <= limit));
  }
  take(below: number): void {
    const limit = this.last - below;
    const taken = [...this.model.keys()].filter((tag) => tag <= limit);
    expect(this.ledger.takeUpTo(limit)).toEqual(taken);
    for (const tag of taken) this.model.delete(tag);
  }
  clear(): void {
    this.ledger.clear();
    this.model.clear();
  }
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ act: fc.constant('add' as const), by: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 4, arbitrary: fc.record({ act: fc.constant('add' as const), by: fc.constant(1) }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant('remove' as const), by: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant('remove' as const), by: fc.constant(0) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('take' as const), by: fc.nat(60) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('look' as const), by: fc.nat(300) }) },
);

test('it holds what a map holds, in rising order, however it is settled', () => {
  const steps = fc.array(step, { maxLength: 300, size: 'max' });
  fc.assert(
    fc.property(steps, steps, fc.integer({ min: 1, max: 1e9 }), (before, after, from) => {
      const both = new Both(from);
      const { ledger, model } = both;
      const run = ({ act, by }: (typeof before)[number]): void => {
        both[act](by);
        expect(ledger.size).toBe(model.size);
        for (const off of [0, 1, 30, -1]) expect(ledger.get(both.last - off)).toBe(model.get(both.last - off));
      };
      before.forEach(run);
      expect([...ledger.all()]).toEqual([...model]);
      expect([...ledger.tags()]).toEqual([...model.keys()]);
      for (const [tag, value] of model) expect(ledger.get(tag)).toBe(value);
      both.clear();
      after.forEach(run);
      expect([...ledger.all()]).toEqual([...model]);
    }),
    { numRuns: 50 },
  );
});

test('one entry that stays costs nothing for the many that pass', () => {
  const ledger = new Ledger<true>();
  ledger.add(1, true);
  for (let tag = 2; tag < 200_000; tag += 1) {
    ledger.add(tag, true);
    ledger.delete(tag);
  }
  expect([...ledger.tags()]).toEqual([1]);
  expect((ledger as unknown as { order: number[] }).order.length).toBeLessThan(100);
});

test('a tag that does not rise is nobody’s', () => {
  const ledger = new Ledger<true>();
  ledger.add(5, true);
  expect(() => ledger.add(5, true)).toThrow(Malformed);
  expect(() => ledger.add(4, true)).toThrow(Malformed);
});
