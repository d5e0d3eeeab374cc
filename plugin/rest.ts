/** The Api over HTTPS: the user's kubeconfig read by @kubernetes/client-node, requests made with node's own client. */
import { existsSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { delimiter } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { ShadowError } from '../webhook/api/errors.ts';
import { type Api, ApiError, type Call, contentTypeOf, methodOf, pathOf, type WatchEvent } from './api.ts';

export interface ConnectionFlags {
  kubeconfig?: string | undefined;
  context?: string | undefined;
  cluster?: string | undefined;
  user?: string | undefined;
  as?: string | undefined;
  asGroup?: readonly string[] | undefined;
  /** Milliseconds; 0: none. */
  requestTimeoutMs: number;
}

export interface Connection {
  api: Api;
  /** Of the context; "default" where it names none. */
  namespace: string;
}

/** As kubectl merges $KUBECONFIG: files that are not there are passed over, the first to name something wins. */
const loadMerged = (config: KubeConfig, files: readonly string[]): void => {
  config.loadFromFile(files[0]!);
  for (const file of files.slice(1)) {
    const next = new KubeConfig();
    next.loadFromFile(file);
    for (const cluster of next.clusters) if (!config.getCluster(cluster.name)) config.addCluster(cluster);
    for (const user of next.users) if (!config.getUser(user.name)) config.addUser(user);
    for (const context of next.contexts) if (!config.getContextObject(context.name)) config.addContext(context);
    if (!config.currentContext) config.setCurrentContext(next.currentContext);
  }
};

const readConfig = (kubeconfig: string | undefined): KubeConfig => {
  const config = new KubeConfig();
  const files = (process.env.KUBECONFIG ?? '').split(delimiter).filter((file) => file && existsSync(file));
  if (kubeconfig) config.loadFromFile(kubeconfig);
  else if (files.length > 0) loadMerged(config, files);
  else if (process.env.KUBECONFIG) throw new Error(`no such file: ${process.env.KUBECONFIG} (KUBECONFIG)`);
  else config.loadFromDefault();
  return config;
};

/** The names in the kubeconfig, for the completion of flags. Throws what is wrong with it. */
export const configuredNames = (kubeconfig: string | undefined, kind: 'contexts' | 'clusters' | 'users'): string[] =>
  readConfig(kubeconfig)[kind].map(({ name }) => name);

const loadConfig = (flags: ConnectionFlags): KubeConfig => {
  const config = readConfig(flags.kubeconfig);
  // What the library makes up where it finds nothing.
  if (config.getCurrentCluster()?.server === 'http://localhost:8080') {
    throw new Error('no kubeconfig was found; set KUBECONFIG or give --kubeconfig');
  }
  if (flags.context) config.setCurrentContext(flags.context);
  const context = config.getContextObject(config.currentContext);
  if (!context) {
    throw new Error(
      config.currentContext ? `there is no context "${config.currentContext}" in the kubeconfig` : 'no current context',
    );
  }
  const chosen = { ...context, cluster: flags.cluster ?? context.cluster, user: flags.user ?? context.user };
  config.contexts = config.contexts.map((each) => (each === context ? chosen : each));
  if (!config.getCurrentCluster()) throw new Error(`there is no cluster "${chosen.cluster}" in the kubeconfig`);
  return config;
};

const headersOf = (call: Call, flags: ConnectionFlags, length: number): http.OutgoingHttpHeaders => ({
  Accept: 'application/json',
  'User-Agent': 'kubectl-shadow',
  ...(length > 0 ? { 'Content-Type': contentTypeOf(call), 'Content-Length': length } : {}),
  ...(flags.as ? { 'Impersonate-User': flags.as } : {}),
  ...(flags.asGroup?.length ? { 'Impersonate-Group': [...flags.asGroup] } : {}),
});

const failureOf = (call: Call, error: unknown): ApiError => {
  const { code, message } = error as NodeJS.ErrnoException;
  return new ApiError(call, 0, code ?? '', message || code || String(error), { cause: error });
};

const open = async (
  config: KubeConfig,
  flags: ConnectionFlags,
  call: Call,
  signal?: AbortSignal,
): Promise<http.IncomingMessage> => {
  const url = new URL(config.getCurrentCluster()!.server.replace(/\/+$/, '') + pathOf(call));
  const options: https.RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    throw failureOf(call, error);
  }
  const body = call.body === undefined ? '' : JSON.stringify(call.body);
  const length = Buffer.byteLength(body);
  options.method = methodOf(call);
  options.headers = { ...options.headers, ...headersOf(call, flags, length) } as http.OutgoingHttpHeaders;
  if (signal) options.signal = signal;
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'http:' ? http : https).request(url, options, resolve);
    request.on('error', (error) => reject(failureOf(call, error)));
    // A watch may be silent for long; for all else this is how long an unanswered call takes to fail.
    if (call.verb !== 'watch' && flags.requestTimeoutMs > 0) {
      request.setTimeout(flags.requestTimeoutMs, () =>
        request.destroy(Object.assign(new Error('no answer within --request-timeout'), { code: 'ETIMEDOUT' })),
      );
    }
    request.end(body);
  });
};

const textOf = async (call: Call, response: http.IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer);
  } catch (error) {
    throw failureOf(call, error);
  }
  return Buffer.concat(chunks).toString('utf8');
};

/** A connection that is cut just ends the lines: a watch may end at any time, and its reader lists again. */
async function* linesOf(response: http.IncomingMessage): AsyncGenerator<string> {
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of response) {
      const lines = (rest + (chunk as string)).split('\n');
      rest = lines.pop()!;
      yield* lines;
    }
  } catch {}
}

const refusalOf = (call: Call, status: number, text: string): ApiError => {
  try {
    const body = JSON.parse(text) as { reason?: string; message?: string };
    return new ApiError(call, status, body.reason ?? '', body.message ?? `status ${status}`);
  } catch {
    return new ApiError(call, status, '', text.trim().slice(0, 300) || `status ${status}`);
  }
};

/** Reads the kubeconfig; no request is made yet. Throws SHADOW_E_API naming what the kubeconfig lacks. */
export const connect = (flags: ConnectionFlags): Connection => {
  let config: KubeConfig;
  try {
    config = loadConfig(flags);
  } catch (error) {
    throw new ShadowError('SHADOW_E_API', (error as Error).message, { cause: error });
  }
  const api: Api = {
    async call<T>(call: Call): Promise<T> {
      const response = await open(config, flags, call);
      const text = await textOf(call, response);
      const status = response.statusCode ?? 0;
      if (status < 200 || status > 299) throw refusalOf(call, status, text);
      return JSON.parse(text) as T;
    },
    async *watch<T>(call: Call, signal: AbortSignal) {
      const response = await open(config, flags, { ...call, verb: 'watch' }, signal);
      const status = response.statusCode ?? 0;
      if (status !== 200) throw refusalOf(call, status, await textOf(call, response));
      for await (const line of linesOf(response)) if (line) yield JSON.parse(line) as WatchEvent<T>;
    },
  };
  return { api, namespace: config.getContextObject(config.currentContext)?.namespace || 'default' };
};
