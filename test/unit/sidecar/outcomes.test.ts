/** Invariant 2, as an app sees it: a copy hears of its publishes in the order in which its source did. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Outcomes } from '../../../webhook/sidecar/replay/outcomes.ts';

/** The order in which the broker confirms `count` publishes, each of which the copy makes in its own time. */
const runs = fc.integer({ min: 1, max: 20 }).chain((count) => {
  const all = Array.from({ length: count }, (_, index) => index + 1);
  const shuffled = fc.shuffledSubarray(all, { minLength: count, maxLength: count });
  return fc.record({
    confirmed: shuffled,
    turns: fc.array(fc.boolean(), { minLength: 2 * count, maxLength: 2 * count }),
  });
});

/** What the copy is told, in this order; `turns`: whether an outcome comes, or the copy makes its next one. */
const tell = (confirmed: readonly number[], turns: readonly boolean[]): number[] => {
  const outcomes = new Outcomes<number>();
  const told: number[] = [];
  const came = new Set<number>();
  let made = 0;
  const confirm = (next: number | undefined): void => {
    if (next === undefined) return;
    came.add(next);
    told.push(...outcomes.came('1/1', next, next, next <= made));
  };
  const make = (): void => {
    if (made === confirmed.length) return;
    made += 1;
    if (came.has(made)) told.push(...outcomes.made('1/1', made));
  };
  for (const confirms of [...turns, ...turns.map(() => true), ...turns.map(() => false)]) {
    if (confirms) confirm(confirmed[came.size]);
    else make();
    for (const each of told) expect([came.has(each), each <= made]).toEqual([true, true]);
  }
  return told;
};

it('an outcome that was overtaken waits for those that overtook it, and for nothing else', { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(runs, ({ confirmed, turns }) => {
      const told = tell(confirmed, turns);
      // The copy makes them in its source's order, so nothing but the broker can have changed that of the outcomes.
      for (const [at, early] of confirmed.entries())
        for (const late of confirmed.slice(at + 1))
          if (early > late) expect(told.indexOf(early)).toBeLessThan(told.indexOf(late));
      expect([...told].sort((a, b) => a - b)).toEqual([...confirmed].sort((a, b) => a - b));
    }),
    { numRuns: 500 },
  );
});

it('one that came in order does not wait for a publish by the clock, which the copy has not made yet', () => {
  const outcomes = new Outcomes<string>();
  expect(outcomes.came('1/1', 1, 'tick', false)).toEqual([]);
  expect(outcomes.came('1/1', 2, 'output', true)).toEqual(['output']);
  expect(outcomes.made('1/1', 'tick')).toEqual(['tick']);
});

it('what is written off holds up nothing any more', () => {
  const outcomes = new Outcomes<string>();
  expect(outcomes.came('1/1', 2, 'second', false)).toEqual([]);
  expect(outcomes.came('1/1', 1, 'first', true)).toEqual([]);
  expect(outcomes.came('1/2', 1, 'elsewhere', true)).toEqual(['elsewhere']);
  expect(outcomes.writeOff('1/1', 'second')).toEqual(['first']);
  expect(outcomes.made('1/1', 'second')).toEqual(['second']);
});
