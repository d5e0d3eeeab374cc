/**
 * Cleans up after a test process that ends without a word: by a signal, by SIGKILL too. A process of its own waits for the end
 * of a pipe that only the test process holds.
 */
import { spawn } from 'node:child_process';

export interface Guarded {
  /** To be stopped: SIGTERM, and SIGKILL if it is still there 15 s later. */
  readonly pid: number;
  /** Run after that. */
  readonly after: readonly string[];
  /** Removed at last. */
  readonly directories: readonly string[];
}

const SCRIPT = `
read -r word
[ "$word" = done ] && exit
pid=$1
shift
kill -TERM "$pid" 2>/dev/null
tries=0
while kill -0 "$pid" 2>/dev/null && [ $tries -lt 150 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -KILL "$pid" 2>/dev/null
eval "$AFTER" >/dev/null 2>&1
rm -rf -- "$@"
`;

/** Returns what calls it off: all is cleaned up. */
export const guard = ({ pid, after, directories }: Guarded): (() => void) => {
  // Of its own session: an interrupt from the terminal is not for it.
  const child = spawn('sh', ['-c', SCRIPT, 'guard', String(pid), ...directories], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { ...process.env, AFTER: after.map((word) => `'${word}'`).join(' ') },
  });
  child.unref();
  child.stdin.on('error', () => undefined);
  (child.stdin as unknown as { unref(): void }).unref();
  return () => child.stdin.end('done\n');
};
