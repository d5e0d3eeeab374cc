/**
 * The Kubernetes API as plain JSON over kept-alive connections. @kubernetes/client-node finds the cluster and signs the
 * requests; its generated clients are left out of the way: a status write is on the pause's critical path, and what they
 * spend on rebuilding every object (dates, classes) is more than the write itself.
 */
import type { OutgoingHttpHeaders } from 'node:http';
import { Agent, type RequestOptions, request } from 'node:https';
import { createInterface } from 'node:readline';
import type { KubeConfig } from '@kubernetes/client-node';
import { asShadowError, ShadowError } from '../api/errors.ts';

export class ApiError extends Error {
  readonly status: number;
  readonly reason: string;
  constructor(status: number, reason: string, message: string) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.reason = reason;
  }
}

export const isStatus = (error: unknown, status: number): boolean =>
  error instanceof ApiError && error.status === status;

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export interface CallOptions {
  query?: Record<string, string | number | undefined>;
  body?: unknown;
  timeoutMs?: number;
}

export interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: unknown;
}

const CONTENT_TYPE: Partial<Record<Method, string>> = { PATCH: 'application/merge-patch+json' };

const errorOf = (status: number, text: string): ApiError => {
  try {
    const body = JSON.parse(text) as { reason?: string; message?: string };
    return new ApiError(status, body.reason ?? '', body.message ?? text);
  } catch {
    return new ApiError(status, '', text || `HTTP ${status}`);
  }
};

export class Rest {
  private readonly config: KubeConfig;
  private readonly server: URL;
  /** Watches never wait for, or hold up, a call. */
  private readonly calls = new Agent({ keepAlive: true, maxSockets: 16, maxFreeSockets: 8 });
  private readonly watches = new Agent({ keepAlive: true });

  constructor(config: KubeConfig) {
    const cluster = config.getCurrentCluster();
    if (cluster === null) throw new Error('no current cluster');
    this.config = config;
    this.server = new URL(cluster.server);
  }

  private async options(method: Method, path: string, query: CallOptions['query'], agent: Agent) {
    const options: RequestOptions = {};
    await this.config.applyToHTTPSOptions(options);
    const url = new URL(`${this.server.pathname.replace(/\/$/, '')}${path}`, this.server);
    for (const [name, value] of Object.entries(query ?? {}))
      if (value !== undefined) url.searchParams.set(name, `${value}`);
    return {
      ...options,
      agent,
      method,
      host: url.hostname,
      port: url.port || 443,
      path: `${url.pathname}${url.search}`,
      headers: { ...(options.headers as OutgoingHttpHeaders), accept: 'application/json' } as OutgoingHttpHeaders,
    };
  }

  async call<T>(method: Method, path: string, { query, body, timeoutMs = 10_000 }: CallOptions = {}): Promise<T> {
    const options = await this.options(method, path, query, this.calls);
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    if (payload !== undefined) {
      options.headers['content-type'] = CONTENT_TYPE[method] ?? 'application/json';
      options.headers['content-length'] = payload.length;
    }
    const send = () =>
      new Promise<T>((resolve, reject) => {
        const signal = AbortSignal.timeout(timeoutMs);
        const call = request({ ...options, signal }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString();
            const status = response.statusCode ?? 0;
            if (status < 200 || status > 299) reject(errorOf(status, text));
            else resolve(JSON.parse(text) as T);
          });
        });
        call.on('error', (error: NodeJS.ErrnoException) => {
          const stale = error.code === 'ECONNRESET' && call.reusedSocket && method === 'GET';
          if (stale) send().then(resolve, reject);
          else reject(error);
        });
        call.end(payload);
      });
    return send();
  }

  /** Resolves when the server ends the watch; rejects on errors, and when nothing at all came for idleMs. */
  async watch(
    path: string,
    query: CallOptions['query'],
    onEvent: (event: WatchEvent) => void,
    { signal, idleMs }: { signal: AbortSignal; idleMs: number },
  ): Promise<void> {
    const options = await this.options('GET', path, { ...query, watch: 'true' }, this.watches);
    await new Promise<void>((resolve, reject) => {
      const call = request({ ...options, signal, timeout: idleMs }, (response) => {
        response.on('error', reject);
        const status = response.statusCode ?? 0;
        if (status !== 200) {
          let text = '';
          response.on('data', (chunk: Buffer) => {
            text += chunk.toString();
          });
          response.on('end', () => reject(errorOf(status, text)));
          return;
        }
        const lines = createInterface(response);
        lines.on('line', (line) => {
          if (line === '') return;
          try {
            onEvent(JSON.parse(line) as WatchEvent);
          } catch (error) {
            call.destroy(error instanceof Error ? error : new Error(String(error)));
          }
        });
        // It passes on the error of what it reads (Node.js 16 and later), which nobody would hear.
        lines.on('error', reject);
        lines.on('close', resolve);
      });
      call.on('timeout', () => call.destroy(new Error(`watch silent for ${idleMs} ms`)));
      call.on('error', reject);
      call.end();
    });
  }
}

/** What the API server said, for people; what may pass by itself (it is busy, down, or out of reach) is retryable. */
export const apiFailure = (error: unknown): ShadowError => {
  if (error instanceof ShadowError) return error;
  if (error instanceof ApiError)
    return new ShadowError('SHADOW_E_API', error.message, {
      cause: error,
      retryable: error.status >= 500 || error.status === 429,
    });
  const { code, name } = (error ?? {}) as NodeJS.ErrnoException;
  const network = (code?.startsWith('E') ?? false) || name === 'AbortError' || name === 'TimeoutError';
  return network
    ? new ShadowError('SHADOW_E_API', String(error), { cause: error, retryable: true })
    : asShadowError(error);
};
