/**
 * A superseded source without our sidecar: who still comes is sent on to the copy by the kernel of the pod's own network. That
 * network lasts as long as a container of the pod lives; so the app is not killed but held still until the kubelet ends it.
 */
import { spawn } from 'node:child_process';
import type { AgentRequest } from '../api/agent.ts';
import { ShadowError } from '../api/errors.ts';
import { NFT } from '../api/staging.ts';
import { containersOf, type RunningContainer } from './containers.ts';
import { anyOf } from './cut.ts';
import { isPaused, pause } from './freezer.ts';
import {
  applyRules,
  assertUnturned,
  type Diversion,
  divertRules,
  hasTable,
  removeTable,
  stillRules,
  tcpRows,
} from './network.ts';
import type { Node } from './node.ts';
import { endpoint } from './sockets.ts';

type Divert = AgentRequest<'divert'>;

/** To a neighbour and back; a lost SYN is sent again after a second. */
const DIAL_MS = 1_500;
/** Above what Linux takes for outgoing connections (32768-60999). */
const FIRST_TRIAL = 61_000;

const isV6 = (address: string): boolean => address.includes(':');

interface Road {
  at: string;
  to: string;
}

/** Family by family: where the source is, and where the copy. */
const roadsOf = ({ at, to }: Divert): Road[] =>
  at.flatMap((address) => {
    const other = to.find((one) => isV6(one) === isV6(address));
    return other === undefined ? [] : [{ at: address, to: other }];
  });

/**
 * Only what the kernel sees begin is a connection to it. Else the last packet of one, met when tracking has just begun, stands for
 * an open one for minutes: whoever comes from the same port again would be turned nowhere.
 */
const STRICT = 'echo 0 2>/dev/null >/proc/sys/net/netfilter/nf_conntrack_tcp_loose || true';

/** Forwards, and tracks strictly. /proc/sys/net is that of the network of whoever looks. */
const letThrough = (node: Node, netns: string, families: ReadonlySet<boolean>): Promise<string> =>
  node.run(
    'sh',
    [
      '-ec',
      [
        ...(families.has(false) ? ['echo 1 >/proc/sys/net/ipv4/ip_forward'] : []),
        ...(families.has(true) ? ['echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'] : []),
        STRICT,
      ].join('; '),
    ],
    { netns },
  );

/** Ports at which nobody listens in that network. */
const unused = async (node: Node, pid: number, count: number): Promise<number[]> => {
  const taken = new Set((await tcpRows(node, pid)).map(({ localPort }) => localPort));
  const free: number[] = [];
  for (let port = FIRST_TRIAL; port < 65_536 && free.length < count; port++) if (!taken.has(port)) free.push(port);
  return free;
};

const DIAL = `for (const one of process.argv.slice(1)) {
  const { hostname, port } = new URL('tcp://' + one);
  const socket = require('net').connect(Number(port), hostname.replace(/[\\[\\]]/g, ''), () => socket.destroy());
  socket.setTimeout(${DIAL_MS}, () => socket.destroy(new Error('no answer')));
  socket.on('error', ({ message }) => { console.error(one + ': ' + message); process.exit(1) });
}`;

/** From the node, as the kubelet probes: no policy keeps it from its pods. Each must be answered. */
const dial = (node: Node, targets: readonly string[]): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = spawn('nsenter', [`--net=${node.layout.network}`, process.execPath, '-e', DIAL, ...targets], {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: 4 * DIAL_MS,
      killSignal: 'SIGKILL',
    });
    let said = '';
    child.stderr.on('data', (data) => {
      said = (said + data).slice(-500);
    });
    const fail = (text: string) => reject(new ShadowError('SHADOW_E_UNSUPPORTED', `the copy is not reached: ${text}`));
    child.on('error', ({ message }) => fail(message));
    child.on('close', (status) => (status === 0 ? resolve() : fail(said.trim())));
  });

/** By ports that only the rules know: whoever answers there is the copy, and the whole way is as it will be. Leaves its rules. */
const prove = async (
  node: Node,
  { netns, pid }: RunningContainer,
  roads: readonly Road[],
  ports: readonly number[],
): Promise<void> => {
  const ways = roads.flatMap((road) => ports.map((serves) => ({ ...road, serves })));
  const free = await unused(node, pid, ways.length);
  const trials = ways.map((way, index) => ({ ...way, port: free[index] ?? 0 }));
  await applyRules(node, netns, divertRules(NFT.trial, trials));
  await dial(
    node,
    trials.map(({ at, port }) => endpoint(at, port)),
  );
};

/** Idempotent: repeated, it is proven anew while the rules of before hold. Throws SHADOW_E_UNSUPPORTED. */
export const divertSource = async (node: Node, request: Divert): Promise<void> => {
  const { pod, ports } = request;
  const container = await anyOf(node, pod.uid);
  const { netns } = container;
  const roads = roadsOf(request);
  if (roads.length === 0)
    throw new ShadowError('SHADOW_E_UNSUPPORTED', 'source and copy have no family of addresses in common');
  await assertUnturned(node, netns);
  await letThrough(node, netns, new Set(roads.map(({ at }) => isV6(at))));
  const diversions: Diversion[] = roads.flatMap(({ to }) => ports.map((port) => ({ port, to, serves: port })));
  try {
    await prove(node, container, roads, ports);
    await applyRules(node, netns, divertRules(NFT.divert, diversions, NFT.trial));
  } catch (error) {
    await removeTable(node, netns, NFT.trial);
    throw error;
  }
};

/** What is left of the pod's connections, each of which was ended at both sides. Its listeners hear nobody any more. */
const END_ALL = `ss -HKtn state connected exclude time-wait >/dev/null 2>&1 || true
ss -Htn state connected exclude time-wait`;

/** False: not a diverted one, or its kernel can't end connections (INET_DIAG_DESTROY). */
export const stillSource = async (
  node: Node,
  { pod, containers }: AgentRequest<'still'>,
  warn: (message: string) => void,
): Promise<boolean> => {
  const here = await containersOf(node, pod.uid);
  const apps = here.filter(({ name, sandbox }) => !sandbox && containers.some((one) => one.name === name));
  const netns = here[0]?.netns;
  if (netns === undefined || apps.length === 0 || !(await hasTable(node, netns, NFT.divert))) return false;
  // First: an app that still ran would notice, and connect again.
  await Promise.all(
    apps.map(async (app) => {
      if (!(await isPaused(node, app))) await pause(node, app);
    }),
  );
  await applyRules(node, netns, stillRules());
  const left = (await node.run('sh', ['-c', END_ALL], { netns })).trim();
  if (left === '') return true;
  warn(`connections of ${pod.namespace}/${pod.name} can't be ended (INET_DIAG_DESTROY?): it is killed: ${left}`);
  return false;
};
