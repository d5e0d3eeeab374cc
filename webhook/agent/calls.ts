/** The calls of the contract (webhook/api/agent.ts), each put to the module that does it. */
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { AgentCall, AgentRequest, AgentResponse } from '../api/agent.ts';
import { asShadowError, ShadowError } from '../api/errors.ts';
import type { Driver as DriverName } from '../api/migration.ts';
import { cancel, checkEpoch, checkpoint, isWaiting, prepare } from './claims.ts';
import { type AgentTarget, putCheckpoint, putRehearsal } from './client.ts';
import { cut, imagesOf, killApp, resumeSource } from './cut.ts';
import type { Driver } from './drivers.ts';
import { facts } from './facts.ts';
import { removeTree } from './files.ts';
import { inspect } from './inspect.ts';
import type { Node } from './node.ts';
import { clean, restore, unfence } from './restore.ts';
import type { Credentials } from './tls.ts';
import { filesIn, moveHere, packed, Received, receive } from './transfer.ts';

export interface Context {
  node: Node;
  drivers: Record<DriverName, Driver>;
  credentials: () => Credentials;
  warn: (message: string) => void;
}

export type Calls = { [C in AgentCall]: (request: AgentRequest<C>) => Promise<AgentResponse<C>> } & {
  receive: (claim: string, epoch: number, input: Readable, use: 'checkpoint' | 'rehearsal') => Promise<Received>;
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

const REHEARSAL_BYTES = 24 << 20;

const rehearse = async (
  { node, credentials }: Context,
  { claim, epoch, target }: AgentRequest<'rehearse'>,
): Promise<AgentResponse<'rehearse'>> => {
  const start = performance.now();
  if (target.node === node.name) return { ms: 0 };
  const directory = node.at(join(checkpoint(node, claim), 'rehearsal'));
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeFile(join(directory, 'bytes'), '');
    await truncate(join(directory, 'bytes'), REHEARSAL_BYTES);
    await putRehearsal({ url: target.url, credentials }, claim, epoch, packed(directory, await filesIn(directory)));
    return { ms: Math.round(performance.now() - start) };
  } finally {
    await removeTree(directory);
  }
};

const send = async ({ node, credentials }: Context, request: AgentRequest<'send'>): Promise<AgentResponse<'send'>> => {
  const start = performance.now();
  const images = imagesOf(node, request.claim);
  const took = (sent: Received): AgentResponse<'send'> => ({ ...sent, ms: Math.round(performance.now() - start) });
  if (request.target.node === node.name) return took(await moveHere(node, request.claim, images));
  const target: AgentTarget = { url: request.target.url, credentials };
  try {
    const archive = packed(node.at(images), await filesIn(node.at(images)));
    const answer = await putCheckpoint(target, request.claim, request.epoch, archive);
    return took(Received.parse(JSON.parse(answer)));
  } catch (error) {
    // The other agent's own refusals (stale, not prepared, damaged) say more than that it failed.
    if (error instanceof ShadowError && error.code !== 'SHADOW_E_AGENT_UNREACHABLE') throw error;
    const { message } = asShadowError(error);
    throw new ShadowError('SHADOW_E_TRANSFER', message, { cause: error, retryable: true });
  }
};

export const calls = (context: Context): Calls => {
  const { node, drivers, warn } = context;
  const serially = serializer();
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
    inspect: (request) => inspect(node, request),
    prepare: (request) => guarded(request, 'target', () => done(prepare(node, request, warn))),
    waiting: (request) => guarded(request, 'now', async () => ({ waiting: await isWaiting(node, request.claim) })),
    cut: (request) => guarded(request, 'source', () => cut(node, drivers[request.driver], request)),
    rehearse: (request) => guarded(request, 'send', () => rehearse(context, request)),
    send: (request) => guarded(request, 'send', () => send(context, request)),
    restore: (request) => guarded(request, 'target', () => restore(node, request)),
    cancel: (request) => guarded(request, 'now', () => done(cancel(node, request.claim))),
    unfence: (request) => guarded(request, 'now', () => done(unfence(node, request.pod.uid))),
    resume: (request) => guarded(request, 'source', () => done(resumeSource(node, request.claim, request.pod.uid))),
    kill: (request) => guarded(request, 'source', () => done(killApp(node, request))),
    clean: (request) => guarded(request, 'source', () => done(clean(node, request.claim))),
    receive: (claim, epoch, input, use) => guarded({ claim, epoch }, 'send', () => receive(node, claim, input, use)),
  };
};
