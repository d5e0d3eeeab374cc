/** When messages were done, and when none was though some waited. Pure. */
import type { SeenOutput } from '../demonstration/oracle.ts';

/** Of every message, when it was done first. Rising. */
const firstsOf = (outputs: readonly SeenOutput[]): { seq: number; at: number }[] => {
  const firsts = new Map<number, number>();
  for (const { seq, at } of outputs) firsts.set(seq, Math.min(at, firsts.get(seq) ?? at));
  return [...firsts].map(([seq, at]) => ({ seq, at })).sort((a, b) => a.at - b.at);
};

/**
 * The longest time, touching [from, to], in which a message had been sent and none was done: idleness between two bursts is
 * none. Whoever did it counts. What was never done is waited for until `to`, unless others were done after that. `sentAt`: by
 * sequence number. All in milliseconds of one clock.
 */
export const longestGapMs = (
  sentAt: ReadonlyMap<number, number>,
  outputs: readonly SeenOutput[],
  from: number,
  to: number,
): number => {
  const firsts = firstsOf(outputs);
  // earliest[i]: of the messages done i-th or later, when the first was sent.
  const earliest = new Array<number>(firsts.length + 1).fill(Number.POSITIVE_INFINITY);
  for (let index = firsts.length - 1; index >= 0; index -= 1)
    earliest[index] = Math.min(earliest[index + 1]!, sentAt.get(firsts[index]!.seq) ?? Number.POSITIVE_INFINITY);
  let longest = 0;
  let previous = Number.NEGATIVE_INFINITY;
  const look = (waiting: number, until: number): void => {
    const since = Math.max(previous, waiting);
    if (since <= to && until >= from) longest = Math.max(longest, until - since);
  };
  firsts.forEach(({ at }, index) => {
    look(earliest[index]!, at);
    previous = at;
  });
  const done = new Set(firsts.map(({ seq }) => seq));
  const undone = [...sentAt].filter(([seq]) => !done.has(seq)).map(([, at]) => at);
  if (undone.length > 0) look(Math.min(...undone), to);
  return longest;
};
