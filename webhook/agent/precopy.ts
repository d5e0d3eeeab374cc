/**
 * Pre-copy: memory goes to the target while the app still runs, so that of the checkpoint, for which it stands still, only what
 * has changed since has to travel. The source keeps where each page of this *base* is, the target keeps the pages; what is made
 * of them is proven by the checkpoint's own digests.
 */
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { AgentRequest } from '../api/agent.ts';
import { staged } from './claims.ts';
import { containersOf, pidsOf } from './containers.ts';
import { namesIn } from './files.ts';
import { ownBytes, ownPages } from './memory.ts';
import type { Node } from './node.ts';
import { PageIndex } from './pages.ts';

/** Beyond it a pod's memory is not sent ahead: what is kept of each page here is some hundred bytes. */
const BASE_LIMIT = 1 << 30;

export interface Base {
  /** Names it at the target. */
  readonly id: string;
  readonly index: PageIndex;
}

export const newBase = (): Base => ({ id: randomBytes(8).toString('hex'), index: new PageIndex() });

/** Every process of the pod's cloned containers. */
const clonedPids = async (node: Node, { pod, containers }: AgentRequest<'precopy'>): Promise<number[]> => {
  const names = new Set(containers.map(({ name }) => name));
  const cloned = (await containersOf(node, pod.uid)).filter(({ name, sandbox }) => !sandbox && names.has(name));
  return (await Promise.all(cloned.map((container) => pidsOf(node, container)))).flat();
};

const heldBytes = async (node: Node, pids: readonly number[]): Promise<number> => {
  const held = await Promise.all(pids.map((pid) => ownBytes(node.layout.proc, pid)));
  return held.reduce((sum, bytes) => sum + bytes, 0);
};

/** The pages of the pod's cloned containers, indexed as they pass; none where it holds too few of them. */
async function* basePages(node: Node, request: AgentRequest<'precopy'>, base: Base): AsyncGenerator<Buffer> {
  const pids = await clonedPids(node, request);
  if (request.atLeast !== undefined && (await heldBytes(node, pids)) < request.atLeast) return;
  let left = BASE_LIMIT;
  for (const pid of pids) {
    try {
      for await (const pages of ownPages(node.layout.proc, pid)) {
        left -= pages.length;
        if (left < 0) return;
        base.index.add(pages);
        yield pages;
      }
    } catch {
      // It ended meanwhile. Whatever was not read travels with the checkpoint.
    }
  }
}

export const baseStream = (node: Node, request: AgentRequest<'precopy'>, base: Base): Readable =>
  Readable.from(basePages(node, request, base), { objectMode: false, highWaterMark: 4 << 20 });

const BASE_FILE = '.base-';
export const baseFile = (node: Node, claim: string, id: string): string =>
  node.at(join(staged(node, claim), `${BASE_FILE}${id}`));

/** A base of an earlier try is of no use any more. */
export const dropBases = async (node: Node, claim: string): Promise<void> => {
  const directory = node.at(staged(node, claim));
  const old = (await namesIn(directory)).filter((name) => name.startsWith(BASE_FILE));
  await Promise.all(old.map((name) => rm(join(directory, name), { force: true })));
};

export const keepBase = async (node: Node, claim: string, id: string, input: Readable): Promise<void> => {
  await dropBases(node, claim);
  await pipeline(input, createWriteStream(baseFile(node, claim, id), { flags: 'wx', mode: 0o600 }));
};
