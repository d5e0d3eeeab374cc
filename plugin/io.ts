/** Where a command writes, and what the terminal can do. The result goes to standard output, all else to standard error. */

export interface Io {
  out(text: string): void;
  err(text: string): void;
  /** Standard error is a terminal that can be redrawn. */
  live: boolean;
  /** Standard error takes colours. */
  color: boolean;
  /** Asks on the terminal; undefined where there is none to ask. */
  ask?: ((question: string) => Promise<string>) | undefined;
}

const ask = async (question: string): Promise<string> => {
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  // End of input (Ctrl-D) and Ctrl-C leave the question unanswered.
  const closed = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
  const answer = await Promise.race([lines.question(question), closed]);
  lines.close();
  return answer.trim().toLowerCase();
};

export const terminal = (env: NodeJS.ProcessEnv = process.env): Io => {
  // A terminal that does not know its width (0) can't be redrawn.
  const live = process.stderr.isTTY && process.stderr.columns > 0 && env.TERM !== 'dumb';
  return {
    out: (text) => void process.stdout.write(`${text}\n`),
    err: (text) => void process.stderr.write(`${text}\n`),
    live,
    color: live && !env.NO_COLOR,
    ask: process.stdin.isTTY && process.stderr.isTTY ? ask : undefined,
  };
};
