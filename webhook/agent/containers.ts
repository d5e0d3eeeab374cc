/** Which containers of a pod run on this node: read from containerd's bundles and runc's state, without forking anything. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { namesIn } from './files.ts';
import { type Node, textOf } from './node.ts';

const Config = z.object({
  annotations: z.record(z.string(), z.string()).optional(),
  root: z.object({ readonly: z.boolean().optional() }).optional(),
  linux: z
    .object({ namespaces: z.array(z.object({ type: z.string(), path: z.string().optional() })).optional() })
    .optional(),
});
const State = z.object({
  init_process_pid: z.number(),
  /** Start time of the init process in clock ticks since boot, or not known. */
  init_process_start: z.union([z.number(), z.string()]).optional(),
  cgroup_paths: z.record(z.string(), z.string()),
});

export interface RunningContainer {
  id: string;
  name: string;
  sandbox: boolean;
  /** Nothing but the runtime's own mount points can differ from the image. */
  readOnlyRoot: boolean;
  /** Path of the pod's network namespace on the node. */
  netns: string;
  pid: number;
  /** The freezer's (cgroup v1) or the only (v2) cgroup directory, on the node. */
  cgroup: string;
}

/** Field 22 of /proc/PID/stat, counted after the command name (it may hold spaces and brackets). */
export const startTimeOf = (stat: string): string | undefined => stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];

const isAlive = async (node: Node, pid: number, start: string | number | undefined): Promise<boolean> => {
  const stat = await textOf(join(node.layout.proc, String(pid), 'stat'));
  if (stat === undefined) return false;
  const zombie = stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  // The same number may be another process by now.
  return !zombie && (start === undefined || startTimeOf(stat) === String(start));
};

const readContainer = async (node: Node, id: string, podUid: string): Promise<RunningContainer | undefined> => {
  const text = await textOf(node.at(join(node.layout.tasks, id, 'config.json')));
  // Cheap refusal first: a node has many bundles, a pod few.
  if (text === undefined || !text.includes(podUid)) return undefined;
  const config = Config.parse(JSON.parse(text));
  const annotations = config.annotations ?? {};
  if (annotations['io.kubernetes.cri.sandbox-uid'] !== podUid) return undefined;
  const stateText = await textOf(node.at(join(node.layout.runcRoot, id, 'state.json')));
  if (stateText === undefined) return undefined;
  const state = State.parse(JSON.parse(stateText));
  if (!(await isAlive(node, state.init_process_pid, state.init_process_start))) return undefined;
  const namespace = config.linux?.namespaces?.find((entry) => entry.type === 'network')?.path;
  return {
    id,
    name: annotations['io.kubernetes.cri.container-name'] ?? '',
    sandbox: annotations['io.kubernetes.cri.container-type'] === 'sandbox',
    readOnlyRoot: config.root?.readonly === true,
    netns: namespace ?? `/proc/${state.init_process_pid}/ns/net`,
    pid: state.init_process_pid,
    cgroup: state.cgroup_paths.freezer ?? state.cgroup_paths[''] ?? '',
  };
};

/** Running containers of the pod, the sandbox among them. Empty: the pod is not here (any more). */
export const containersOf = async (node: Node, podUid: string): Promise<RunningContainer[]> => {
  const ids = await namesIn(node.at(node.layout.tasks));
  const found = await Promise.all(ids.map((id) => readContainer(node, id, podUid)));
  return found.filter((container) => container !== undefined);
};

/** All processes of the container, those in nested cgroups too. */
export const pidsOf = async (node: Node, container: Pick<RunningContainer, 'cgroup'>): Promise<number[]> => {
  const walk = async (directory: string): Promise<number[]> => {
    const own = ((await textOf(join(directory, 'cgroup.procs'))) ?? '').split('\n').filter(Boolean).map(Number);
    const nested = await readdir(directory, { withFileTypes: true }).catch(() => []);
    const below = await Promise.all(
      nested.filter((entry) => entry.isDirectory()).map((entry) => walk(join(directory, entry.name))),
    );
    return [...own, ...below.flat()];
  };
  return walk(node.at(container.cgroup));
};
