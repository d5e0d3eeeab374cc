/** Where a command writes, and what the terminal can do. The result goes to standard output, all else to standard error. */
import type { Terminal } from './painter.ts';
import type { Look } from './style.ts';

/** `color`, `unicode`: of standard error. */
export interface Io extends Look {
  out(text: string): void;
  err(text: string): void;
  /** Standard error is a terminal that can be redrawn. */
  live: boolean;
  /** That terminal; undefined where it is none. */
  terminal?: Terminal | undefined;
  /** Asks on the terminal; undefined where there is none to ask. '' when nobody answers, or when `signal` withdraws it. */
  ask?: ((question: string, signal?: AbortSignal) => Promise<string>) | undefined;
}

const ask = async (question: string, signal?: AbortSignal): Promise<string> => {
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  // End of input (Ctrl-D) and Ctrl-C leave the question unanswered.
  const closed = new Promise<undefined>((resolve) => lines.once('close', () => resolve(undefined)));
  const answered = lines.question(question, signal ? { signal } : {});
  const answer = await Promise.race([answered, closed]).catch(() => undefined);
  lines.close();
  // What comes next begins a line of its own.
  if (answer === undefined) process.stderr.write('\n');
  return (answer ?? '').trim().toLowerCase();
};

/** POSIX: the first of them that is set counts. Elsewhere terminals speak UTF-8. */
const speaksUnicode = ({ LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): boolean =>
  process.platform !== 'linux' || /utf-?8/i.test(LC_ALL || LC_CTYPE || LANG || '');

export const terminal = (env: NodeJS.ProcessEnv = process.env): Io => {
  const { stderr, stdin, stdout } = process;
  // A terminal that does not know its width (0) can't be redrawn.
  const live = stderr.isTTY && stderr.columns > 0 && env.TERM !== 'dumb';
  return {
    out: (text) => void stdout.write(`${text}\n`),
    err: (text) => void stderr.write(`${text}\n`),
    live,
    color: live && !env.NO_COLOR,
    unicode: speaksUnicode(env),
    terminal: live
      ? {
          write: (text) => void stderr.write(text),
          size: () => ({ columns: stderr.columns, rows: stderr.rows || 24 }),
        }
      : undefined,
    ask: stdin.isTTY && stderr.isTTY ? ask : undefined,
  };
};
