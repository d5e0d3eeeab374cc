/**
 * Agent to agent, over mTLS. The receiver keeps all of a checkpoint apart until its manifest agrees with what was written, then
 * moves it into place; a part is never usable.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { asShadowError, ShadowError } from '../api/errors.ts';
import { filesIn, Received, total, unpackInto } from './archive.ts';
import { CLAIM_FILE, staged } from './claims.ts';
import { namesIn, removeTree, writeWhole } from './files.ts';
import { type Node, textOf } from './node.ts';
import { baseFile, dropBases } from './precopy.ts';

const INCOMING = '.incoming-';

/** Moves what was received into the claim directory and marks it: `restore` asks for the mark. */
const place = async (node: Node, claim: string, from: string, summary: Received): Promise<void> => {
  const directory = node.at(staged(node, claim));
  for (const name of await namesIn(from)) {
    await rm(join(directory, name), { recursive: true, force: true });
    await rename(join(from, name), join(directory, name));
  }
  await writeWhole(join(directory, CLAIM_FILE.received), JSON.stringify(summary));
};

export const requirePrepared = async (node: Node, claim: string): Promise<void> => {
  if (!(await namesIn(node.at(staged(node, claim)))).includes(CLAIM_FILE.attempt))
    throw new ShadowError('SHADOW_E_CLAIM', `claim ${claim} is not prepared on this node`);
};

export const receive = async (node: Node, claim: string, input: Readable): Promise<Received> => {
  await requirePrepared(node, claim);
  const incoming = join(node.at(staged(node, claim)), `${INCOMING}${randomBytes(6).toString('hex')}`);
  await mkdir(incoming, { mode: 0o700 });
  try {
    const summary = await unpackInto(input, incoming, (id) => baseFile(node, claim, id));
    await place(node, claim, incoming, summary);
    await dropBases(node, claim);
    return summary;
  } catch (error) {
    throw asShadowError(error, 'SHADOW_E_TRANSFER');
  } finally {
    await removeTree(incoming);
  }
};

/** Same node: nothing travels. Asked again after the move, it answers the same. */
export const moveHere = async (node: Node, claim: string, images: string): Promise<Received> => {
  await requirePrepared(node, claim);
  const there = (await namesIn(node.at(images))).length > 0;
  const mark = await textOf(join(node.at(staged(node, claim)), CLAIM_FILE.received));
  if (!there && mark !== undefined) return Received.parse(JSON.parse(mark));
  if (!there) throw new ShadowError('SHADOW_E_TRANSFER', `claim ${claim} has no checkpoint`);
  const summary = total(await filesIn(node.at(images)));
  await place(node, claim, node.at(images), summary);
  return summary;
};
