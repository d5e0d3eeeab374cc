/** kubectl shadow completion: for kubectl a file is put on the PATH; a shell's script is printed. */
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import type { Io } from '../io.ts';
import { type Common, usage } from '../options.ts';
import { KUBECTL_FILE, KUBECTL_SCRIPT, SCRIPT, type Shell } from './scripts.ts';

export interface CompletionFlags extends Common {
  shell: Shell | 'kubectl';
  dir?: string | undefined;
}

const onPath = (): string[] => (process.env.PATH ?? '').split(delimiter).filter(Boolean);

const PLUGIN = process.platform === 'win32' ? 'kubectl-shadow.exe' : 'kubectl-shadow';

/** Where kubectl finds the plugin it finds this too. With krew: its bin directory. */
const besidePlugin = (): string => {
  const found = onPath().find((dir) => existsSync(join(dir, PLUGIN)));
  if (found === undefined) throw usage(`${PLUGIN} is not on the PATH; name a directory that is, by --dir`);
  return found;
};

const checked = (dir: string): string => {
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) throw usage(`--dir ${dir}: no such directory`);
  return dir;
};

/** Whole or not at all: a Tab while it is written finds the old file or the new one. */
const put = (path: string): void => {
  const scratch = `${path}.${process.pid}`;
  try {
    writeFileSync(scratch, KUBECTL_SCRIPT);
    chmodSync(scratch, 0o755);
    renameSync(scratch, path);
  } catch (error) {
    rmSync(scratch, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    throw usage(`${path} cannot be written (${code}); name another directory on the PATH, by --dir`);
  }
};

const install = (dir: string, io: Io): void => {
  const path = join(dir, KUBECTL_FILE);
  const before = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  if (before !== KUBECTL_SCRIPT) put(path);
  io.out(`${path} ${before === undefined ? 'created' : before === KUBECTL_SCRIPT ? 'unchanged' : 'configured'}`);
  if (!onPath().some((each) => resolve(each) === resolve(dir)))
    io.err(`${dir} is not on the PATH: kubectl will not find it there`);
};

export const completion = async ({ shell, dir }: CompletionFlags, io: Io): Promise<void> => {
  if (shell === 'kubectl') return install(dir === undefined ? besidePlugin() : checked(dir), io);
  if (dir !== undefined) throw usage(`--dir is for kubectl; the script for ${shell} is printed`);
  io.out(SCRIPT[shell]);
};
