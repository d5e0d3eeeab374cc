/** What the commands ask of the API server: one narrow interface, so that a test's stand-in is a few lines. No I/O here. */
import { type Kind, RESOURCE, type Resource } from './kinds.ts';

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'patch' | 'delete';

export interface Call {
  verb: Verb;
  kind: Kind;
  /** Left out of a list: all namespaces. */
  namespace?: string | undefined;
  name?: string;
  query?: Record<string, string>;
  body?: unknown;
  /** Of a patch. `apply` is server-side apply. */
  patch?: 'merge' | 'apply';
}

export interface WatchEvent<T> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: T;
}

export interface Api {
  /** Throws ApiError. */
  call<T>(call: Call): Promise<T>;
  /** Ends when the server ends it; throws ApiError. */
  watch<T>(call: Call, signal: AbortSignal): AsyncIterable<WatchEvent<T>>;
}

/** An answer that is none, or no answer at all (status 0). */
export class ApiError extends Error {
  readonly status: number;
  /** Kubernetes' reason ("NotFound", "AlreadyExists"), or the code of the failed connection ("ECONNREFUSED"). */
  readonly reason: string;
  readonly call: Call;
  constructor(call: Call, status: number, reason: string, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'ApiError';
    this.status = status;
    this.reason = reason;
    this.call = call;
  }
}

export const isNotFound = (error: unknown): error is ApiError => error instanceof ApiError && error.status === 404;

const METHOD: Record<Verb, string> = {
  get: 'GET',
  list: 'GET',
  watch: 'GET',
  create: 'POST',
  patch: 'PATCH',
  delete: 'DELETE',
};
export const methodOf = (call: Call): string => METHOD[call.verb];

export const pathOf = (call: Call): string => {
  const { group, version, plural, namespaced, path }: Resource = RESOURCE[call.kind];
  if (path !== undefined) return path;
  const parts = [group ? `/apis/${group}/${version}` : `/api/${version}`];
  if (namespaced && call.namespace) parts.push('namespaces', encodeURIComponent(call.namespace));
  parts.push(plural);
  if (call.name !== undefined) parts.push(encodeURIComponent(call.name));
  const query = new URLSearchParams(call.query).toString();
  return parts.join('/') + (query ? `?${query}` : '');
};

export const contentTypeOf = (call: Call): string =>
  call.patch === 'apply'
    ? 'application/apply-patch+yaml'
    : call.patch === 'merge'
      ? 'application/merge-patch+json'
      : 'application/json';

/** All items of a list, page by page. */
export const listAll = async <T>(api: Api, call: Omit<Call, 'verb'>): Promise<T[]> => {
  const items: T[] = [];
  let token: string | undefined;
  do {
    const query = { ...call.query, limit: '500', ...(token ? { continue: token } : {}) };
    const page: { metadata: { continue?: string }; items: T[] } = await api.call({ ...call, verb: 'list', query });
    items.push(...page.items);
    token = page.metadata.continue || undefined;
  } while (token);
  return items;
};

/** undefined where the API says there is none. */
export const getOrNone = async <T>(
  api: Api,
  kind: Kind,
  name: string,
  namespace?: string | undefined,
): Promise<T | undefined> => {
  try {
    return await api.call<T>({ verb: 'get', kind, name, namespace });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
};
