/** The calls of the contract (webhook/api/agent.ts), each put to the module that does it. */
import type { Readable } from 'node:stream';
import type { AgentCall, AgentRequest, AgentResponse } from '../api/agent.ts';
import { asShadowError, ShadowError } from '../api/errors.ts';
import type { Driver as DriverName } from '../api/migration.ts';
import { filesIn, packed, Received } from './archive.ts';
import { Armoury, imagesOf } from './arming.ts';
import { cancel, checkEpoch, isWaiting, prepare } from './claims.ts';
import { type AgentTarget, putBase, putCheckpoint, putImage } from './client.ts';
import { cut, fenceSource, forwardSource, isCut, killApp, resumeSource } from './cut.ts';
import { imageArchive, receiveImage, tryImageStore } from './direct.ts';
import { divertSource, stillSource } from './divert.ts';
import type { Driver } from './drivers.ts';
import { examine } from './examine.ts';
import { facts } from './facts.ts';
import type { Blob } from './image.ts';
import { inspect } from './inspect.ts';
import { PAGE } from './memory.ts';
import type { Node } from './node.ts';
import { type Base, baseStream, keepBase, newBase } from './precopy.ts';
import { pull, push, tryRegistry, unpush } from './registry/calls.ts';
import { clean, restore, unfence } from './restore.ts';
import type { Credentials } from './tls.ts';
import { moveHere, receive, requirePrepared } from './transfer.ts';

export interface Context {
  node: Node;
  drivers: Record<DriverName, Driver>;
  credentials: () => Credentials;
  /** Why the kubelet's checkpoint API can't be used; empty: it can. */
  checkpointApi: () => Promise<string>;
  warn: (message: string) => void;
}

export type Calls = { [C in AgentCall]: (request: AgentRequest<C>) => Promise<AgentResponse<C>> } & {
  receive: (claim: string, epoch: number, input: Readable) => Promise<Received>;
  image: (claim: string, epoch: number, layer: Blob, input: Readable) => Promise<Received>;
  base: (claim: string, epoch: number, id: string, input: Readable) => Promise<Record<string, never>>;
};

/** One at a time per key, in order of arrival. */
const serializer = (): (<T>(key: string, work: () => Promise<T>) => Promise<T>) => {
  const tails = new Map<string, Promise<unknown>>();
  return async (key, work) => {
    const before = tails.get(key) ?? Promise.resolve();
    const mine = before.then(work, work);
    const tail = mine.catch(() => undefined);
    tails.set(key, tail);
    try {
      return await mine;
    } finally {
      if (tails.get(key) === tail) tails.delete(key);
    }
  };
};

/** What was sent ahead, by claim. Lost with the process: the checkpoint then travels whole. */
type Bases = Map<string, Base>;

const precopy = async (
  { node, credentials }: Context,
  bases: Bases,
  request: AgentRequest<'precopy'>,
): Promise<AgentResponse<'precopy'>> => {
  const start = performance.now();
  const { claim, epoch, target } = request;
  const took = (bytes: number) => ({ bytes, ms: Math.round(performance.now() - start) });
  if (target.node === node.name) return took(0);
  bases.delete(claim);
  const base = newBase();
  await putBase({ url: target.url, credentials }, claim, epoch, base.id, baseStream(node, request, base));
  if (base.index.count > 0) bases.set(claim, base);
  return took(base.index.count * PAGE);
};

/** The other agent's own refusals (stale, not prepared, damaged) say more than that it failed. */
const asTransferError = (error: unknown): ShadowError => {
  if (error instanceof ShadowError && error.code !== 'SHADOW_E_AGENT_UNREACHABLE') return error;
  const { message } = asShadowError(error);
  return new ShadowError('SHADOW_E_TRANSFER', message, { cause: error, retryable: true });
};

const send = async (
  { node, credentials }: Context,
  base: Base | undefined,
  request: AgentRequest<'send'>,
): Promise<AgentResponse<'send'>> => {
  const start = performance.now();
  const images = imagesOf(node, request.claim);
  const took = (received: Received, sent: number): AgentResponse<'send'> => ({
    ...received,
    sent,
    ms: Math.round(performance.now() - start),
  });
  if (request.target.node === node.name) return took(await moveHere(node, request.claim, images), 0);
  const target: AgentTarget = { url: request.target.url, credentials };
  let sent = 0;
  try {
    const archive = packed(node.at(images), await filesIn(node.at(images)), {
      base,
      entered: (bytes) => {
        sent += bytes;
      },
    });
    return took(Received.parse(JSON.parse(await putCheckpoint(target, request.claim, request.epoch, archive))), sent);
  } catch (error) {
    const known = asTransferError(error);
    if (base === undefined || known.retryable || known.code !== 'SHADOW_E_TRANSFER') throw known;
    // Whatever was wrong with what went ahead: the next try goes without it.
    throw new ShadowError(known.code, 'the memory sent ahead was of no use', { cause: known, retryable: true });
  }
};

const sendImage = async (
  { node, credentials }: Context,
  { claim, epoch, container, target: { url } }: AgentRequest<'sendImage'>,
): Promise<AgentResponse<'sendImage'>> => {
  const start = performance.now();
  const { layer, archive } = await imageArchive(node, claim, container);
  try {
    const answer = await putImage({ url, credentials }, claim, epoch, layer, archive);
    return { ...Received.parse(JSON.parse(answer)), ms: Math.round(performance.now() - start) };
  } catch (error) {
    throw asTransferError(error);
  }
};

export const calls = (context: Context): Calls => {
  const { node, drivers, warn } = context;
  const serially = serializer();
  const bases: Bases = new Map();
  const armoury = new Armoury();
  const seen = new Set<string>();
  /**
   * Every call with a claim first proves its epoch. Source's and target's work on one claim wait for their own side only;
   * `waiting` and `cancel` wait for nothing: they must reach a handler while `restore` waits for it.
   */
  const guarded = async <T>(
    request: { claim: string; epoch: number },
    side: 'source' | 'target' | 'send' | 'now',
    work: () => Promise<T>,
  ): Promise<T> => {
    await serially(`epoch ${request.claim}`, () => checkEpoch(node, request.claim, request.epoch));
    return side === 'now' ? work() : serially(`${side} ${request.claim}`, work);
  };
  const done = async (work: Promise<void>): Promise<Record<string, never>> => {
    await work;
    return {};
  };
  return {
    node: () => facts(node),
    examine: () => examine(node, context.checkpointApi),
    inspect: (request) => inspect(node, request),
    prepare: (request) => guarded(request, 'target', () => prepare(node, request, seen, warn)),
    waiting: (request) => guarded(request, 'now', async () => ({ waiting: await isWaiting(node, request.claim) })),
    arm: (request) =>
      guarded(request, 'source', async () => {
        if (!(await isCut(node, request.claim))) await armoury.arm(node, drivers[request.driver], request);
        return {};
      }),
    cut: (request) => guarded(request, 'source', () => cut(node, drivers[request.driver], request, armoury)),
    precopy: (request) => guarded(request, 'send', () => precopy(context, bases, request)),
    send: (request) =>
      guarded(request, 'send', () => {
        const base = bases.get(request.claim);
        // Used once: a try after a failure takes nothing for granted.
        bases.delete(request.claim);
        return send(context, base, request);
      }),
    tryImageStore: () => done(tryImageStore(node)),
    sendImage: (request) => guarded(request, 'send', () => sendImage(context, request)),
    tryRegistry: (request) => done(tryRegistry(node, request)),
    push: (request) => guarded(request, 'send', () => push(node, request)),
    pull: (request) => guarded(request, 'send', () => pull(node, request)),
    unpush: (request) => guarded(request, 'send', () => unpush(node, request)),
    restore: (request) => guarded(request, 'target', () => restore(node, request)),
    cancel: (request) => guarded(request, 'now', () => done(cancel(node, request.claim))),
    unfence: (request) => guarded(request, 'now', () => done(unfence(node, request.pod.uid))),
    fence: (request) => guarded(request, 'source', () => done(fenceSource(node, request.pod.uid))),
    forward: (request) => guarded(request, 'source', () => forwardSource(node, request)),
    divert: (request) => guarded(request, 'source', () => done(divertSource(node, request))),
    still: (request) => guarded(request, 'source', async () => ({ still: await stillSource(node, request, warn) })),
    resume: (request) =>
      guarded(request, 'source', async () => {
        await armoury.drop(request.claim);
        return done(resumeSource(node, request.claim, request.pod.uid));
      }),
    kill: (request) => guarded(request, 'source', () => done(killApp(node, request))),
    clean: (request) =>
      guarded(request, 'source', async () => {
        bases.delete(request.claim);
        await armoury.drop(request.claim);
        return done(clean(node, request.claim));
      }),
    receive: (claim, epoch, input) => guarded({ claim, epoch }, 'send', () => receive(node, claim, input)),
    image: (claim, epoch, layer, input) =>
      guarded({ claim, epoch }, 'send', () => receiveImage(node, claim, layer, input)),
    base: (claim, epoch, id, input) =>
      guarded({ claim, epoch }, 'send', async () => {
        await requirePrepared(node, claim);
        return done(keepBase(node, claim, id, input));
      }),
  };
};
