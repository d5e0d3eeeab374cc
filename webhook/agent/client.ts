/** One agent's road to another. */
import { request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import * as z from 'zod';
import { isErrorCode, ShadowError } from '../api/errors.ts';
import { AGENT } from '../api/names.ts';
import { connectInTime } from '../connect.ts';
import type { Credentials } from './tls.ts';

const Failure = z.object({ code: z.string(), message: z.string(), retryable: z.boolean() });

/** The error as the agent raised it; its message holds the catalogue's already. */
const failureOf = (status: number, body: string): ShadowError => {
  try {
    const { code, message, retryable } = Failure.parse(JSON.parse(body));
    const known = isErrorCode(code) ? code : 'SHADOW_E_INTERNAL';
    const prefix = new ShadowError(known).message;
    const detail = message.startsWith(`${prefix}: `) ? message.slice(prefix.length + 2) : message;
    return new ShadowError(known, detail === prefix ? '' : detail, { retryable });
  } catch {
    return new ShadowError('SHADOW_E_AGENT_UNREACHABLE', `status ${status}`, { retryable: true });
  }
};

export interface AgentTarget {
  /** https://<pod IP>:<port>; the certificate is checked against the name shadow-agent. */
  url: string;
  credentials: () => Credentials;
}

/** The answer's body. Rejects with the other agent's error, or SHADOW_E_AGENT_UNREACHABLE. */
const put = async (target: AgentTarget, path: string, body: Readable): Promise<string> => {
  const { cert, key, ca } = target.credentials();
  const call = httpsRequest(new URL(path, target.url), {
    ...{ method: 'PUT', cert, key, ca, servername: AGENT, agent: false },
    headers: { 'content-type': 'application/x-tar' },
    signal: AbortSignal.timeout(PUT_TIMEOUT_MS),
  });
  connectInTime(call);
  const answer = new Promise<{ status: number; body: string }>((resolve, reject) => {
    call.on('error', reject);
    call.on('response', (response) => {
      text(response).then((answered) => resolve({ status: response.statusCode ?? 0, body: answered }), reject);
    });
  });
  // A refusal in the middle of a body comes as an answer and a broken pipe: the answer says why.
  const broken = pipeline(body, call).then(
    () => undefined,
    (error: unknown) => error,
  );
  try {
    const { status, body: answered } = await answer;
    if (status === 200) return answered;
    throw failureOf(status, answered);
  } catch (error) {
    call.destroy();
    if (error instanceof ShadowError) throw error;
    const cause = (await broken) ?? error;
    throw new ShadowError('SHADOW_E_AGENT_UNREACHABLE', cause instanceof Error ? cause.message : String(cause), {
      cause,
      retryable: true,
    });
  }
};

const PUT_TIMEOUT_MS = 600_000;

/** Streams a checkpoint into another agent; its answer as text. */
export const putCheckpoint = (target: AgentTarget, claim: string, epoch: number, archive: Readable): Promise<string> =>
  put(target, `/v1/receive/${claim}?epoch=${epoch}`, archive);

/** Streams an image with this layer into another agent, for its node's image store; its answer as text. */
export const putImage = (
  target: AgentTarget,
  claim: string,
  epoch: number,
  { digest, size }: { digest: string; size: number },
  archive: Readable,
): Promise<string> => put(target, `/v1/image/${claim}?epoch=${epoch}&digest=${digest}&size=${size}`, archive);

/** Streams the pages of a base (see precopy.ts) into another agent. */
export const putBase = (
  target: AgentTarget,
  claim: string,
  epoch: number,
  id: string,
  pages: Readable,
): Promise<string> => put(target, `/v1/base/${claim}?epoch=${epoch}&id=${id}`, pages);
