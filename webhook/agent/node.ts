/** The node the agent works on: its files, seen under a prefix, and its tools, run in its own namespaces. */
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline, type Readable } from 'node:stream';
import { NODE_DIR } from '../api/names.ts';

export interface Layout {
  /** Prefix under which this process sees the node's files; '' when it is the same mount namespace. */
  root: string;
  /** runc's state directory for containerd's namespace k8s.io. */
  runcRoot: string;
  /** containerd's bundles. */
  tasks: string;
  staged: string;
  checkpoints: string;
  taken: string;
  epochs: string;
  bin: string;
  /** CRIU, and what it is linked to. */
  tools: string;
  kubelet: string;
  criuConfig: string;
  /** This process's view of the node's processes (hostPID). */
  proc: string;
  /** The node's own network namespace, seen by this process. */
  network: string;
  runc: string;
}

export const LAYOUT: Layout = {
  root: '/proc/1/root',
  runcRoot: '/run/containerd/runc/k8s.io',
  tasks: '/run/containerd/io.containerd.runtime.v2.task/k8s.io',
  staged: NODE_DIR.staged,
  checkpoints: NODE_DIR.checkpoints,
  taken: NODE_DIR.taken,
  epochs: '/var/lib/shadow/epochs',
  bin: NODE_DIR.bin,
  tools: '/opt/shadow/tools',
  kubelet: '/var/lib/kubelet',
  criuConfig: '/etc/criu/runc.conf',
  proc: '/proc',
  network: '/proc/1/ns/net',
  runc: 'runc',
};

/** A tool's output as it comes. */
export interface Flow {
  readonly output: Readable;
  /** Rejects with CommandError. */
  readonly ended: Promise<void>;
}

export interface RunOptions {
  /** Path (on the node) of the network namespace to run in. */
  netns?: string;
  /** A stream that breaks ends the tool, and the call rejects with what broke it. */
  input?: string | Uint8Array | Readable;
  timeoutMs?: number;
  /** Directory (on the node) in which programs are looked for first. */
  before?: string;
  env?: Readonly<Record<string, string>>;
  /** An app stands still meanwhile: ahead of everything that only wants to run, in whatever cgroup (sched(7), SCHED_RR). */
  urgent?: boolean;
}

export interface Node {
  readonly name: string;
  readonly layout: Layout;
  /** A path of the node as this process sees it. */
  at(path: string): string;
  /** Runs a tool of the node; stdout. Rejects with CommandError. */
  run(command: string, args: readonly string[], options?: RunOptions): Promise<string>;
  /** Runs a tool of the node for its output, which is to be read. */
  flow(command: string, args: readonly string[], options?: Pick<RunOptions, 'timeoutMs'>): Flow;
  /** Whether the node lets us be urgent; looked at once. Ask before an app stands still. */
  canHurry(): Promise<boolean>;
}

export class CommandError extends Error {
  readonly status: number | null;
  readonly stderr: string;
  constructor(command: string, status: number | null, stderr: string) {
    super(`${command} ended with ${status ?? 'a signal'}: ${stderr.trim().slice(-2000)}`);
    this.name = 'CommandError';
    this.status = status;
    this.stderr = stderr;
  }
}

const PATH = '/opt/shadow/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const OUTPUT_LIMIT = 4 << 20;

const execute = (argv: readonly string[], options: RunOptions, path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const [file = '', ...args] = argv;
    const child = spawn(file, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...options.env, PATH: options.before === undefined ? path : `${options.before}:${path}` },
      timeout: options.timeoutMs ?? 60_000,
      killSignal: 'SIGKILL',
    });
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (out.length < OUTPUT_LIMIT) out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err = (err + text).slice(-8192);
    });
    let broken: Error | undefined;
    child.on('error', (error) => reject(new CommandError(file, null, error.message)));
    child.on('close', (status) => {
      if (broken !== undefined) reject(broken);
      else if (status === 0) resolve(out);
      else reject(new CommandError(argv.slice(0, 8).join(' '), status, err));
    });
    // A tool that does not read its input closes the pipe: its exit status tells, not EPIPE.
    child.stdin.on('error', () => undefined);
    const { input = '' } = options;
    if (typeof input === 'string' || input instanceof Uint8Array) child.stdin.end(input);
    else {
      input.once('error', (error) => {
        broken = error;
        child.kill('SIGKILL');
      });
      pipeline(input, child.stdin, () => undefined);
    }
  });

const flowing = (argv: readonly string[], timeoutMs: number, path: string): Flow => {
  const [file = '', ...args] = argv;
  const child = spawn(file, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: path },
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err = (err + text).slice(-8192);
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', (error) => reject(new CommandError(file, null, error.message)));
    child.on('close', (status) => {
      if (status === 0) resolve();
      else reject(new CommandError(argv.slice(0, 8).join(' '), status, err));
    });
  });
  // Whoever gives up reading stops the tool.
  child.stdout.on('close', () => child.kill('SIGKILL'));
  ended.catch(() => undefined);
  return { output: child.stdout, ended };
};

/**
 * Real-time, and out of the agent's own cgroup: its share of the processor is small, and a kernel with a group scheduler for
 * real-time tasks (cgroup v1) gives it none at all. Whoever is started so ends within the pause.
 */
const HURRY = [
  'sh',
  '-c',
  'for procs in /sys/fs/cgroup/cpu/cgroup.procs /sys/fs/cgroup/cgroup.procs; do echo 0 2>/dev/null >"$procs" && break; done; exec chrt -r 1 "$@"',
  'hurry',
] as const;

/** `prefix` enters the node's namespaces, e.g. nsenter -t 1 -m -n -p -u --. */
export const nodeOf = (name: string, layout: Layout, prefix: readonly string[], path = PATH): Node => {
  let hurry: Promise<boolean> | undefined;
  // Not everywhere allowed, and not everywhere is there a chrt.
  const canHurry = (): Promise<boolean> => {
    hurry ??= execute([...prefix, ...HURRY, 'true'], {}, path).then(
      () => true,
      () => false,
    );
    return hurry;
  };
  return {
    name,
    layout,
    canHurry,
    at: (file) => (layout.root === '' ? file : join(layout.root, file)),
    flow: (command, args, options = {}) => flowing([...prefix, command, ...args], options.timeoutMs ?? 60_000, path),
    run: async (command, args, options = {}) =>
      execute(
        [
          ...prefix,
          ...(options.netns === undefined ? [] : ['nsenter', `--net=${options.netns}`, '--']),
          ...(options.urgent && (await canHurry()) ? HURRY : []),
          command,
          ...args,
        ],
        options,
        path,
      ),
  };
};

export const ENTER_NODE = ['nsenter', '-t', '1', '-m', '-n', '-p', '-u', '--'] as const;

/** The file's text, or undefined when it is not there. */
export const textOf = async (file: string): Promise<string | undefined> => {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
};

/** Gone, or going: a process that ends while its /proc files are read gives ESRCH. */
export const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && ['ENOENT', 'ENOTDIR', 'ESRCH'].includes(String(error.code));
