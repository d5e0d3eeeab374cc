/** What the agent does once at its start: the handler and CRIU's settings on the node, and what earlier lives left behind. */
import { randomBytes } from 'node:crypto';
import { chmod, copyFile, mkdir, rename, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CLAIM_FILE } from './claims.ts';
import { checkpointed } from './cut.ts';
import { dropImported } from './direct.ts';
import { namesIn, removeTree, writeWhole } from './files.ts';
import { GATE_BIN } from './gate.ts';
import { type Node, textOf } from './node.ts';

/**
 * The pause of all containers already keeps bytes from moving; CRIU's own network lock forks iptables, costs 0.15 s and
 * collides when two dumps share a namespace. It can be set in runc's CRIU configuration only.
 */
const NETWORK_LOCK = 'network-lock skip';

/** runc's CRIU configuration with our line in it; what the node's owner wrote stays. Pure. */
export const withNetworkLock = (config: string | undefined): string => {
  const lines = (config ?? '').split('\n').filter((line) => line.trim() !== '' && !/^\s*network-lock\b/.test(line));
  return `${[...lines, NETWORK_LOCK].join('\n')}\n`;
};

/** As its owner wrote it; undefined: it was ours alone, or there is none. Pure. */
export const criuConfigWithout = (config: string | undefined): string | undefined => {
  const lines = (config ?? '').split('\n').filter((line) => line.trim() !== '' && line.trim() !== NETWORK_LOCK);
  return lines.length === 0 ? undefined : `${lines.join('\n')}\n`;
};

/** By rename: containerd may be starting it this instant. */
const installProgram = async (from: string, to: string): Promise<void> => {
  await mkdir(dirname(to), { recursive: true, mode: 0o755 });
  const fresh = `${to}.${randomBytes(4).toString('hex')}`;
  await copyFile(from, fresh);
  await chmod(fresh, 0o755);
  await rename(fresh, to);
};

/** `runtime`: the directory with the programs of webhook/agent/runtime. */
export const install = async (node: Node, runtime: string): Promise<void> => {
  const { staged, checkpoints, taken, epochs, bin, criuConfig } = node.layout;
  for (const directory of [staged, checkpoints, taken, epochs])
    await mkdir(node.at(directory), { recursive: true, mode: 0o700 });
  await installProgram(join(runtime, 'shadow-runc'), node.at(join(bin, 'shadow-runc')));
  await installProgram(join(runtime, 'criu-gate'), node.at(join(bin, GATE_BIN, 'criu')));
  const config = await textOf(node.at(criuConfig));
  if (config !== withNetworkLock(config)) {
    await mkdir(dirname(node.at(criuConfig)), { recursive: true });
    await writeWhole(node.at(criuConfig), withNetworkLock(config));
  }
};

const DAY_MS = 86_400_000;

const podsHere = async (node: Node): Promise<Set<string>> =>
  new Set(await namesIn(node.at(join(node.layout.kubelet, 'pods'))));

/** Checkpoints whose source is gone. */
const orphans = async (node: Node, pods: ReadonlySet<string>): Promise<string[]> => {
  const claims = (await namesIn(node.at(node.layout.checkpoints))).filter((name) => !name.startsWith('.'));
  const sources = await Promise.all(claims.map((claim) => checkpointed(node, claim)));
  return claims.filter((_, index) => sources[index] !== undefined && !pods.has(sources[index]));
};

const isOld = async (file: string, now: number): Promise<boolean> => now - (await stat(file)).mtimeMs > DAY_MS;

/**
 * Removes records and checkpoints of pods that are gone (a node that was dead is cleaned by nobody else), and claims older than
 * a day whose copy is. What it removed.
 */
export const collectGarbage = async (node: Node, now = Date.now()): Promise<string[]> => {
  const { staged, checkpoints, taken, epochs } = node.layout;
  const pods = await podsHere(node);
  const doomed: string[] = [];
  for (const claim of await orphans(node, pods)) doomed.push(join(checkpoints, claim), join(epochs, claim));
  for (const uid of await namesIn(node.at(taken))) if (!pods.has(uid)) doomed.push(join(taken, uid));
  for (const directory of [staged, checkpoints, epochs]) {
    for (const name of await namesIn(node.at(directory))) {
      const path = join(directory, name);
      // A removal that a restart cut off (files.ts).
      if (name.startsWith('.')) {
        doomed.push(path);
        continue;
      }
      if (!(await isOld(node.at(path), now))) continue;
      const copy = (await textOf(node.at(join(path, CLAIM_FILE.copy))))?.trim();
      if (copy === undefined || !pods.has(copy)) doomed.push(path);
    }
  }
  for (const path of doomed) {
    // Of what stays in the image store after all the kubelet's own sweep knows.
    if (dirname(path) === staged) await dropImported(node, basename(path)).catch(() => undefined);
    await removeTree(node.at(path));
  }
  return doomed;
};
