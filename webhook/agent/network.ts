/** A pod's network namespace: nftables rules in it (docs/architecture.md, "The network of a copy"), and its TCP sockets. */
import { join } from 'node:path';
import type { Forward } from '../api/control.ts';
import { ShadowError } from '../api/errors.ts';
import { SIDECAR } from '../api/names.ts';
import { NFT } from '../api/staging.ts';
import { CommandError, type Node, textOf } from './node.ts';
import { endpoint, parseTcp, type TcpRow } from './sockets.ts';

/** Between two dumps of one pod by the kubelet's checkpoint API, which cannot pause across containers. */
export const LOCK_TABLE = 'shadow_lock';

/** Replaces the table in one transaction: there is no instant without it. */
const replace = (table: string, body: string): string =>
  `add table inet ${table}\ndelete table inet ${table}\ntable inet ${table} {\n${body}\n}\n`;

/**
 * Nothing leaves but replies to inbound connections and the sidecar's traffic; dropped, not rejected: the app's attempts wait.
 * The mark keeps what the kernel sends for the sidecar's connections without a socket (FIN of a closed one, TIME-WAIT).
 * FIN and RST pass: with no connection of its own a copy has none to send, and a source's app that is killed must not leave its
 * peers with half-open connections.
 * The handler holds the same rules (shadow-runc); a test compares them.
 */
export const fenceRules = (): string =>
  replace(
    NFT.fence,
    `  chain output {
    type filter hook output priority 0; policy accept;
    oifname "lo" accept
    ct direction reply accept
    ct mark ${SIDECAR.uid} accept
    meta skuid ${SIDECAR.uid} ct mark set ${SIDECAR.uid} accept
    tcp flags & (fin | rst) != 0x0 accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
    drop
  }`,
  );

export const lockRules = (): string =>
  replace(
    LOCK_TABLE,
    '  chain input { type filter hook input priority -400; policy accept; iifname "lo" meta l4proto tcp drop; }',
  );

/** Does nothing but that the kernel tracks connections: of one under way when the fence comes it knows who began it. */
export const trackRules = (): string =>
  replace(
    NFT.track,
    '  chain input { type filter hook input priority 0; policy accept; ct state established accept; }',
  );

const OPENS = 'tcp flags & (fin | syn | rst | ack) == syn';

/**
 * Only what opens a connection is turned: one that the kernel did not track so far is not taken for a new one in its midst.
 * Ahead of everybody else's (-100): see assertUnturned.
 */
export const forwardRules = (forwards: readonly Forward[]): string =>
  replace(
    NFT.forward,
    `  chain prerouting {
    type nat hook prerouting priority -110; policy accept;
    iifname "lo" accept
${forwards.map(({ port, to }) => `    tcp dport ${port} ${OPENS} redirect to :${to}`).join('\n')}
  }`,
  );

/** New connections to `port` go to `to`, which is the pod's own `serves` elsewhere. */
export interface Diversion {
  port: number;
  to: string;
  serves: number;
}

const dnat = ({ port, to, serves }: Diversion): string => {
  const [protocol, family] = to.includes(':') ? ['ipv6', 'ip6'] : ['ipv4', 'ip'];
  return `    meta nfproto ${protocol} tcp dport ${port} ${OPENS} dnat ${family} to ${endpoint(to, serves)}`;
};

/**
 * By the kernel alone: in by the pod's address, out again by it, with it as the sender's. Only what opens a connection, as above.
 * Nobody is told of a shorter way (redirects): it would lead past the rules.
 * `instead`: the table they take the place of, in the same transaction. Without any such table the kernel tracks no connections
 * and misses the end of one; it would take for that one whoever comes from the same port later, and turn it nowhere.
 */
export const divertRules = (table: string, diversions: readonly Diversion[], instead?: string): string =>
  replace(
    table,
    `  chain prerouting {
    type nat hook prerouting priority -110; policy accept;
    iifname "lo" accept
${diversions.map(dnat).join('\n')}
  }
  chain postrouting { type nat hook postrouting priority 110; policy accept; ct status dnat masquerade; }
  chain output {
    type filter hook output priority 0; policy accept;
    icmp type redirect drop
    icmpv6 type nd-redirect drop
  }`,
  ) + (instead === undefined ? '' : `delete table inet ${instead}\n`);

/** What is sent on does not come by here. The rest finds what it would find of a killed app: a reset. */
export const stillRules = (): string =>
  replace(
    NFT.still,
    `  chain input {
    type filter hook input priority 0; policy accept;
    iifname "lo" accept
    meta l4proto tcp reject with tcp reset
  }`,
  );

/** Tables of nft, and names of tables of the older iptables. Of these kinds none changes where a connection goes. */
const HARMLESS = /^(table inet shadow_\w+|(table ip6? )?(filter|raw|security))$/;

/** A mesh's proxy gets the pod's connections by rules of its own, and ours too: what was passed on would come by it twice. */
export const assertUnturned = async (node: Node, netns: string): Promise<void> => {
  const script = 'nft list tables; cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null || true';
  const lines = (await node.run('sh', ['-ec', script], { netns })).split('\n').map((line) => line.trim());
  const foreign = lines.find((line) => line !== '' && !HARMLESS.test(line));
  if (foreign !== undefined)
    throw new ShadowError('SHADOW_E_UNSUPPORTED', `the network of the pod has rules of others: ${foreign}`);
};

export const applyRules = async (node: Node, netns: string, rules: string): Promise<void> => {
  await node.run('nft', ['-f', '-'], { netns, input: rules, urgent: true });
};

export const hasTable = async (node: Node, netns: string, table: string): Promise<boolean> =>
  (await node.run('nft', ['list', 'tables', 'inet'], { netns })).split('\n').includes(`table inet ${table}`);

/** Idempotent: no such table, no such namespace (its pod is gone) is what was wanted. */
export const removeTable = async (node: Node, netns: string, table: string): Promise<void> => {
  try {
    await node.run('nft', ['delete', 'table', 'inet', table], { netns });
  } catch (error) {
    if (!(error instanceof CommandError && /No such file or directory/.test(error.stderr))) throw error;
  }
};

/** Both families, of the network that this process is in; none once it has ended. */
export const tcpRows = async (node: Node, pid: number): Promise<TcpRow[]> => {
  const net = join(node.layout.proc, String(pid), 'net');
  const tables = await Promise.all(['tcp', 'tcp6'].map((file) => textOf(join(net, file))));
  return tables.flatMap((table) => parseTcp(table ?? ''));
};
