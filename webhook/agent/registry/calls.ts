/** The agent's calls of transferMode Registry. */
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import type { AgentRequest, AgentResponse, Image } from '../../api/agent.ts';
import { asShadowError, ShadowError } from '../../api/errors.ts';
import { filesIn, packed } from '../archive.ts';
import { imagesOf } from '../arming.ts';
import { checkpoint } from '../claims.ts';
import { writeWhole } from '../files.ts';
import { type Node, textOf } from '../node.ts';
import { receive } from '../transfer.ts';
import { hasImage, pullLayer, pushImage, removeImage } from './image.ts';
import { drain, Session } from './session.ts';
import { roadTo } from './trust.ts';
import { beginUpload } from './upload.ts';

const within = async <T>(node: Node, image: Image, work: (session: Session) => Promise<T>): Promise<T> => {
  const session = new Session(image, await roadTo(node, image));
  try {
    return await work(session);
  } finally {
    session.close();
  }
};

export const tryRegistry = (node: Node, { image, push }: AgentRequest<'tryRegistry'>): Promise<void> =>
  within(node, image, async (session) => {
    if (push) return (await beginUpload(session)).upload.cancel();
    // The repository is new with its first push: that there is nothing yet is a good answer, too.
    const url = session.url(`manifests/${image.tag}`);
    await drain(await session.ask(['pull'], [200, 404], { method: 'HEAD', url }));
  });

/** Beside the checkpoint, and gone with it: what was put where. */
const PUSHED_FILE = 'pushed.json';
const Pushed = z.object({ host: z.string(), name: z.string(), digest: z.string(), bytes: z.number() });
const pushedFile = (node: Node, claim: string): string => node.at(join(checkpoint(node, claim), PUSHED_FILE));

const pushedOf = async (
  node: Node,
  claim: string,
  { host, name }: Image,
): Promise<z.infer<typeof Pushed> | undefined> => {
  const text = await textOf(pushedFile(node, claim));
  const pushed = text === undefined ? undefined : Pushed.parse(JSON.parse(text));
  return pushed?.host === host && pushed.name === name ? pushed : undefined;
};

export const push = (node: Node, request: AgentRequest<'push'>): Promise<AgentResponse<'push'>> =>
  within(node, request.image, async (session) => {
    const start = performance.now();
    const { claim, image, container } = request;
    const took = (digest: string, bytes: number) => ({ digest, bytes, ms: Math.round(performance.now() - start) });
    const before = await pushedOf(node, claim, image);
    if (before !== undefined && (await hasImage(session, before.digest))) return took(before.digest, before.bytes);
    const images = node.at(imagesOf(node, claim));
    const files = await filesIn(images);
    if (files.length === 0) throw new ShadowError('SHADOW_E_TRANSFER', `claim ${claim} has no checkpoint`);
    const { host, name } = image;
    const layer = (): AsyncIterable<Buffer> => packed(images, files);
    const named = (digest: string, bytes: number) =>
      writeWhole(pushedFile(node, claim), JSON.stringify({ host, name, digest, bytes }));
    const { digest, bytes } = await pushImage(session, layer, container, named);
    return took(digest, bytes);
  });

/** The registry's own errors say more than that the transfer failed. */
export const pull = (node: Node, { claim, image, digest }: AgentRequest<'pull'>): Promise<AgentResponse<'pull'>> =>
  within(node, image, async (session) => {
    const start = performance.now();
    let broken: unknown;
    const watched = async function* (): AsyncGenerator<Buffer> {
      try {
        yield* await pullLayer(session, digest);
      } catch (error) {
        broken = error;
        throw error;
      }
    };
    try {
      const received = await receive(node, claim, Readable.from(watched(), { objectMode: false }));
      return { ...received, ms: Math.round(performance.now() - start) };
    } catch (error) {
      throw broken ?? error;
    }
  });

const TRIES = 3;
const PAUSE_MS = 500;

export const unpush = (node: Node, request: AgentRequest<'unpush'>): Promise<AgentResponse<'unpush'>> =>
  within(node, request.image, async (session) => {
    const { claim, image } = request;
    const digest = request.digest ?? (await pushedOf(node, claim, image))?.digest;
    if (digest === undefined) return { left: '' };
    for (let attempt = 1; ; attempt++) {
      try {
        return { left: await removeImage(session, digest) };
      } catch (error) {
        const known = asShadowError(error);
        // That it can't be removed holds nothing up: it is told.
        if (!known.retryable || attempt >= TRIES) return { left: known.message };
        await sleep(PAUSE_MS * attempt);
      }
    }
  });
