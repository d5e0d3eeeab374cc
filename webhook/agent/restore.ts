/** The target's side of a restore: stages what the handler waits for, and waits for the handler. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentRequest, AgentResponse } from '../api/agent.ts';
import { asShadowError, ShadowError } from '../api/errors.ts';
import { NFT, STAGED } from '../api/staging.ts';
import { CLAIM_FILE, checkpoint, isWaiting, staged } from './claims.ts';
import { containersOf } from './containers.ts';
import { dropImported } from './direct.ts';
import { namesIn, removeTree, writeWhole } from './files.ts';
import { removeTable } from './network.ts';
import { CommandError, type Node, textOf } from './node.ts';
import { thaw, unpackVolumes } from './volumes.ts';

const POLL_MS = 10;
const HANDLER_POLL_MS = 20;
const HANDLER_MS = 1_000;

interface Outcome {
  restored: string[];
  failed: string[];
  cancelled: boolean;
  gone: boolean;
}

const observe = async (directory: string): Promise<Outcome> => {
  const names = await namesIn(directory);
  const settled = (list: string[]): string[] => list.filter((name) => !name.endsWith('.new'));
  return {
    restored: settled(await namesIn(join(directory, STAGED.restored))),
    failed: settled(await namesIn(join(directory, STAGED.failed))),
    cancelled: names.includes(STAGED.cancel),
    gone: !names.includes(STAGED.pod),
  };
};

const containersIn = async (directory: string): Promise<string[]> =>
  ((await textOf(join(directory, STAGED.containers))) ?? '').split('\n').filter(Boolean);

/** All restored: true. Not yet: false. Never: throws. */
const isRestored = async (directory: string, containers: readonly string[]): Promise<boolean> => {
  const { restored, failed, cancelled, gone } = await observe(directory);
  const [broken] = failed;
  if (broken !== undefined) {
    const reason = (await textOf(join(directory, STAGED.failed, broken)))?.trim();
    throw new ShadowError('SHADOW_E_RESTORE', `container ${broken}: ${reason}`);
  }
  if (cancelled || gone) throw new ShadowError('SHADOW_E_ABORTED');
  return containers.every((name) => restored.includes(name));
};

const wait = async (directory: string, containers: readonly string[], timeoutMs: number): Promise<void> => {
  const end = performance.now() + timeoutMs;
  while (!(await isRestored(directory, containers))) {
    if (performance.now() > end) {
      const { restored } = await observe(directory);
      const missing = containers.filter((name) => !restored.includes(name));
      throw new ShadowError('SHADOW_E_RESTORE', `${missing.join(', ')} not restored within ${timeoutMs} ms`);
    }
    await sleep(POLL_MS);
  }
};

/** Its volumes are there then, too: the kubelet makes them first. Not for long: the caller may have other wishes by then. */
const awaitHandler = async (node: Node, claim: string): Promise<void> => {
  const end = performance.now() + HANDLER_MS;
  while (!(await isWaiting(node, claim))) {
    const { cancelled, gone } = await observe(node.at(staged(node, claim)));
    if (cancelled || gone) throw new ShadowError('SHADOW_E_ABORTED');
    if (performance.now() > end)
      throw new ShadowError('SHADOW_E_RESTORE', "the copy's pod has not come up yet", { retryable: true });
    await sleep(HANDLER_POLL_MS);
  }
};

/** Binds the claim to the one pod the controller means, then lets the handler go. A second call only waits again. */
const stage = async (node: Node, request: AgentRequest<'restore'>, names: readonly string[]): Promise<void> => {
  const directory = staged(node, request.claim);
  if (names.includes(STAGED.ready)) {
    const uid = (await textOf(node.at(join(directory, CLAIM_FILE.copy))))?.trim();
    if (uid !== request.copy.uid) throw new ShadowError('SHADOW_E_CLAIM', `it was taken by the pod with uid ${uid}`);
    return;
  }
  await unpackVolumes(node, request.copy.uid, directory);
  await writeWhole(node.at(join(directory, CLAIM_FILE.copy)), `${request.copy.uid}\n`);
  await writeWhole(node.at(join(directory, STAGED.oldIP)), `${request.oldIP}\n`);
  if (request.hostname !== undefined)
    await writeWhole(node.at(join(directory, STAGED.hostname)), `${request.hostname}\n`);
  await writeWhole(node.at(join(directory, STAGED.ready)), '');
};

export const restore = async (node: Node, request: AgentRequest<'restore'>): Promise<AgentResponse<'restore'>> => {
  const start = performance.now();
  const directory = node.at(staged(node, request.claim));
  const names = await namesIn(directory);
  const owner = (await textOf(join(directory, STAGED.pod)))?.trim();
  const { namespace, name } = request.copy;
  if (owner !== `${namespace}/${name}`)
    throw new ShadowError('SHADOW_E_CLAIM', `it is for ${owner ?? 'nobody'}, not ${namespace}/${name}`);
  if (!names.includes(CLAIM_FILE.received))
    throw new ShadowError('SHADOW_E_RESTORE', 'the checkpoint is not on this node');
  const containers = await containersIn(directory);
  try {
    if (!names.includes(STAGED.ready)) await awaitHandler(node, request.claim);
    await stage(node, request, names);
    await wait(directory, containers, request.timeoutMs);
  } catch (error) {
    throw asShadowError(error, 'SHADOW_E_RESTORE');
  }
  await thaw(node, request.copy.uid, request.freezeGeneration);
  const ids = await Promise.all(
    containers.map(async (container) => ({
      name: container,
      id: ((await textOf(join(directory, STAGED.restored, container))) ?? '').trim(),
    })),
  );
  return { containers: ids, ms: Math.round(performance.now() - start) };
};

/** Nothing of a restore is left in the copy's network. The fence is the commit's to open, or goes with the pod. */
const cleanNetwork = async (node: Node, claim: string): Promise<void> => {
  const directory = node.at(staged(node, claim));
  const { restored } = await observe(directory);
  // The handler of the last one restored has seen to it, or it would not count as restored.
  if ((await containersIn(directory)).every((name) => restored.includes(name))) return;
  const uid = (await textOf(join(directory, CLAIM_FILE.copy)))?.trim();
  const old = (await textOf(join(directory, STAGED.oldIP)))?.trim();
  const netns = uid === undefined ? undefined : (await containersOf(node, uid))[0]?.netns;
  if (netns === undefined || old === undefined) return;
  try {
    await node.run('ip', ['addr', 'del', `${old}/${old.includes(':') ? 128 : 32}`, 'dev', 'lo'], { netns });
  } catch (error) {
    // The handler took it away, or the namespace is gone.
    if (!(error instanceof CommandError)) throw error;
  }
  await removeTable(node, netns, NFT.restore);
};

/**
 * Files, and what the handler's end may have left. A source's fence is not touched: an abort has lifted it (`resume`), and
 * after a commit the source stays mute until its network is gone with its pod (invariant 4).
 */
export const clean = async (node: Node, claim: string): Promise<void> => {
  const directory = node.at(staged(node, claim));
  if ((await namesIn(directory)).length > 0) {
    await cleanNetwork(node, claim);
    // A handler that still waits must not outlive its claim.
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, STAGED.cancel), '');
  }
  await dropImported(node, claim);
  await removeTree(directory);
  await removeTree(node.at(checkpoint(node, claim)));
  await removeTree(node.at(join(node.layout.epochs, claim)));
};

export const unfence = async (node: Node, podUid: string): Promise<void> => {
  const netns = (await containersOf(node, podUid))[0]?.netns;
  if (netns !== undefined) await removeTable(node, netns, NFT.fence);
};
