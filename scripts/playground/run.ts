/** Calls of other programs. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { pipeline, type Readable, type Writable } from 'node:stream';
import { ShadowError } from '../../webhook/api/errors.ts';
import { MARK } from './layout.ts';

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array | Readable;
  /** Both outputs go here instead of into the result. */
  readonly log?: string;
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to the end; a code other than 0 is a result, a program that is not there throws SHADOW_E_HOST. */
export const run = (argv: readonly string[], options: RunOptions = {}): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const [program = '', ...args] = argv;
    const log = options.log === undefined ? 'pipe' : openLog(options.log);
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: [options.input === undefined ? 'ignore' : 'pipe', log, log],
    });
    if (typeof log === 'number') closeSync(log);
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.on('error', (cause) => reject(new ShadowError('SHADOW_E_HOST', `cannot run ${program}`, { cause })));
    child.on('close', (code, signal) =>
      resolve({
        code: code ?? (signal === null ? 1 : 128),
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      }),
    );
    if (child.stdin !== null) feed(child.stdin, options.input);
  });

const feed = (stdin: Writable, input: RunOptions['input']): void => {
  // A program may end without reading its input; its exit code tells what matters.
  stdin.on('error', () => undefined);
  if (typeof input === 'string' || input instanceof Uint8Array || input === undefined) stdin.end(input);
  else pipeline(input, stdin, () => undefined);
};

/** Runs to the end and gives stdout; anything but 0 throws. */
export const must = async (argv: readonly string[], options: RunOptions = {}): Promise<string> => {
  const { code, stdout, stderr } = await run(argv, options);
  if (code === 0) return stdout;
  const said = options.log === undefined ? stderr || stdout : tail(options.log);
  throw new ShadowError(
    'SHADOW_E_INTERNAL',
    `${argv.join(' ').slice(0, 200)}: exit ${code}: ${said.trim().slice(-2000)}`,
  );
};

const openLog = (path: string): number => {
  mkdirSync(dirname(path), { recursive: true });
  return openSync(path, 'a');
};

/** Starts a program that outlives us, in a session of its own, and gives its pid. */
export const start = (argv: readonly string[], log: string, env: Readonly<Record<string, string>> = {}): number => {
  const [program = '', ...args] = argv;
  const out = openLog(log);
  const child = spawn(program, args, {
    cwd: '/',
    detached: true,
    env: { ...process.env, ...env, [MARK.name]: MARK.value },
    stdio: ['ignore', out, out],
  });
  closeSync(out);
  child.on('error', () => undefined);
  child.unref();
  if (child.pid === undefined) throw new ShadowError('SHADOW_E_HOST', `cannot run ${program}`);
  return child.pid;
};

/** The last lines of a log. */
export const tail = (path: string, lines = 15): string => {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '';
  }
};

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks every `every` ms until the answer is not undefined; undefined when `ms` are over. */
export const poll = async <T>(
  ms: number,
  every: number,
  ask: () => Promise<T | undefined> | T | undefined,
): Promise<T | undefined> => {
  for (const end = performance.now() + ms; ; ) {
    const answer = await ask();
    if (answer !== undefined || performance.now() > end) return answer;
    await sleep(every);
  }
};
