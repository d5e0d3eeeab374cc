/**
 * The playground's network: a bridge in the control plane's namespace, so that no firewall of the machine comes
 * between nodes; nodes, broker and the machine itself hang on it. The machine gets one link and three routes.
 */
import { existsSync } from 'node:fs';
import {
  ADDRESS,
  HOST_LINK,
  LAN_PREFIX,
  NETNS,
  NODES,
  type NodeName,
  netnsPath,
  nodeAddress,
  nodeNetns,
  podCidr,
  SERVICE_CIDR,
} from './layout.ts';
import { must, run } from './run.ts';

const batch = (lines: readonly string[], netns?: string): Promise<string> =>
  must(['ip', ...(netns === undefined ? [] : ['-n', netns]), '-batch', '-'], { input: `${lines.join('\n')}\n` });

const sysctl = (netns: string, settings: Readonly<Record<string, string>>): Promise<string> =>
  must([
    'nsenter',
    `--net=${netnsPath(netns)}`,
    'sysctl',
    '-qwe',
    ...Object.entries(settings).map((pair) => pair.join('=')),
  ]);

/** Port on the bridge of a member; names are 15 characters at most. */
const portName = (netns: string): string => netns.slice(0, 15);

/** A namespace with `eth0` on the bridge. */
const join = async (netns: string, address: string): Promise<void> => {
  await batch([
    `netns add ${netns}`,
    `link add ${portName(netns)} netns ${NETNS.control} type veth peer name eth0 netns ${netns}`,
  ]);
  await batch([`link set ${portName(netns)} master br0 up`], NETNS.control);
  await batch(
    [
      'link set lo up',
      `address add ${address}/${LAN_PREFIX} dev eth0`,
      'link set eth0 up',
      `route add default via ${ADDRESS.control}`,
      ...NODES.filter((node) => nodeAddress(node) !== address).map(
        (node) => `route add ${podCidr(node)} via ${nodeAddress(node)}`,
      ),
    ],
    netns,
  );
};

export const plugNode = async (node: NodeName): Promise<void> => {
  await join(nodeNetns(node), nodeAddress(node));
  await sysctl(nodeNetns(node), { 'net.ipv4.ip_forward': '1' });
};

/** The node's port goes dark: from this instant nothing of it is heard, not even the FIN or RST of a process that dies. */
export const silenceNode = async (node: NodeName): Promise<void> => {
  await run(['ip', '-n', NETNS.control, 'link', 'set', portName(nodeNetns(node)), 'down']);
};

export const unplugNode = async (node: NodeName): Promise<void> => {
  // By name: the namespace outlives its own, for the other node's mounts hold a copy of it.
  await run(['ip', '-n', NETNS.control, 'link', 'del', portName(nodeNetns(node))]);
  await removeNetns(nodeNetns(node));
};

export const removeNetns = async (netns: string): Promise<void> => {
  if (existsSync(netnsPath(netns))) await run(['ip', 'netns', 'del', netns]);
};

export const buildNetwork = async (): Promise<void> => {
  await batch([`netns add ${NETNS.control}`, `link add ${HOST_LINK} type veth peer name host netns ${NETNS.control}`]);
  // br_netfilter, where loaded, would send bridged frames through kube-proxy's rules a second time.
  await sysctl(NETNS.control, { 'net.bridge.bridge-nf-call-iptables': '0', 'net.ipv4.ip_forward': '1' });
  await batch(
    [
      'link set lo up',
      'link add br0 type bridge',
      `address add ${ADDRESS.control}/${LAN_PREFIX} dev br0`,
      'link set br0 up',
      'link set host master br0 up',
      // The API server dials webhooks by their Service address: any route will do, kube-proxy's rules redirect it.
      `route add ${SERVICE_CIDR} dev br0`,
      ...NODES.map((node) => `route add ${podCidr(node)} via ${nodeAddress(node)}`),
    ],
    NETNS.control,
  );
  await batch([
    `address add ${ADDRESS.host}/${LAN_PREFIX} dev ${HOST_LINK}`,
    `link set ${HOST_LINK} up`,
    `route add ${SERVICE_CIDR} via ${ADDRESS.control}`,
    ...NODES.map((node) => `route add ${podCidr(node)} via ${nodeAddress(node)}`),
  ]);
  await join(NETNS.broker, ADDRESS.broker);
  for (const node of NODES) await plugNode(node);
};

/** Removes all of it, in whatever state it is; says what was there. */
export const removeNetwork = async (): Promise<string[]> => {
  const removed: string[] = [];
  for (const netns of [...NODES.map(nodeNetns), NETNS.broker, NETNS.control]) {
    if (!existsSync(netnsPath(netns))) continue;
    await removeNetns(netns);
    removed.push(`network namespace ${netns}`);
  }
  if (existsSync(`/sys/class/net/${HOST_LINK}`)) {
    await run(['ip', 'link', 'del', HOST_LINK]);
    removed.push(`link ${HOST_LINK}`);
  }
  return removed;
};
