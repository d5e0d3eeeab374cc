/** Small file operations with the guarantees the claim directories need. */
import { randomBytes } from 'node:crypto';
import { access, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isMissing } from './node.ts';

/** A reader sees the old content or all of the new one. */
export const writeWhole = async (file: string, content: string, mode = 0o644): Promise<void> => {
  await mkdir(dirname(file), { recursive: true });
  const fresh = `${file}.${randomBytes(4).toString('hex')}.new`;
  await writeFile(fresh, content, { mode });
  await rename(fresh, file);
};

export const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

export const namesIn = async (directory: string): Promise<string[]> => {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
};

/** Removed at once for every other reader, then in peace. */
export const removeTree = async (directory: string): Promise<void> => {
  const doomed = join(dirname(directory), `.${randomBytes(6).toString('hex')}.gone`);
  try {
    await rename(directory, doomed);
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  await rm(doomed, { recursive: true, force: true });
};

/** Like Promise.all, but nothing is left running when it rejects: what follows is an undo. */
export const settleAll = async (work: readonly Promise<unknown>[]): Promise<void> => {
  for (const outcome of await Promise.allSettled(work)) if (outcome.status === 'rejected') throw outcome.reason;
};

export interface FileEntry {
  /** Relative to the directory, with slashes. */
  path: string;
  size: number;
}
