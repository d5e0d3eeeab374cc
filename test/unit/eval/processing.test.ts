import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SeenOutput } from '../../../scripts/demonstration/oracle.ts';
import { longestGapMs } from '../../../scripts/eval/processing.ts';

const output = (seq: number, at: number): SeenOutput => ({ consumer: 'consumer-0', seq, index: seq, at });

/** A burst of `rate` messages each second for `seconds`, 10 ms of work each, one after the other. */
const load = (rate: number, seconds: number) => {
  const sent = new Map<number, number>();
  for (let seq = 1; seq <= rate * seconds; seq += 1) sent.set(seq, Math.floor((seq - 1) / rate) * 1000);
  const outputs: SeenOutput[] = [];
  let free = 0;
  for (const [seq, at] of sent) {
    free = Math.max(free, at) + 10;
    outputs.push(output(seq, free));
  }
  return { sent, outputs };
};

/** Nothing is done in [from, from + ms); what would have been is done later. */
const stalled = (outputs: readonly SeenOutput[], from: number, ms: number): SeenOutput[] => {
  let free = 0;
  return outputs.map((each) => {
    const at = Math.max(each.at, free, each.at >= from ? from + ms : 0);
    free = at + 10;
    return { ...each, at };
  });
};

describe('the longest gap', () => {
  test('idleness between two bursts is none', () => {
    const { sent, outputs } = load(10, 5);
    expect(longestGapMs(sent, outputs, 0, 5000)).toBe(10);
  });

  test('a consumer behind its producer has none', () => {
    const { sent, outputs } = load(120, 5);
    expect(longestGapMs(sent, outputs, 0, 5000)).toBe(10);
  });

  test.each([10, 120])('a stall under load is found, at %i messages a second', (rate) => {
    const { sent, outputs } = load(rate, 5);
    // In the midst of the work of a burst.
    expect(longestGapMs(sent, stalled(outputs, 2045, 700), 1000, 4000)).toBeGreaterThanOrEqual(700);
    expect(longestGapMs(sent, stalled(outputs, 2045, 700), 1000, 4000)).toBeLessThanOrEqual(720);
  });

  test('a stall between two bursts counts from when the next one comes', () => {
    const { sent, outputs } = load(10, 5);
    expect(longestGapMs(sent, stalled(outputs, 2500, 900), 0, 5000)).toBe(400);
  });

  test('what is outside of the window does not count', () => {
    const { sent, outputs } = load(10, 8);
    expect(longestGapMs(sent, stalled(outputs, 6045, 700), 1000, 5000)).toBe(10);
  });

  test('a copy that does it again does not hide or make a gap', () => {
    const { sent, outputs } = load(10, 5);
    const late = stalled(outputs, 2045, 700);
    const again = outputs.slice(0, 25).map(({ seq }) => output(seq, 2600 + seq));
    expect(longestGapMs(sent, [...late, ...again], 0, 5000)).toBeGreaterThan(500);
    expect(longestGapMs(sent, [...outputs, ...again], 0, 5000)).toBe(10);
  });

  test('an app that never works again stands still until the end', () => {
    const { sent, outputs } = load(10, 5);
    const dead = outputs.filter(({ at }) => at < 2000);
    expect(longestGapMs(sent, dead, 1000, 8000)).toBe(6000);
  });

  test('a lost message is no gap of those who are done', () => {
    const { sent, outputs } = load(10, 5);
    expect(
      longestGapMs(
        sent,
        outputs.filter(({ seq }) => seq !== 20),
        0,
        4050,
      ),
    ).toBeLessThanOrEqual(20);
  });

  test('it is never shorter than a stall that was put in, wherever that is', () => {
    fc.assert(
      fc.property(fc.constantFrom(60, 90), fc.integer({ min: 500, max: 3500 }), (rate, from) => {
        const { sent, outputs } = load(rate, 6);
        const gap = longestGapMs(sent, stalled(outputs, from, 1500), 0, 6000);
        // Half a second of it at most is idleness.
        expect(gap).toBeGreaterThanOrEqual(1000);
        expect(gap).toBeLessThanOrEqual(1520);
      }),
    );
  });
});
