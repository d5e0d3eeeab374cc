/** Where the playground lives: versions, paths, names and addresses. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export const VERSION = {
  kubernetes: '1.34.4',
  containerd: '2.3.7',
  runc: '1.4.3',
  coredns: '1.14.7',
  criu: '4.2.1',
  etcd: '3.5',
  go: '1.26.8',
} as const;

export const NODES = ['node-1', 'node-2'] as const;
export type NodeName = (typeof NODES)[number];
export const isNodeName = (text: string): text is NodeName => (NODES as readonly string[]).includes(text);

/**
 * A second playground beside the first, to work on the playground itself: KUBECTL_SHADOW_PLAYGROUND_NUMBER=1 … 9. It
 * goes up after the first and down before it: the first made the directories that both bind their own over.
 */
const NUMBER = Number(/^[1-9]$/.exec(process.env.KUBECTL_SHADOW_PLAYGROUND_NUMBER ?? '')?.[0] ?? 0);
/** Prefix of all names we give on the machine: network namespaces, cgroups, links. */
const PREFIX = NUMBER === 0 ? 'shadow' : `shadow${NUMBER}`;
const LAN = `10.${77 + NUMBER}.0`;
const PODS = `10.${244 + NUMBER}`;
const SERVICES = `10.${96 + NUMBER}`;

/** Fixed, so that whoever comes later finds (and cleans) what an earlier run left. */
export const RUN = `/var/lib/kubectl-shadow-playground${NUMBER === 0 ? '' : `-${NUMBER}`}`;
export const LOCK = `/run/kubectl-shadow-playground${NUMBER === 0 ? '' : `-${NUMBER}`}.lock`;
export const KUBECONFIG = join(RUN, 'pki/admin.conf');
export const STATE = join(RUN, 'state.json');
export const LOGS = join(RUN, 'logs');

/** In the environment of all we start: finds a process even if `up` was killed before it wrote the pid down. */
export const MARK = { name: 'KUBECTL_SHADOW_PLAYGROUND', value: RUN } as const;

export const cacheDir = (): string => join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'kubectl-shadow');

/** Addresses on the playground's bridge. The machine itself is `host`; it reaches Services by way of `control`. */
export const ADDRESS = { control: `${LAN}.1`, broker: `${LAN}.3`, host: `${LAN}.254` } as const;
export const LAN_PREFIX = 24;
export const nodeAddress = (node: NodeName): string => `${LAN}.1${NODES.indexOf(node) + 1}`;
export const podCidr = (node: NodeName): string => `${PODS}.${NODES.indexOf(node) + 1}.0/24`;
export const CLUSTER_CIDR = `${PODS}.0.0/16`;
export const SERVICE_CIDR = `${SERVICES}.0.0/16`;
export const API_SERVICE = `${SERVICES}.0.1`;
export const DNS_SERVICE = `${SERVICES}.0.10`;
export const API_URL = `https://${ADDRESS.control}:6443`;
/** The machine's end of the link into the playground. */
export const HOST_LINK = NUMBER === 0 ? 'shadow0' : `${PREFIX}-0`;

export const NETNS = { control: `${PREFIX}-cp`, broker: `${PREFIX}-broker` } as const;
export const nodeNetns = (node: NodeName): string => `${PREFIX}-${node}`;
export const netnsPath = (name: string): string => `/run/netns/${name}`;
/** A node's cgroup, directly below the root of each hierarchy. */
export const nodeCgroup = (node: NodeName): string => `${PREFIX}-${node}`;
export const nodeDir = (node: NodeName): string => join(RUN, node);

export const BROKER = {
  port: 5672,
  tlsPort: 5671,
  user: 'shadow',
  password: 'shadow',
  nodename: 'shadow@localhost',
} as const;

/**
 * Directories each node has of its own, bound over the machine's. "disk" outlives a power cut, "ram" does not.
 * /usr/local/sbin carries the tools (runc, ctr), first on the default PATH, so that `nsenter -t 1 -m` finds them.
 */
export const NODE_DISK = [
  '/etc/containerd',
  '/etc/criu',
  '/etc/cni/net.d',
  '/opt/shadow',
  '/usr/local/sbin',
  '/var/lib/cni',
  '/var/lib/containerd',
  '/var/lib/kubelet',
  '/var/lib/shadow',
  '/var/log/containers',
  '/var/log/pods',
] as const;
export const NODE_RAM = ['/run/cni', '/run/containerd', '/run/netns', '/run/runc'] as const;
