/** What goes wrong on purpose. */
import { type FSWatcher, readdirSync, readFileSync, renameSync, truncateSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../../scripts/demonstration/until.ts';
import { CLUSTER_CIDR, NODES, type NodeName, nodeDir } from '../../../scripts/playground/layout.ts';
import { nodeExec } from '../../../scripts/playground/lib.ts';
import { LABEL, NAMESPACE, NODE_DIR, PORT } from '../../../webhook/api/names.ts';
import { STAGED } from '../../../webhook/api/staging.ts';
import type { Bed } from './bed.ts';

/** A directory of a node's disk, as this machine sees it. */
const onDisk = (node: string, path: string): string => join(nodeDir(node as NodeName), 'disk', path);

const textOf = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

/** Processes of a pod whose command line has `word`; the nodes' processes are ours to see. */
export const pidsOf = (podUid: string, word: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => textOf(`/proc/${pid}/cmdline`).includes(word) && textOf(`/proc/${pid}/cgroup`).includes(podUid))
    .map(Number);

export const signal = (pids: readonly number[], name: NodeJS.Signals): number => {
  for (const pid of pids) process.kill(pid, name);
  return pids.length;
};

/** SIGKILL to a pod's processes whose command line has `word`; how many there were. */
export const killIn = (podUid: string, word: string): number => signal(pidsOf(podUid, word), 'SIGKILL');

const POLICY = 'shadow_test_policy';

/**
 * Stands in for a NetworkPolicy that forbids pods to talk to each other (the playground's network enforces none): between the
 * pods of different nodes only our own components are reached. Until undone.
 */
export const forbidPodToPod = (): Promise<() => Promise<void>> => {
  const ports = `${PORT.webhook}, ${PORT.controller}, ${PORT.agent}`;
  const rules = `table inet ${POLICY} {
    chain forward {
      type filter hook forward priority -10; policy accept;
      ip saddr ${CLUSTER_CIDR} ip daddr ${CLUSTER_CIDR} tcp dport != { ${ports} } ct state new drop
    }
  }`;
  return ruled(rules);
};

/** The agents hear the controller, but not each other. Until undone. */
export const forbidAgentToAgent = async ({ kube }: Bed): Promise<() => Promise<void>> => {
  const labelSelector = 'app.kubernetes.io/component=agent';
  const { items } = await kube.core.listNamespacedPod({ namespace: NAMESPACE, labelSelector });
  const agents = items.flatMap(({ status }) => status?.podIP ?? []).join(', ');
  return ruled(`table inet ${POLICY} {
    chain forward {
      type filter hook forward priority -10; policy accept;
      ip saddr { ${agents} } ip daddr { ${agents} } tcp dport ${PORT.agent} drop
    }
  }`);
};

/** On every node; what undoes it. */
const ruled = async (rules: string): Promise<() => Promise<void>> => {
  const everywhere = async (argv: string[]): Promise<void> => {
    for (const node of NODES) {
      const { code, stderr } = await nodeExec(node, argv);
      if (code !== 0) throw new Error(`${node}: ${stderr}`);
    }
  };
  await everywhere(['nft', rules]);
  return () => everywhere(['nft', 'delete', 'table', 'inet', POLICY]);
};

export interface Victim {
  /** SIGKILL, at once. */
  kill(): void;
  /** Takes the killed pod away, so that its successor starts without the kubelet's back-off; waits for a leader. */
  replace(): Promise<void>;
}

const leaders = async (bed: Bed): Promise<{ name: string; uid: string }[]> => {
  const { items } = await bed.kube.core.listNamespacedPod({
    namespace: NAMESPACE,
    labelSelector: `${LABEL.leader}=true`,
  });
  return items.map(({ metadata }) => ({ name: metadata?.name ?? '', uid: metadata?.uid ?? '' }));
};

/** The controller that leads now. */
export const leader = async (bed: Bed): Promise<Victim> => {
  const { name, uid, pids } = await until('a leading controller', 60_000, async () => {
    const [only, ...more] = await leaders(bed);
    const found = only && more.length === 0 ? pidsOf(only.uid, 'controller') : [];
    return only && found.length > 0 ? { ...only, pids: found } : undefined;
  });
  return {
    kill() {
      for (const pid of pids) process.kill(pid, 'SIGKILL');
    },
    async replace() {
      await bed.kube.core.deleteNamespacedPod({ namespace: NAMESPACE, name, gracePeriodSeconds: 0 });
      await until('another leading controller', 90_000, async () => {
        const now = await leaders(bed);
        return now.length === 1 && now[0]?.uid !== uid;
      });
    },
  };
};

/**
 * Cuts a checkpoint short on `node` once it has come whole and was verified, before the runtime handler reads it: when the
 * agent writes the last small files of the claim.
 */
export const truncateCheckpoints = (node: string, file: RegExp): { truncated: string[]; stop(): void } => {
  const staged = onDisk(node, NODE_DIR.staged);
  const truncated: string[] = [];
  const watchers: FSWatcher[] = [];
  const cut = (claim: string): void => {
    for (const name of readdirSync(claim, { recursive: true, encoding: 'utf8' })) {
      if (!file.test(name)) continue;
      truncateSync(join(claim, name), 16);
      truncated.push(name);
    }
  };
  const watchClaim = (claim: string): void => {
    watchers.push(
      watch(claim, (_event, name) => {
        if (truncated.length === 0 && (name === STAGED.oldIP || name === STAGED.ready)) cut(claim);
      }),
    );
  };
  const seen = new Set<string>();
  watchers.push(
    watch(staged, (_event, name) => {
      if (name === null || seen.has(name)) return;
      seen.add(name);
      try {
        watchClaim(join(staged, name));
      } catch {
        seen.delete(name);
      }
    }),
  );
  return {
    truncated,
    stop() {
      for (const watcher of watchers) watcher.close();
    },
  };
};

/** Until undone, `node` has no such file on its disk. */
export const hideFile = (node: string, path: string): (() => void) => {
  const file = onDisk(node, path);
  renameSync(file, `${file}.hidden`);
  return () => renameSync(`${file}.hidden`, file);
};

/** Until undone, CRIU on `node` refuses every command: an option it does not know. */
export const breakCriu = (node: string): (() => void) => {
  const path = onDisk(node, '/etc/criu/runc.conf');
  const before = readFileSync(path, 'utf8');
  writeFileSync(path, `${before}\nno-such-option\n`);
  return () => writeFileSync(path, before);
};
