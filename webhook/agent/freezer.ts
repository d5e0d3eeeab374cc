/**
 * Pausing by the container's freezer cgroup: what `runc pause` does, without starting a program (tens of milliseconds each,
 * within the pause). runc sees the container as paused, dumps it, and CRIU leaves it frozen.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningContainer } from './containers.ts';
import { exists } from './files.ts';
import { isMissing, type Node, textOf } from './node.ts';

type Frozen = Pick<RunningContainer, 'cgroup' | 'name'>;

const FREEZE_MS = 2000;
const REWRITE_EVERY = 25;

const versionOf = async (directory: string): Promise<1 | 2> =>
  (await exists(join(directory, 'freezer.state'))) ? 1 : 2;

const isFrozen = async (directory: string, version: 1 | 2): Promise<boolean> =>
  version === 1
    ? (await textOf(join(directory, 'freezer.state')))?.trim() === 'FROZEN'
    : /^frozen 1$/m.test((await textOf(join(directory, 'cgroup.events'))) ?? '');

/** Resolves when every process of the container stands still. */
export const pause = async (node: Node, container: Frozen): Promise<void> => {
  const directory = node.at(container.cgroup);
  const version = await versionOf(directory);
  const file = join(directory, version === 1 ? 'freezer.state' : 'cgroup.freeze');
  const end = performance.now() + FREEZE_MS;
  for (let round = 0; performance.now() < end; round++) {
    // v1 may hang in FREEZING while the container forks; writing again makes it look again.
    if (round % REWRITE_EVERY === 0) await writeFile(file, version === 1 ? 'FROZEN' : '1');
    if (await isFrozen(directory, version)) return;
    await sleep(1);
  }
  throw new Error(`container ${container.name} could not be paused within ${FREEZE_MS} ms`);
};

/** Idempotent; a container that is gone is no error. */
export const resume = async (node: Node, container: Frozen): Promise<void> => {
  const directory = node.at(container.cgroup);
  const version = await versionOf(directory);
  try {
    await writeFile(join(directory, version === 1 ? 'freezer.state' : 'cgroup.freeze'), version === 1 ? 'THAWED' : '0');
  } catch (error) {
    if (!isMissing(error) && !(error instanceof Error && 'code' in error && error.code === 'ENODEV')) throw error;
  }
};

export const isPaused = async (node: Node, container: Frozen): Promise<boolean> => {
  const directory = node.at(container.cgroup);
  return isFrozen(directory, await versionOf(directory));
};
