/** HTTPS with mTLS: POST /v1/<call>, PUT /v1/{receive,image,base}/<claim>. Callers are told apart by the CN of their certificate. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { ZodError } from 'zod';
import { AGENT_CALLS, type AgentCall } from '../api/agent.ts';
import { asShadowError, type ErrorCode, ShadowError } from '../api/errors.ts';
import type { Calls } from './calls.ts';
import type { Blob } from './image.ts';
import { CALLERS, type Credentials } from './tls.ts';

const BODY_LIMIT = 1 << 20;

const STATUS: Partial<Record<ErrorCode, number>> = {
  SHADOW_E_INVALID: 400,
  SHADOW_E_FORBIDDEN: 403,
  SHADOW_E_CLAIM: 403,
  SHADOW_E_STALE: 409,
};

const statusOf = (error: ShadowError): number => STATUS[error.code] ?? (error.retryable ? 503 : 500);

const isCaller = (name: string): boolean => (CALLERS as readonly string[]).includes(name);

const callerOf = (request: IncomingMessage): string => {
  const { subject } = (request.socket as TLSSocket).getPeerCertificate();
  const names = [subject?.CN ?? ''].flat();
  return names[0] ?? '';
};

const bodyOf = async (request: IncomingMessage): Promise<unknown> => {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_LIMIT) throw new ShadowError('SHADOW_E_INVALID', 'the body is too large');
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString() || '{}');
  } catch (error) {
    throw new ShadowError('SHADOW_E_INVALID', 'the body is not JSON', { cause: error });
  }
};

const isCall = (name: string): name is AgentCall => Object.hasOwn(AGENT_CALLS, name);

const perform = async (calls: Calls, name: AgentCall, body: unknown): Promise<unknown> => {
  const request = AGENT_CALLS[name].request.parse(body);
  // The table above and `Calls` have the same request type per name; a union of functions can't say so.
  return (calls[name] as (request: unknown) => Promise<unknown>)(request);
};

const STREAMED: readonly string[] = ['receive', 'base', 'image'];

const layerOf = ({ searchParams }: URL): Blob => {
  const [digest, size] = [searchParams.get('digest') ?? '', Number(searchParams.get('size') ?? Number.NaN)];
  if (!/^sha256:[0-9a-f]{64}$/.test(digest) || !Number.isSafeInteger(size))
    throw new ShadowError('SHADOW_E_INVALID', 'no layer');
  return { digest, size };
};

const route = async (calls: Calls, request: IncomingMessage): Promise<unknown> => {
  const url = new URL(request.url ?? '/', 'https://shadow-agent');
  const [, version, name = '', claim = ''] = url.pathname.split('/');
  if (version === 'v1' && request.method === 'POST' && isCall(name)) return perform(calls, name, await bodyOf(request));
  if (version === 'v1' && request.method === 'PUT' && STREAMED.includes(name)) {
    const epoch = Number(url.searchParams.get('epoch') ?? Number.NaN);
    if (!Number.isInteger(epoch)) throw new ShadowError('SHADOW_E_INVALID', 'no epoch');
    if (name === 'receive') return calls.receive(claim, epoch, request);
    if (name === 'image') return calls.image(claim, epoch, layerOf(url), request);
    const id = url.searchParams.get('id') ?? '';
    if (!/^[0-9a-f]{16}$/.test(id)) throw new ShadowError('SHADOW_E_INVALID', 'no id');
    return calls.base(claim, epoch, id, request);
  }
  throw new ShadowError('SHADOW_E_INVALID', `no call ${request.method} ${url.pathname}`);
};

const asFailure = (error: unknown): ShadowError =>
  error instanceof ZodError
    ? new ShadowError(
        'SHADOW_E_INVALID',
        error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '),
      )
    : asShadowError(error);

/** After each call: its name, its duration and its error if it failed. */
export type Observer = (call: string, milliseconds: number, error?: ShadowError) => void;

const answer = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
};

const LINGER_MS = 2000;

/** A refused upload: what is still coming is of no use, but a reset would overtake the answer that says why. */
const linger = (request: IncomingMessage): void => {
  request.resume();
  const late = setTimeout(() => request.destroy(), LINGER_MS);
  request.on('close', () => clearTimeout(late));
};

export const agentServer = (calls: Calls, credentials: Credentials, observe: Observer): Server => {
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const start = performance.now();
    const name = (request.url ?? '').split(/[/?]/)[2] ?? '';
    try {
      const caller = callerOf(request);
      if (!isCaller(caller)) throw new ShadowError('SHADOW_E_FORBIDDEN', `caller "${caller}"`);
      answer(response, 200, await route(calls, request));
      observe(name, performance.now() - start);
    } catch (error) {
      const failure = asFailure(error);
      observe(name, performance.now() - start, failure);
      const { code, message, retryable } = failure;
      answer(response, statusOf(failure), { code, message, retryable });
      if (!request.complete) linger(request);
    }
  };
  return createServer(
    { ...credentials, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' },
    (request, response) => {
      void handle(request, response);
    },
  );
};
