/**
 * Frozen: the one state in which a sidecar may be dumped. The thread itself stands still, so that nothing at all is read,
 * written or fired; it looks for the agent's thaw file between short sleeps. The same call returns in two pods: in the
 * source, and in the copy restored from the dump.
 */
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { RUN_FILE } from '../api/names.ts';
import { writeWhole } from './marker.ts';

const STEP_MS = 3;
/**
 * Most that one step counts towards the deadline. A restore may make the clock jump, and the time for which the pod was
 * paused is not this process's own: neither may end the wait at once.
 */
const STEP_COUNTS_MS = 50;

/** Adds the time of one step to the time waited so far, both in milliseconds. */
export const waited = (soFar: number, before: number, now: number): number =>
  soFar + Math.min(Math.max(now - before, 0), STEP_COUNTS_MS);

const cell = new Int32Array(new SharedArrayBuffer(4));
const sleep = (ms: number): void => {
  Atomics.wait(cell, 0, 0, ms);
};

const content = (path: string): string | undefined => {
  try {
    return statSync(path, { throwIfNoEntry: false }) && readFileSync(path, 'utf8').trim();
  } catch {
    // Just being written or replaced; the next look finds it.
    return undefined;
  }
};

export interface FreezeOptions {
  readonly runDir: string;
  readonly generation: number;
  /** Of this process's own time; then it wakes by itself. */
  readonly deadlineMs: number;
}

/**
 * Blocks the thread. Call it only when nothing is under way; it does no I/O but on the files named. `unfrozen`: the marker
 * could not be written, so it did not stop at all, and the agent will find no marker.
 */
export const freeze = ({ runDir, generation, deadlineMs }: FreezeOptions): 'thawed' | 'deadline' | 'unfrozen' => {
  const thaw = join(runDir, RUN_FILE.thaw);
  const frozen = join(runDir, RUN_FILE.frozen);
  try {
    // One of an earlier attempt is not for us. One of this generation is: the cut was made, and the command is repeated.
    if (content(thaw) !== String(generation)) rmSync(thaw, { force: true });
    // Not synced: after a power loss nobody asks for it, and an app waits.
    writeWhole(runDir, RUN_FILE.frozen, String(generation));
  } catch {
    return 'unfrozen';
  }
  let elapsed = 0;
  let thawed = false;
  let before = performance.now();
  while (!thawed && elapsed < deadlineMs) {
    sleep(STEP_MS);
    const now = performance.now();
    elapsed = waited(elapsed, before, now);
    before = now;
    thawed = content(thaw) === String(generation);
  }
  // Before any other I/O: an agent that still finds the marker takes the process for frozen.
  rmSync(frozen, { force: true });
  return thawed ? 'thawed' : 'deadline';
};

/**
 * Reads the pod's uid after waking, waiting for it synchronously: without it the process can't tell source from copy, and
 * either taken for the other would be a second voice (invariant 4). Throws after `patienceMs`.
 */
export const uidAfterWaking = (readUid: () => string, patienceMs: number): string => {
  for (let tries = 0; ; tries += 1) {
    try {
      return readUid();
    } catch (error) {
      if (tries * STEP_MS >= patienceMs) throw error;
      sleep(STEP_MS);
    }
  }
};
