/** A cgroup per node, on cgroup v1, v2 and both at once. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ShadowError } from '../../webhook/api/errors.ts';
import { type NodeName, nodeCgroup } from './layout.ts';
import { poll } from './run.ts';
import { type State, writeState } from './state.ts';

export interface Hierarchy {
  readonly path: string;
  readonly version: 1 | 2;
}

/** The cgroup hierarchies of /proc/mounts. */
export const hierarchies = (mounts: string): Hierarchy[] =>
  mounts
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, path, type]) => path?.startsWith('/sys/fs/cgroup') && (type === 'cgroup' || type === 'cgroup2'))
    .map(([, path, type]) => ({ path: path ?? '', version: type === 'cgroup' ? 1 : 2 }));

const mounted = (): Hierarchy[] => hierarchies(readFileSync('/proc/mounts', 'utf8'));

/** What the kubelet manages of what a v2 hierarchy has. */
const WANTED = ['cpu', 'cpuset', 'io', 'memory', 'pids', 'hugetlb'];

const words = (path: string): string[] => readFileSync(path, 'utf8').trim().split(/\s+/).filter(Boolean);

/** Hands controllers down to the children of a v2 cgroup; gives those that were not handed down before. */
const enable = (dir: string): string[] => {
  const on = words(join(dir, 'cgroup.subtree_control'));
  const missing = words(join(dir, 'cgroup.controllers')).filter((name) => WANTED.includes(name) && !on.includes(name));
  if (missing.length === 0) return [];
  try {
    writeFileSync(join(dir, 'cgroup.subtree_control'), missing.map((name) => `+${name}`).join(' '));
  } catch (cause) {
    // EBUSY: inside a container, whose root cgroup is none and holds processes.
    throw new ShadowError('SHADOW_E_HOST', `cgroup controllers ${missing.join(' ')} at ${dir}`, { cause });
  }
  return missing;
};

/** Takes back what makeCgroups handed down; what somebody else uses by now stays. */
export const disableControllers = (controllers: State['controllers']): void => {
  for (const { dir, names } of controllers) {
    for (const name of names) {
      try {
        writeFileSync(join(dir, 'cgroup.subtree_control'), `-${name}`);
      } catch {
        // In use.
      }
    }
  }
};

/** A new cpuset (v1) has no CPU and takes no process until it is given some. */
const inheritCpus = (parent: string, dir: string): void => {
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    if (existsSync(join(dir, file))) writeFileSync(join(dir, file), readFileSync(join(parent, file)));
  }
};

/** A node stands for a machine: what runs beside it here (broker, load, probes) must not outweigh all that it runs. */
const weigh = (dir: string): void => {
  for (const [file, weight] of [
    ['cpu.shares', '8192'],
    ['cpu.weight', '800'],
  ] as const) {
    if (existsSync(join(dir, file))) writeFileSync(join(dir, file), weight);
  }
};

const make = ({ path, version }: Hierarchy, name: string): void => {
  mkdirSync(join(path, name), { recursive: true });
  if (version === 1) inheritCpus(join(path, name, '..'), join(path, name));
};

/** The node's cgroup, and below it `init` for its own processes: on v2 those may not share one with kubepods. */
export const makeCgroups = (state: State, node: NodeName): void => {
  for (const hierarchy of mounted()) {
    if (hierarchy.version === 2) {
      const names = enable(hierarchy.path);
      if (names.length > 0) state.controllers.push({ dir: hierarchy.path, names });
      writeState(state);
    }
    make(hierarchy, nodeCgroup(node));
    weigh(join(hierarchy.path, nodeCgroup(node)));
    make(hierarchy, join(nodeCgroup(node), 'init'));
    if (hierarchy.version === 2) enable(join(hierarchy.path, nodeCgroup(node)));
  }
};

/** A cgroup and all below it, the deepest first. */
const tree = (dir: string): string[] => [
  ...readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => tree(join(dir, entry.name))),
  dir,
];

const killIn = (dir: string): void => {
  // A frozen task (v1) does not die before it is thawed.
  const freezer = join(dir, 'freezer.state');
  if (existsSync(freezer)) writeFileSync(freezer, 'THAWED');
  for (const pid of words(join(dir, 'cgroup.procs')).map(Number)) {
    try {
      if (pid > 0) process.kill(pid, 'SIGKILL');
    } catch {
      // Gone by itself.
    }
  }
};

const tryRemove = (dir: string): boolean => {
  try {
    rmdirSync(dir);
  } catch {
    return !existsSync(dir);
  }
  return true;
};

/** Kills what is left in the node's cgroups and removes them; true when there were any. */
export const removeCgroups = async (node: NodeName): Promise<boolean> => {
  let found = false;
  for (const { path } of mounted()) {
    const top = join(path, nodeCgroup(node));
    if (!existsSync(top)) continue;
    found = true;
    await poll(10_000, 50, () => {
      if (!existsSync(top)) return true;
      const dirs = tree(top);
      for (const dir of dirs) killIn(dir);
      return dirs.map(tryRemove).every(Boolean) ? true : undefined;
    });
  }
  return found;
};
