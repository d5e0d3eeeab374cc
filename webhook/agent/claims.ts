/** Claim directories, epochs, and who may touch them. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentRequest, AgentResponse } from '../api/agent.ts';
import { ShadowError } from '../api/errors.ts';
import { STAGED } from '../api/staging.ts';
import { namesIn, removeTree, writeWhole } from './files.ts';
import { isMissing, type Node, textOf } from './node.ts';

/** Beyond STAGED; the handler checks both. `attempt`: nonce of one `prepare`. `copy`: uid of the only pod that may take it. `imported`: an image of it is, or was to be, in the image store. */
export const CLAIM_FILE = {
  attempt: 'attempt',
  copy: 'copy',
  received: 'received',
  fenced: 'fenced',
  imported: 'imported',
} as const;

const isClaim = (claim: string): boolean => /^[0-9a-f][0-9a-f-]{0,80}$/.test(claim);

export const staged = (node: Node, claim: string): string => join(node.layout.staged, claim);
export const checkpoint = (node: Node, claim: string): string => join(node.layout.checkpoints, claim);

/**
 * Refuses a leader that was deposed. Kept on disk: an agent that restarts in the middle of a handoff must not forget the
 * newer leader and obey the older one's late call.
 */
export const checkEpoch = async (node: Node, claim: string, epoch: number): Promise<void> => {
  if (!isClaim(claim)) throw new ShadowError('SHADOW_E_CLAIM', `"${claim}" is not a claim`);
  const file = node.at(join(node.layout.epochs, claim));
  const seen = Number((await textOf(file)) ?? -1);
  if (epoch < seen) throw new ShadowError('SHADOW_E_STALE', `epoch ${epoch}, the leader's is ${seen}`);
  if (epoch > seen) await writeWhole(file, String(epoch));
};

const has = async (node: Node, claim: string, file: string): Promise<boolean> =>
  (await namesIn(node.at(staged(node, claim)))).includes(file);

/** A claim that was cancelled or failed is of no more use; a new attempt starts clean. */
const isSpent = async (node: Node, claim: string): Promise<boolean> =>
  (await has(node, claim, STAGED.cancel)) ||
  (await namesIn(node.at(join(staged(node, claim), STAGED.failed)))).length > 0;

const RESERVED = new Set<string>([...Object.values(STAGED), ...Object.values(CLAIM_FILE), 'locked']);

type Warn = (message: string) => void;

/** kubelet pulls what is missing (it has the pull secrets); pulled here it is there sooner. */
const pull = async (node: Node, images: readonly string[], seen: Set<string>, warn: Warn): Promise<void> => {
  if (images.every((image) => seen.has(image))) return;
  const present = new Set((await node.run('ctr', ['-n', 'k8s.io', 'images', 'ls', '-q'])).split('\n'));
  for (const image of images) if (present.has(image)) seen.add(image);
  const missing = images.filter((image) => !present.has(image));
  await Promise.all(
    missing.map(async (image) => {
      try {
        await node.run('ctr', ['-n', 'k8s.io', 'images', 'pull', image], { timeoutMs: 60_000 });
        seen.add(image);
      } catch (error) {
        warn(`image ${image} is left to the kubelet: ${error instanceof Error ? error.message : error}`);
      }
    }),
  );
};

/** `seen`: images that were here once. Should one be gone since, the kubelet pulls it. */
export const prepare = async (
  node: Node,
  request: AgentRequest<'prepare'>,
  seen: Set<string>,
  warn: Warn,
): Promise<AgentResponse<'prepare'>> => {
  const { claim, copy, containers, images, oldIP, fence = true } = request;
  const clash = containers.find(({ name }) => RESERVED.has(name));
  if (clash) throw new ShadowError('SHADOW_E_UNSUPPORTED', `a container named ${clash.name}; rename it`);
  const directory = node.at(staged(node, claim));
  if (await isSpent(node, claim)) await removeTree(directory);
  await mkdir(directory, { recursive: true });
  const pod = `${copy.namespace}/${copy.name}`;
  const owner = (await textOf(join(directory, STAGED.pod)))?.trim();
  if (owner !== undefined && owner !== pod) throw new ShadowError('SHADOW_E_CLAIM', `it is for ${owner}, not ${pod}`);
  if (!(await has(node, claim, CLAIM_FILE.attempt)))
    await writeWhole(join(directory, CLAIM_FILE.attempt), `${randomUUID()}\n`);
  await writeWhole(join(directory, STAGED.containers), containers.map(({ name }) => `${name}\n`).join(''));
  // Before `pod`, without which no handler goes on.
  if (oldIP !== undefined) await writeWhole(join(directory, STAGED.oldIP), `${oldIP}\n`);
  if (fence) await rm(join(directory, STAGED.open), { force: true });
  else await writeWhole(join(directory, STAGED.open), '');
  await writeWhole(join(directory, STAGED.pod), `${pod}\n`);
  await pull(node, images, seen, warn);
  return { present: images.every((image) => seen.has(image)) };
};

/** The handler's file holds its pid: one that was killed waits no more. */
export const isWaiting = async (node: Node, claim: string): Promise<boolean> => {
  const directory = node.at(join(staged(node, claim), STAGED.waiting));
  for (const name of await namesIn(directory)) {
    const pid = (await textOf(join(directory, name)))?.trim();
    if (pid === undefined || !/^\d+$/.test(pid)) continue;
    const command = await textOf(join(node.layout.proc, pid, 'cmdline'));
    if (command?.includes('shadow-runc')) return true;
  }
  return false;
};

export const cancel = async (node: Node, claim: string): Promise<void> => {
  const directory = node.at(staged(node, claim));
  if ((await textOf(join(directory, STAGED.pod))) !== undefined) await writeWhole(join(directory, STAGED.cancel), '');
};

export const freeBytes = async (node: Node): Promise<number> => {
  const directory = node.at(join(node.layout.staged, '..'));
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch (error) {
    if (isMissing(error)) return 0;
    throw error;
  }
};
