import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { State } from '../../../manifests/examples/consumer/state.ts';
import {
  type Evidence,
  isExact,
  judge,
  longestGapMs,
  type ReplicaState,
  type SeenOutput,
} from '../../../scripts/demonstration/oracle.ts';

const bodyOf = (seq: number): Buffer => Buffer.from(JSON.stringify({ seq, payload: 'x'.repeat(seq % 7) }));

/** What the example's own code would remember and publish, having applied `lists`. */
const worldOf = (lists: readonly number[][], messages: number): Evidence => {
  const sent = new Map(Array.from({ length: messages }, (_, index) => [index + 1, bodyOf(index + 1)]));
  const outputs: SeenOutput[] = [];
  const replicas = lists.map((list, ordinal): ReplicaState => {
    const consumer = `consumer-${ordinal}`;
    const state = new State({ consumer, instance: `i${ordinal}`, startedAt: '' });
    for (const seq of list) {
      const index = state.apply(seq, bodyOf(seq), false);
      outputs.push({ consumer, seq, index, at: outputs.length });
    }
    return { ...state.snapshot(), list: [...list] };
  });
  return { sent, confirmed: new Set(sent.keys()), replicas, outputs };
};

/** Two replicas that shared messages 1..n, each in order, by the coin given. */
const dealt = fc
  .array(fc.boolean(), { minLength: 4, maxLength: 60 })
  .filter((coins) => coins.filter(Boolean).length >= 2 && coins.filter((coin) => !coin).length >= 2)
  .map((coins) => {
    const all = coins.map((coin, index) => ({ seq: index + 1, coin }));
    const pick = (wanted: boolean): number[] => all.filter(({ coin }) => coin === wanted).map(({ seq }) => seq);
    return { lists: [pick(true), pick(false)] as [number[], number[]], messages: coins.length };
  });

const example = worldOf(
  [
    [1, 3, 4],
    [2, 5, 6],
  ],
  6,
);
const withReplica = (change: (replica: ReplicaState) => ReplicaState): Evidence => ({
  ...example,
  replicas: example.replicas.map((replica, ordinal) => (ordinal === 0 ? change(replica) : replica)),
});

describe('the oracle', () => {
  it('finds nothing wrong however two replicas share the messages', () => {
    fc.assert(
      fc.property(dealt, ({ lists, messages }) => {
        const verdict = judge(worldOf(lists, messages));
        expect(verdict).toEqual({
          confirmed: messages,
          applied: messages,
          lost: 0,
          duplicated: 0,
          reordered: 0,
          outputsLost: 0,
          outputsDuplicated: 0,
          stateMatches: true,
        });
        expect(isExact(verdict)).toBe(true);
      }),
    );
  });

  it('finds every lost message and its output', () => {
    fc.assert(
      fc.property(dealt, fc.nat(), ({ lists: [first, second], messages }, at) => {
        const verdict = judge(worldOf([first.toSpliced(at % first.length, 1), second], messages));
        expect(verdict).toMatchObject({ lost: 1, duplicated: 0, reordered: 0, outputsLost: 1, stateMatches: true });
        expect(isExact(verdict)).toBe(false);
      }),
    );
  });

  it('finds a message applied twice, by the same replica or by both', () => {
    fc.assert(
      fc.property(dealt, fc.nat(), fc.boolean(), ({ lists: [first, second], messages }, at, own) => {
        const again = first[at % first.length]!;
        const lists = own ? [[...first, again], second] : [first, [...second, again].sort((a, b) => a - b)];
        const verdict = judge(worldOf(lists, messages));
        expect(verdict).toMatchObject({ lost: 0, duplicated: 1, reordered: 0, outputsDuplicated: 1 });
        expect(isExact(verdict)).toBe(false);
      }),
    );
  });

  it('finds two messages applied in the wrong order', () => {
    fc.assert(
      fc.property(dealt, fc.nat(), ({ lists: [first, second], messages }, at) => {
        const i = at % (first.length - 1);
        const swapped = first.with(i, first[i + 1]!).with(i + 1, first[i]!);
        const verdict = judge(worldOf([swapped, second], messages));
        expect(verdict).toMatchObject({ lost: 0, duplicated: 0, reordered: 1, stateMatches: true });
        expect(isExact(verdict)).toBe(false);
      }),
    );
  });

  it.each<[string, Evidence]>([
    ['a count that is not the list', withReplica((replica) => ({ ...replica, count: replica.count + 1 }))],
    ['a hash of another history', withReplica((replica) => ({ ...replica, hash: '00'.repeat(32) }))],
    ['a memory that went back', withReplica((replica) => ({ ...replica, list: replica.list.slice(0, -1) }))],
    ['a message nobody sent', withReplica((replica) => ({ ...replica, list: [...replica.list, 99] }))],
    ['a body that was changed', { ...example, sent: new Map(example.sent).set(3, Buffer.from('other')) }],
    [
      'an output of a copy that applied something else',
      { ...example, outputs: example.outputs.map((output) => (output.seq === 4 ? { ...output, index: 2 } : output)) },
    ],
    [
      'an output of a replica nobody knows',
      { ...example, outputs: example.outputs.map((output) => ({ ...output, consumer: 'consumer-0-shadow' })) },
    ],
  ])('does not take %s for the right state', (_name, evidence) => {
    expect(judge(evidence).stateMatches).toBe(false);
  });

  it('finds lost and repeated outputs though all was applied', () => {
    const [head, ...rest] = example.outputs;
    expect(judge({ ...example, outputs: rest })).toMatchObject({ lost: 0, outputsLost: 1, outputsDuplicated: 0 });
    expect(judge({ ...example, outputs: [...example.outputs, head!] })).toMatchObject({ outputsDuplicated: 1 });
  });

  it('owes nobody what was not confirmed, but checks it when it was applied', () => {
    const unconfirmed = { ...example, confirmed: new Set([1, 2, 3]) };
    expect(judge(unconfirmed)).toMatchObject({ confirmed: 3, applied: 6, lost: 0, stateMatches: true });
    expect(isExact(judge(worldOf([[], []], 0)))).toBe(false);
  });
});

describe('the longest gap', () => {
  const at = (times: readonly number[], consumer = 'consumer-0'): SeenOutput[] =>
    times.map((time, index) => ({ consumer, seq: index + 1, index: index + 1, at: time }));

  it('counts a gap that begins before the window or ends after it', () => {
    expect(longestGapMs(at([0, 900, 1000]), 'consumer-0', 100, 200)).toBe(900);
    expect(longestGapMs(at([0, 100, 1000]), 'consumer-0', 50, 200)).toBe(900);
  });
  it('ignores gaps outside of the window', () => {
    expect(longestGapMs(at([0, 5000, 5010, 5020, 9000]), 'consumer-0', 5010, 5015)).toBe(10);
  });
  it('counts silence until the end, and of a consumer that never spoke', () => {
    expect(longestGapMs(at([0, 10]), 'consumer-0', 5, 3000)).toBe(2990);
    expect(longestGapMs([], 'consumer-0', 5, 3000)).toBe(2995);
  });
  it('is not shortened by repeated outputs or by other replicas', () => {
    const repeated: SeenOutput[] = [...at([0, 10]), { consumer: 'consumer-0', seq: 1, index: 1, at: 1000 }];
    const other = at([500], 'consumer-1').map((output) => ({ ...output, seq: 50 }));
    const next: SeenOutput = { consumer: 'consumer-0', seq: 3, index: 3, at: 2000 };
    expect(longestGapMs([...repeated, ...other, next], 'consumer-0', 0, 2000)).toBe(1990);
  });
});
