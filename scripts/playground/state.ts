/** What `up` started and changed, so that `down` can end and undo just that. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import * as z from 'zod';
import { MARK, STATE } from './layout.ts';

const Process = z.object({ pid: z.int(), since: z.string() });
const State = z.object({
  processes: z.record(z.string(), Process),
  /** Settings of the machine before us, by path below /proc/sys. */
  sysctls: z.record(z.string(), z.string()),
  /** Controllers we enabled at the root of a cgroup v2 hierarchy. */
  controllers: z.array(z.object({ dir: z.string(), names: z.array(z.string()) })).default([]),
  /** Directories and files of the machine that were not there before us, parents first. */
  made: z.array(z.string()),
});
export type State = z.infer<typeof State>;

export const emptyState = (): State => ({ processes: {}, sysctls: {}, controllers: [], made: [] });

/** What is written down; an unreadable file counts as none (the marks and fixed names still find the rest). */
export const readState = (): State => {
  try {
    return State.parse(JSON.parse(readFileSync(STATE, 'utf8')));
  } catch {
    return emptyState();
  }
};

export const writeState = (state: State): void => {
  mkdirSync(dirname(STATE), { recursive: true, mode: 0o700 });
  writeFileSync(`${STATE}.new`, JSON.stringify(state, undefined, 1));
  renameSync(`${STATE}.new`, STATE);
};

/** Start time of a process in clock ticks since boot, and its state; undefined when it is gone. */
export const parseStat = (stat: string): { state: string; since: string } | undefined => {
  // The command name may hold spaces and parentheses: count fields after the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, since] = [fields[0], fields[19]];
  return state === undefined || since === undefined ? undefined : { state, since };
};

const statOf = (pid: number): { state: string; since: string } | undefined => {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined;
  }
};

/** `since` guards against a pid used again by somebody else. */
export const processOf = (pid: number): { pid: number; since: string } => ({ pid, since: statOf(pid)?.since ?? '' });

export const record = (state: State, name: string, pid: number): void => {
  state.processes[name] = processOf(pid);
  writeState(state);
};

export const isAlive = (process: { pid: number; since: string } | undefined): boolean => {
  if (process === undefined) return false;
  const stat = statOf(process.pid);
  return stat !== undefined && stat.since === process.since && stat.state !== 'Z';
};

/** Processes that carry our mark in their environment, this one and its ancestors excepted. */
export const markedPids = (): number[] => {
  const mark = `${MARK.name}=${MARK.value}`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && carries(pid, mark));
};

const carries = (pid: number, mark: string): boolean => {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark);
  } catch {
    return false;
  }
};

/** mkdir -p that writes down what it made. */
export const makeDir = (state: State, path: string): void => {
  if (existsSync(path)) return;
  makeDir(state, dirname(path));
  state.made.push(path);
  writeState(state);
  mkdirSync(path);
};
