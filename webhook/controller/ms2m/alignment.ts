/**
 * Two queues fed by one exchange, none of them consumed from: they differ by messages at the head of the longer one, and by
 * no others, and that number does not change while more is published.
 */
import { ShadowError } from '../../api/errors.ts';
import type { Broker } from './broker.ts';

/** A message reaches one queue some moments before the other. */
const LOOK_MS = 15;
const LOOKS = 4;
const MOST_LOOKS = 400;

export interface Looking {
  broker: Broker;
  pause(ms: number): Promise<unknown>;
}

const readyIn = async (broker: Broker, queue: string): Promise<number> => {
  const depth = await broker.depth(queue);
  if (depth === undefined) throw new ShadowError('SHADOW_E_QUEUE', `there is no queue ${queue}`);
  if (depth.consumers > 0)
    throw new ShadowError('SHADOW_E_CONTROL', `somebody consumes from ${queue}, where nobody is to`, {
      retryable: true,
    });
  return depth.ready;
};

/**
 * By how much `one` is longer than `other`. While `one` is counted the other grows: the truth lies between the counts before
 * and after; looks are taken until all of them leave room for one number only.
 */
const difference = async ({ broker, pause }: Looking, one: string, other: string): Promise<number> => {
  let [low, high, agreeing] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 0];
  for (let look = 0; look < MOST_LOOKS; look++) {
    const before = await readyIn(broker, other);
    const ready = await readyIn(broker, one);
    const after = await readyIn(broker, other);
    const [from, to] = [Math.max(low, ready - after), Math.min(high, ready - before)];
    if (from > to) [low, high, agreeing] = [ready - after, ready - before, 0];
    else [low, high, agreeing] = [from, to, agreeing + 1];
    if (low === high && agreeing >= LOOKS) return low;
    await pause(LOOK_MS);
  }
  throw new ShadowError('SHADOW_E_QUEUE', `${one} and ${other} do not grow alike`, { retryable: true });
};

/** So many messages are compared: two that were published at one moment may be in one queue in this order, in the other in that. */
const WINDOW = 64;

const counts = (digests: readonly string[]): Map<string, number> => {
  const found = new Map<string, number>();
  for (const digest of digests) found.set(digest, (found.get(digest) ?? 0) + 1);
  return found;
};

/** Of what comes first in one all is in the other, as often. */
const includesFirst = (one: readonly string[], other: readonly string[]): boolean => {
  const there = counts(other);
  const first = one.length < WINDOW ? one : one.slice(0, WINDOW / 2);
  return [...counts(first)].every(([digest, count]) => (there.get(digest) ?? 0) >= count);
};

/** By content: what follows what is to be dropped is what the other queue has. A message on its way may be in one of them only. */
const goesOnAlike = async ({ broker, pause }: Looking, long: string, short: string, skip: number): Promise<boolean> => {
  for (let look = 0; look < LOOKS; look++) {
    const before = await broker.peek(long, skip, WINDOW);
    const other = await broker.peek(short, 0, WINDOW);
    const after = await broker.peek(long, skip, WINDOW);
    if (includesFirst(before, other) && includesFirst(other, after)) return true;
    await pause(LOOK_MS);
  }
  return false;
};

/**
 * Drops from the head of `long` what `short` has not any more. False, and nothing is done, where `long` is the shorter one, or
 * what they have is not the same: the queues are to be brought to another place first. Repeated after a crash it drops what
 * is left to be dropped.
 */
export const align = async (looking: Looking, long: string, short: string): Promise<boolean> => {
  const surplus = await difference(looking, long, short);
  if (surplus < 0 || !(await goesOnAlike(looking, long, short, surplus))) return false;
  await looking.broker.drop(long, surplus);
  return true;
};
