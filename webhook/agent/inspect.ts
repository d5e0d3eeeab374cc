/** What the processes of a pod hold that can't be dumped or restored. Reads /proc; nothing is stopped. */
import { readdir, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentRequest, AgentResponse } from '../api/agent.ts';
import { ShadowError } from '../api/errors.ts';
import { filesIn } from './archive.ts';
import { containersOf, pidsOf, type RunningContainer } from './containers.ts';
import { namesIn } from './files.ts';
import { ownBytes } from './memory.ts';
import { tcpRows } from './network.ts';
import { isMissing, type Node, textOf } from './node.ts';
import { upperOf } from './overlay.ts';
import { endpoint, isLoopback, protocolsInUse, type TcpRow, unixPairs } from './sockets.ts';

/** Anonymous inodes CRIU 4 dumps; any other name is a hazard. */
const DUMPABLE = new Set(['eventfd', 'eventpoll', 'inotify', 'fanotify', 'signalfd', 'timerfd', 'pidfd']);
/** Character devices that exist in every container. */
const COMMON_DEVICE = /^\/dev\/(null|zero|full|random|urandom|tty|ptmx|pts\/.*|console)$/;
/** Socket families whose mere use in the pod can't be restored. */
const UNRESTORABLE = ['MPTCP', 'MPTCPv6', 'SCTP', 'SCTPv6', 'SMC', 'VSOCK'];

/** Why this open file can't be dumped; undefined: it can. Pure. */
export const descriptorHazard = (target: string): string | undefined => {
  const anonymous = /^anon_inode:\[?([^\]]+?)\]?$/.exec(target)?.[1];
  if (anonymous !== undefined && !DUMPABLE.has(anonymous))
    return anonymous === 'io_uring'
      ? 'uses io_uring; run it with seccompProfile RuntimeDefault'
      : `holds a ${anonymous} descriptor`;
  if (target.startsWith('/dev/') && !target.startsWith('/dev/shm/') && !COMMON_DEVICE.test(target))
    return `has the device ${target} open`;
  return undefined;
};

/** Listeners on the pod's own address: it changes with the move. Pure. */
export const boundToPod = (rows: readonly TcpRow[], podIP: string): string[] =>
  rows
    .filter((row) => row.listening && row.localAddress === podIP)
    .map((row) => `a socket listens on the pod's own address, ${endpoint(row.localAddress, row.localPort)}`);

/** Peers the app dialled: established, not loopback, not to a port the pod listens on. Pure. */
export const dialled = (rows: readonly TcpRow[], inodes: ReadonlySet<number>): string[] => {
  const served = new Set(rows.filter((row) => row.listening).map((row) => row.localPort));
  const peers = rows
    .filter((row) => row.established && inodes.has(row.inode))
    .filter((row) => !isLoopback(row.remoteAddress) && !served.has(row.localPort))
    .map((row) => endpoint(row.remoteAddress, row.remotePort));
  return [...new Set(peers)].sort();
};

/** A unix socket whose other end is in another container or outside of the pod. Pure. */
export const unixHazards = (
  pairs: readonly (readonly [number, number])[],
  owner: ReadonlyMap<number, string>,
): string[] => {
  const lines = pairs.flatMap(([own, peer]) => {
    const here = owner.get(own);
    if (here === undefined || owner.get(peer) === here) return [];
    return [`container ${here}: a unix socket is connected to ${owner.get(peer) ?? 'something outside of the pod'}`];
  });
  return [...new Set(lines)];
};

interface Held {
  container: RunningContainer;
  hazards: Set<string>;
  sockets: Set<number>;
  anonymousBytes: number;
}

const ignoreGone = async <T>(work: Promise<T>, otherwise: T): Promise<T> => {
  try {
    return await work;
  } catch (error) {
    if (isMissing(error)) return otherwise;
    throw error;
  }
};

const heldBy = async (node: Node, container: RunningContainer): Promise<Held> => {
  const held: Held = { container, hazards: new Set(), sockets: new Set(), anonymousBytes: 0 };
  for (const pid of await pidsOf(node, container)) {
    const base = join(node.layout.proc, String(pid));
    held.anonymousBytes += await ownBytes(node.layout.proc, pid);
    for (const fd of await ignoreGone(readdir(join(base, 'fd')), [])) {
      const target = await ignoreGone(readlink(join(base, 'fd', fd)), '');
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode !== undefined) held.sockets.add(Number(inode));
      const hazard = descriptorHazard(target);
      if (hazard !== undefined) held.hazards.add(`container ${container.name}: ${hazard}`);
    }
  }
  return held;
};

const sizeOf = async (directory: string): Promise<number> =>
  ignoreGone(
    filesIn(directory).then((files) => files.reduce((sum, { size }) => sum + size, 0)),
    0,
  );

const diskBytes = async (node: Node, podUid: string, containers: readonly RunningContainer[]): Promise<number> => {
  const mounts = (await textOf(join(node.layout.proc, '1', 'mountinfo'))) ?? '';
  const uppers = containers
    .map(({ id }) => upperOf(mounts, join(node.layout.tasks, id, 'rootfs')))
    .filter((upper) => upper !== undefined);
  const volumes = join(node.layout.kubelet, 'pods', podUid, 'volumes', 'kubernetes.io~empty-dir');
  const present = await stat(node.at(volumes)).then(
    () => namesIn(node.at(volumes)),
    () => [],
  );
  const sizes = await Promise.all(
    [...uppers, ...present.map((volume) => join(volumes, volume))].map((directory) => sizeOf(node.at(directory))),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
};

export const inspect = async (node: Node, request: AgentRequest<'inspect'>): Promise<AgentResponse<'inspect'>> => {
  const found = (await containersOf(node, request.pod.uid)).filter(({ sandbox }) => !sandbox);
  const wanted = found.filter(({ name }) => request.containers.some((container) => container.name === name));
  const [first] = wanted;
  if (first === undefined)
    throw new ShadowError('SHADOW_E_POD_NOT_RUNNING', `${request.pod.name} does not run on this node`);
  const held = await Promise.all(wanted.map((container) => heldBy(node, container)));
  const rows = await tcpRows(node, first.pid);
  const inUse = protocolsInUse((await textOf(join(node.layout.proc, String(first.pid), 'net', 'protocols'))) ?? '');
  const unix = unixPairs(await node.run('ss', ['-Hxa'], { netns: first.netns }));
  const owner = new Map(held.flatMap((one) => [...one.sockets].map((inode) => [inode, one.container.name] as const)));
  const isApp = (name: string): boolean =>
    request.containers.some((container) => container.name === name && !container.sidecar);
  const appSockets = new Set(held.filter((one) => isApp(one.container.name)).flatMap((one) => [...one.sockets]));
  return {
    hazards: [
      ...held.flatMap((one) => [...one.hazards]),
      ...boundToPod(rows, request.podIP),
      ...UNRESTORABLE.filter((name) => (inUse.get(name) ?? 0) > 0).map((name) => `${name} sockets are open in the pod`),
      ...unixHazards(unix, owner),
    ],
    peers: dialled(rows, appSockets),
    estimatedBytes:
      held.reduce((sum, one) => sum + one.anonymousBytes, 0) + (await diskBytes(node, request.pod.uid, wanted)),
  };
};
