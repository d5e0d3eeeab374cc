import { setTimeout as sleep } from 'node:timers/promises';

type Found<T> = Exclude<T, undefined | null | false>;

/**
 * Asks until the answer is neither undefined, null nor false, and returns it. A question that fails counts as "not yet";
 * after `timeoutMs` the error names what was waited for and the last failure.
 */
export const until = async <T>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<T>,
  everyMs = 250,
): Promise<Found<T>> => {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  do {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== null && answer !== false) return answer as Found<T>;
      last = undefined;
    } catch (error) {
      last = error;
    }
    await sleep(everyMs);
  } while (performance.now() < deadline);
  const why = last instanceof Error ? `: ${last.message}` : '';
  throw new Error(`waited ${Math.round(timeoutMs / 1000)} s for ${what}${why}`, { cause: last });
};
