/** Types commands into a real shell in a real pseudo terminal (util-linux' script), and keeps what it writes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cast, Event } from './cast.ts';

export interface Session {
  /** Typed one after another, each when the one before has ended. */
  readonly commands: readonly string[];
  /** Cells. */
  readonly columns: number;
  readonly rows: number;
  readonly title: string;
  /** Beside PATH and what makes it a terminal. */
  readonly env: Readonly<Record<string, string>>;
  /** For each command. */
  readonly timeoutMs: number;
}

/** Marks around the prompt that terminals show nothing of (OSC 133): D with the exit code of the command before, and A. */
const PROMPT = String.raw`\[\e]133;D;$?\a\e]133;A\a\]$ `;
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is how the mark begins and ends
const MARKS = /\x1b\]133;D;(\d+)\x07\x1b\]133;A\x07/g;

/** Two keys at a time: each stroke is a picture. */
const STROKE = /.{1,2}/gs;
const STROKE_MS = 110;
const REST_MS = 700;

/** Exit code of each command, and the session up to the prompt behind the last. Throws when a command does not end in time. */
export const recordSession = async (session: Session): Promise<{ cast: Cast; exits: number[] }> => {
  const dir = mkdtempSync(join(tmpdir(), 'shadow-record-'));
  // Pasting in brackets would be escapes of the shell's own in the recording.
  writeFileSync(join(dir, 'inputrc'), 'set enable-bracketed-paste off\n');
  const shell = `stty cols ${session.columns} rows ${session.rows}; exec bash --noprofile --norc -i`;
  const env = {
    ...{ PATH: process.env.PATH, HOME: dir, HISTFILE: '', INPUTRC: join(dir, 'inputrc') },
    ...{ TERM: 'xterm-256color', LANG: 'C.UTF-8', PS1: PROMPT },
    ...session.env,
  };
  const child = spawn('script', ['--quiet', '--command', shell, '/dev/null'], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  // Typed to one that has ended: the wait for the prompt tells.
  child.stdin.on('error', () => undefined);
  const since = performance.now();
  const events: Event[] = [];
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    events.push([Number(((performance.now() - since) / 1000).toFixed(3)), 'o', chunk]);
    text += chunk;
  });
  const marks = (): number[] => [...text.matchAll(MARKS)].map(([, code]) => Number(code));
  const prompted = async (count: number, what: string): Promise<void> => {
    const deadline = performance.now() + session.timeoutMs;
    while (marks().length < count) {
      if (performance.now() > deadline || child.exitCode !== null) throw new Error(`no prompt ${what}: ${text}`);
      await sleep(20);
    }
  };
  try {
    await prompted(1, 'of the shell');
    for (const [index, command] of session.commands.entries()) {
      await sleep(REST_MS);
      for (const keys of command.match(STROKE) ?? []) {
        child.stdin.write(keys);
        await sleep(STROKE_MS);
      }
      child.stdin.write('\r');
      await prompted(index + 2, `after ${command}`);
    }
    const timestamp = Math.round((Date.now() - (performance.now() - since)) / 1000);
    const header = {
      version: 2,
      width: session.columns,
      height: session.rows,
      timestamp,
      title: session.title,
    } as const;
    return { cast: { header, events: [...events] }, exits: marks().slice(1) };
  } finally {
    // With it the terminal goes, and the kernel ends what runs in it.
    child.kill('SIGKILL');
    await ended;
    rmSync(dir, { recursive: true, force: true });
  }
};
