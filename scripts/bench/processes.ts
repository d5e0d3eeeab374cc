/** What a process costs, as the kernel counts it; and processes of ours that end when we say so. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

/** USER_HZ: the unit of times in /proc, fixed at 100 a second on all that Linux runs on today (proc(5), sysconf(3)). */
const TICKS_A_SECOND = 100;

/** Seconds of CPU, user and system, of all threads: fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)). */
export const cpuSecondsOf = (stat: string): number => {
  // The second field is the program's name in parentheses, and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  if (!Number.isFinite(ticks)) throw new Error(`not a /proc/PID/stat: ${stat.slice(0, 80)}`);
  return ticks / TICKS_A_SECOND;
};

/** Resident bytes: VmRSS of /proc/PID/status. */
export const residentOf = (status: string): number => {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kilobytes === undefined) throw new Error('no VmRSS in /proc/PID/status');
  return Number(kilobytes) * 1024;
};

export interface Cost {
  /** performance.now(), milliseconds. */
  readonly at: number;
  readonly cpuSeconds: number;
  readonly rss: number;
}

/** Throws when the process is gone. */
export const costOf = (pid: number): Cost => ({
  at: performance.now(),
  cpuSeconds: cpuSecondsOf(readFileSync(`/proc/${pid}/stat`, 'utf8')),
  rss: residentOf(readFileSync(`/proc/${pid}/status`, 'utf8')),
});

const KEPT_CHARACTERS = 8000;
const PATIENCE_MS = 10_000;

/** Share of all processors, 0 to 1, that was not idle for so long. */
export const busyShare = async (ms: number): Promise<number> => {
  const sums = (): { idle: number; all: number } => {
    const times = cpus().map((cpu) => cpu.times);
    const all = times.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0);
    return { idle: times.reduce((sum, { idle }) => sum + idle, 0), all };
  };
  const before = sums();
  await sleep(ms);
  const after = sums();
  return 1 - (after.idle - before.idle) / Math.max(1, after.all - before.all);
};

export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  /** The end of what it has said, both outputs. */
  said(): string;
  /** Resolves when it has ended, however. */
  readonly ended: Promise<number | null>;
  /** SIGTERM, and SIGKILL if that is not heeded. */
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Each whole line of standard output. */
  readonly onLine?: (line: string) => void;
  /** Standard input is a pipe: a program may end when we are gone. */
  readonly leash?: boolean;
}

/** All that run, so that none outlives us. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export const start = (argv: readonly string[], options: StartOptions = {}): Running => {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, {
    env: { ...process.env, ...options.env },
    stdio: [options.leash ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  });
  let tail = '';
  let rest = '';
  const keep = (text: string): void => {
    tail = (tail + text).slice(-KEPT_CHARACTERS);
  };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    keep(text);
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) options.onLine?.(line);
  });
  child.stderr?.setEncoding('utf8').on('data', keep);
  child.stdin?.on('error', () => undefined);
  running.add(child);
  const ended = new Promise<number | null>((resolve) => {
    child.once('error', (error) => {
      keep(error.message);
      resolve(null);
    });
    child.once('close', (code) => resolve(code));
  }).finally(() => running.delete(child));
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
    await ended;
    clearTimeout(late);
  };
  return { child, pid: child.pid ?? 0, said: () => tail, ended, stop };
};
