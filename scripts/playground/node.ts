/** A node: network, mount, pid and host name namespaces of its own. Killing its init is a power loss. */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ShadowError } from '../../webhook/api/errors.ts';
import type { Parts } from './build/parts.ts';
import { makeCgroups, removeCgroups } from './cgroups.ts';
import { cniConfig, containerdToml, type Host, kubeletArgs, kubeletConfig, proxyArgs } from './config.ts';
import {
  DNS_SERVICE,
  LOGS,
  NODE_DISK,
  NODE_RAM,
  type NodeName,
  netnsPath,
  nodeAddress,
  nodeCgroup,
  nodeDir,
  nodeNetns,
} from './layout.ts';
import { plugNode, silenceNode, unplugNode } from './network.ts';
import { poll, type Ran, type RunOptions, run, start } from './run.ts';
import { isAlive, makeDir, readState, record, type State } from './state.ts';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const disk = (node: NodeName, path: string): string => join(nodeDir(node), 'disk', path);

/** What stands on the PATH of all processes of a node. */
const tools = (parts: Parts): Readonly<Record<string, string>> => ({
  containerd: join(parts.containerd, 'containerd'),
  'containerd-shim-runc-v2': join(parts.containerd, 'containerd-shim-runc-v2'),
  ctr: join(parts.containerd, 'ctr'),
  runc: join(parts.runc, 'runc'),
});

/**
 * Writes the node's disk and configuration: a node as a distribution makes it, without CRIU and without our handler. Existing
 * disks stay: a node that powers on again finds its own.
 */
export const layOutNode = (state: State, node: NodeName, parts: Parts, host: Host): void => {
  for (const path of NODE_DISK) {
    mkdirSync(disk(node, path), { recursive: true });
    makeDir(state, path);
  }
  const put = (path: string, text: string): void => writeFileSync(path, text);
  put(disk(node, '/etc/containerd/config.toml'), containerdToml(host));
  put(join(nodeDir(node), 'kubelet.json'), kubeletConfig(node));
  put(join(nodeDir(node), 'resolv.conf'), `nameserver ${DNS_SERVICE}\n`);
  put(disk(node, '/etc/cni/net.d/10-pods.conflist'), cniConfig(node));
  for (const [name, path] of Object.entries(tools(parts))) {
    rmSync(disk(node, join('/usr/local/sbin', name)), { force: true });
    symlinkSync(path, disk(node, join('/usr/local/sbin', name)));
  }
  copyFileSync(join(import.meta.dirname, 'systemctl.sh'), disk(node, '/usr/local/sbin/systemctl'));
  chmodSync(disk(node, '/usr/local/sbin/systemctl'), 0o755);
};

const processName = (node: NodeName): string => node;

/** Starts the node's init; the node's network is up already. */
export const startNode = (state: State, node: NodeName, parts: Parts): void => {
  makeCgroups(state, node);
  const kube = (name: string): string => join(parts.kubernetes, name);
  const pid = start(
    [
      'nsenter',
      `--net=${netnsPath(nodeNetns(node))}`,
      'unshare',
      '--mount',
      '--uts',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
      '--propagation=private',
      join(import.meta.dirname, 'node-init.sh'),
      node,
      nodeDir(node),
    ],
    join(LOGS, `init-${node}.log`),
    {
      CGROUP: nodeCgroup(node),
      NODE_DISK: NODE_DISK.join(' '),
      NODE_RAM: NODE_RAM.join(' '),
      LOGS,
      CONTAINERD: '/usr/local/sbin/containerd',
      KUBELET: kube('kubelet'),
      KUBELET_ARGS: kubeletArgs(node).join(' '),
      PROXY: kube('kube-proxy'),
      PROXY_ARGS: proxyArgs(node, nodeAddress(node)).join(' '),
    },
  );
  record(state, processName(node), pid);
};

/** Host pid of the node's first process; undefined when the node is off. */
export const initPid = (node: NodeName): number | undefined => {
  const outer = readState().processes[processName(node)];
  if (outer === undefined || !isAlive(outer)) return undefined;
  try {
    const children = readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'utf8').trim();
    return children === '' ? undefined : Number(children.split(' ')[0]);
  } catch {
    return undefined;
  }
};

/** Runs a program in all namespaces of a node, with the PATH of its services. */
export const nodeExec = async (node: NodeName, argv: readonly string[], options: RunOptions = {}): Promise<Ran> => {
  const pid = initPid(node);
  if (pid === undefined) throw new ShadowError('SHADOW_E_NODE_UNFIT', `${node} is off`);
  const inside = ['nsenter', '-t', `${pid}`, '--mount', '--net', '--pid', '--uts', '--', ...argv];
  return run(inside, { ...options, env: { PATH, ...options.env } });
};

/** Waits until containerd answers. */
export const containerdReady = async (node: NodeName): Promise<void> => {
  const ready = await poll(60_000, 100, async () => {
    if (initPid(node) === undefined) return undefined;
    const { code } = await nodeExec(node, ['ctr', 'version']);
    return code === 0 ? true : undefined;
  });
  if (!ready)
    throw new ShadowError(
      'SHADOW_E_INTERNAL',
      `containerd of ${node} does not answer, log ${LOGS}/containerd-${node}.log`,
    );
};

/**
 * The power fails: the network falls silent, every process of the node dies at once. Its disk stays as it was. Silent first: the
 * peers of a machine without power hear of its end from nobody, only by their own timeouts. Harmless when it is off.
 */
export const powerCut = async (node: NodeName): Promise<void> => {
  await silenceNode(node);
  const outer = readState().processes[processName(node)];
  const init = initPid(node);
  if (init !== undefined) process.kill(init, 'SIGKILL');
  await poll(10_000, 10, () => (isAlive(outer) ? undefined : true));
  await unplugNode(node);
  await removeCgroups(node);
};

/** The power is back: the node boots from its disk. Harmless when it is on. */
export const powerOn = async (node: NodeName, parts: Parts): Promise<void> => {
  if (initPid(node) !== undefined) return;
  // Whatever is left of the last time, also of one that was interrupted.
  await unplugNode(node);
  await plugNode(node);
  startNode(readState(), node, parts);
  await containerdReady(node);
};
