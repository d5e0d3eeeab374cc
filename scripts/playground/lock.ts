/** One `up` or `down` at a time on this machine. */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { ShadowError } from '../../webhook/api/errors.ts';
import { LOCK } from './layout.ts';
import { poll } from './run.ts';
import { isAlive, processOf } from './state.ts';

/** A cold build takes a quarter of an hour on two cores. */
const PATIENCE_MS = 45 * 60_000;

const holder = (): { pid: number; since: string } | undefined => {
  try {
    const [pid = '', since = ''] = readFileSync(LOCK, 'utf8').split(' ');
    return { pid: Number(pid), since };
  } catch {
    return undefined;
  }
};

/** The lock is a link to a file that names us: it appears with its content, or not at all. */
const take = (): boolean => {
  const mine = `${LOCK}.${process.pid}`;
  const { pid, since } = processOf(process.pid);
  writeFileSync(mine, `${pid} ${since}`);
  try {
    linkSync(mine, LOCK);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(mine, { force: true });
  }
};

/** Takes away the lock of a holder that died. Renamed first: of two who try, one gets it. */
const breakDead = (): void => {
  const seen = holder();
  if (seen === undefined || isAlive(seen)) return;
  const grave = `${LOCK}.dead.${process.pid}`;
  try {
    renameSync(LOCK, grave);
    rmSync(grave, { force: true });
  } catch {
    // Another one was faster.
  }
};

/** Runs `work` alone; waits for whoever is at it. */
export const alone = async <T>(say: (line: string) => void, work: () => Promise<T>): Promise<T> => {
  let told = false;
  const taken = await poll(PATIENCE_MS, 300, () => {
    breakDead();
    if (take()) return true;
    if (!told) say(`waiting for process ${holder()?.pid ?? '?'}, which is at the playground too`);
    told = true;
    return undefined;
  });
  if (!taken) throw new ShadowError('SHADOW_E_HOST', `process ${holder()?.pid ?? '?'} holds ${LOCK}`);
  try {
    return await work();
  } finally {
    rmSync(LOCK, { force: true });
  }
};
