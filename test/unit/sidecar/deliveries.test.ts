/** Tag arithmetic against a model that knows nothing of offsets: it remembers where each of the app's tags came from. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Deliveries, type Holder, UNKNOWN_TAG } from '../../../webhook/sidecar/deliveries.ts';

type Step =
  | { do: 'deliver'; noAck: boolean; withheld: boolean }
  | { do: 'settle'; pick: number; multiple: boolean; all: boolean }
  | { do: 'show'; pick: number }
  | { do: 'carry' };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('deliver' as const), noAck: fc.boolean(), withheld: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      pick: fc.nat(),
      multiple: fc.boolean(),
      all: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('show' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.constant({ do: 'carry' as const }) },
);

interface Known {
  tag: number;
  upstream: number;
  generation: number;
  seen: boolean;
}

/** RabbitMQ's rule for its own channel: the tag itself must be outstanding, or the channel is closed (406). */
const brokerSettles = (outstanding: Set<number>, tag: number, multiple: boolean): number[] => {
  if (tag !== 0 && !outstanding.has(tag)) throw new Error(`406 unknown delivery tag ${tag}`);
  const hit = [...outstanding].filter((each) => (multiple ? tag === 0 || each <= tag : each === tag));
  for (const each of hit) outstanding.delete(each);
  return hit;
};

/** Deliveries beside its model; every step compares the two. */
class Checked {
  readonly real = new Deliveries();
  private readonly holder: Holder = { prefetch: 0, held: 0 };
  private generation = 0;
  private upstreamTag = 0;
  private lastAppTag = 0;
  private known: Known[] = [];
  private broker = new Set<number>();

  deliver(options: { noAck: boolean; withheld: boolean }): void {
    this.upstreamTag += 1;
    const tag = this.real.deliver(this.upstreamTag, this.holder, options);
    // The app sees one rising numbering, whatever the channel beneath.
    expect(tag).toBe(this.lastAppTag + 1);
    this.lastAppTag = tag;
    if (options.noAck) return;
    this.known.push({ tag, upstream: this.upstreamTag, generation: this.generation, seen: !options.withheld });
    this.broker.add(this.upstreamTag);
  }

  show(pick: number): void {
    const hidden = this.known.filter((one) => !one.seen);
    const shown = hidden[pick % hidden.length];
    if (!shown) return;
    shown.seen = true;
    this.real.show(shown.tag);
  }

  carry(): void {
    this.real.carry();
    this.generation += 1;
    this.upstreamTag = 0;
    this.broker = new Set();
  }

  settle(pick: number, multiple: boolean, all: boolean): void {
    const seen = this.known.filter((one) => one.seen);
    const picked = seen[pick % seen.length];
    if (!picked) return;
    const target = all && multiple ? 0 : picked.tag;
    const meant = seen.filter((one) => (multiple ? target === 0 || one.tag <= target : one.tag === target));
    const { carried, upstream } = this.real.settle(target, multiple);
    const settled = upstream.flatMap((one) => brokerSettles(this.broker, one.tag, one.multiple));
    const old = (one: Known): boolean => one.generation < this.generation;
    expect(carried).toEqual(meant.filter(old).map((one) => one.tag));
    expect(settled.sort((x, y) => x - y)).toEqual(meant.filter((one) => !old(one)).map((one) => one.upstream));
    this.known = this.known.filter((one) => !meant.includes(one));
  }

  agree(): void {
    expect(this.real.size).toBe(this.known.length);
    expect(this.holder.held).toBe(this.known.filter((one) => one.seen).length);
    expect(this.real.held).toBe(this.holder.held);
    expect(this.real.carried).toBe(this.known.filter((one) => one.generation < this.generation).length);
    expect(this.real.withheld).toBe(this.known.filter((one) => !one.seen).length);
  }
}

describe('delivery tags', () => {
  it('settle exactly what the app settled, once, on the channel that delivered it', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const checked = new Checked();
        for (const each of steps) {
          if (each.do === 'deliver') checked.deliver(each);
          else if (each.do === 'show') checked.show(each.pick);
          else if (each.do === 'carry') checked.carry();
          else checked.settle(each.pick, each.multiple, each.all);
          checked.agree();
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('leave a mistake of the app for the broker to judge', () => {
    const deliveries = new Deliveries();
    for (let tag = 1; tag <= 3; tag++) deliveries.deliver(tag, undefined, { noAck: false, withheld: false });
    deliveries.carry();
    deliveries.settle(2, false);
    // Twice, also for a carried one: never a tag that means something else on the new channel.
    expect(deliveries.settle(2, false)).toEqual({
      tags: [],
      carried: [],
      upstream: [{ tag: UNKNOWN_TAG, multiple: false }],
    });
    deliveries.deliver(1, undefined, { noAck: false, withheld: true });
    expect(deliveries.settle(4, false)).toEqual({
      tags: [],
      carried: [],
      upstream: [{ tag: UNKNOWN_TAG, multiple: false }],
    });
    expect(deliveries.settle(0, true)).toEqual({ tags: [1, 3], carried: [1, 3], upstream: [] });
  });

  it('forgive an app that settles again what it was handed late, behind a higher one', () => {
    const holder = { prefetch: 0, held: 0 };
    const deliveries = new Deliveries();
    const give = (tag: number, withheld: boolean): void =>
      void deliveries.deliver(tag, holder, { noAck: false, withheld });
    for (const tag of [1, 2]) give(tag, true);
    for (const tag of [3, 4]) give(tag, false);
    for (const tag of [1, 2]) deliveries.show(tag);
    // It has settled up to 4, and may not have seen 1 and 2 by then.
    expect(deliveries.settle(4, true).tags).toEqual([1, 2, 3, 4]);
    const nothing = { tags: [], carried: [], upstream: [] };
    expect(deliveries.settle(1, false)).toEqual(nothing);
    expect(deliveries.settle(2, true)).toEqual(nothing);
    // Once: then it is the app's mistake, and the broker's to judge.
    expect(deliveries.settle(2, false).upstream).toHaveLength(1);
    expect(deliveries.settle(3, false).upstream).toHaveLength(1);
    expect(holder.held).toBe(0);
  });
});
