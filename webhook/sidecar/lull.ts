/**
 * When a serving source falls silent: right after its app has settled something. The broker passes a silent pod over, and each
 * time it does, the replicas it shares a queue with get a message more before it; so a silence begins with as much time as
 * can be until the next message. No invariant rests on it: an app that settles nothing now is not waited for.
 */
import type { Watch } from './watch.ts';

/** Longest wait, ms. An app that settles less often sees a silence of 0.1 s between two messages anyway. */
const LULL_MS = 200;

/**
 * `outstanding`: deliveries that are not settled. `idleMs`: since the last delivery. An app that has nothing in hand, and got
 * nothing for as long as that, is not waited for: it has nothing to settle. Never rejects.
 */
export const lull = async (outstanding: () => number, watch: Watch, idleMs = 0): Promise<void> => {
  let before = outstanding();
  if (before === 0 && idleMs >= LULL_MS) return;
  const settled = (): boolean => {
    const now = outstanding();
    const fewer = now < before;
    before = now;
    return fewer;
  };
  await watch.until(settled, LULL_MS).catch(() => undefined);
};
