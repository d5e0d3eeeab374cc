/**
 * The mute marker: keeps a pod mute through its sidecar's own restarts (invariant 4). A source has it from mute to unmute, a
 * copy from its waking to its commit. It names the pod, since an emptyDir may be copied into another one.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { RUN_FILE } from '../api/names.ts';

const Marker = z.object({ podUid: z.string(), claim: z.string() });
export type Marker = z.infer<typeof Marker>;

/** Whole or not at all: a reader never sees half of it. */
export const writeWhole = (dir: string, file: string, content: string): void => {
  const temporary = join(dir, `.${file}`);
  writeFileSync(temporary, content, { mode: 0o644 });
  renameSync(temporary, join(dir, file));
};

/** Makes the directory's entries last. Not on the thread that relays: a slow disk must not hold up traffic. */
const syncDirectory = async (dir: string): Promise<void> => {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

/** There at once for a restart of this process; lasting a power loss when the promise resolves. */
export const putMarker = async (runDir: string, marker: Marker): Promise<void> => {
  writeWhole(runDir, RUN_FILE.mute, JSON.stringify(marker));
  const handle = await open(join(runDir, RUN_FILE.mute), 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  await syncDirectory(runDir);
};

/** What a freeze left: an agent must not take a process for frozen that was killed while it was. */
export const clearFreeze = (runDir: string): void => {
  for (const file of [RUN_FILE.frozen, RUN_FILE.thaw]) rmSync(join(runDir, file), { force: true });
};

/** The handoff is over for this pod: nothing of it stays (invariant 7). */
export const removeMarker = async (runDir: string): Promise<void> => {
  rmSync(join(runDir, RUN_FILE.mute), { force: true });
  clearFreeze(runDir);
  await syncDirectory(runDir);
};

/**
 * The claim this pod is mute for. Another pod's marker does not bind us. One that can't be read does, for a claim unknown
 * (''): wrongly mute is repaired by the controller, wrongly talking is not.
 */
export const claimOfMarker = (runDir: string, podUid: string): string | undefined => {
  let text: string;
  try {
    text = readFileSync(join(runDir, RUN_FILE.mute), 'utf8');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : '';
  }
  try {
    const marker = Marker.parse(JSON.parse(text));
    return marker.podUid === podUid ? marker.claim : undefined;
  } catch {
    return '';
  }
};
