/** nftables rules in a pod's network namespace (docs/architecture.md, "The network of a copy"). */
import { SIDECAR } from '../api/names.ts';
import { NFT } from '../api/staging.ts';
import { CommandError, type Node } from './node.ts';

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

export const applyRules = async (node: Node, netns: string, rules: string): Promise<void> => {
  await node.run('nft', ['-f', '-'], { netns, input: rules, urgent: true });
};

/** Idempotent: no such table, no such namespace (its pod is gone) is what was wanted. */
export const removeTable = async (node: Node, netns: string, table: string): Promise<void> => {
  try {
    await node.run('nft', ['delete', 'table', 'inet', table], { netns });
  } catch (error) {
    if (!(error instanceof CommandError && /No such file or directory/.test(error.stderr))) throw error;
  }
};
