/** Every state of migrations that can be seen: list, watch, and again, whatever the API does. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ShadowError } from '../../webhook/api/errors.ts';
import { isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import { type Api, ApiError, type WatchEvent } from '../api.ts';
import type { List } from '../kinds.ts';

/** The server ends a watch after this; one that is silent for longer than SILENT_MS is dead. */
const WATCH_SECONDS = 30;
const SILENT_MS = (WATCH_SECONDS + 10) * 1000;
const BACKOFF_MS = [200, 500, 1000, 2000, 5000];

/** Refusals that will be the same the next time. 410 asks for a new list, 404 is no list of ours. */
const final = (error: unknown): boolean => error instanceof ApiError && [400, 401, 403, 404].includes(error.status);

const pause = (ms: number, signal: AbortSignal): Promise<void> => sleep(ms, undefined, { signal }).catch(() => {});

/** What is listed and watched; no namespace: all. */
interface Scope {
  namespace: string | undefined;
  query?: Record<string, string>;
}

const callOf = ({ namespace, query }: Scope, more: Record<string, string> = {}) =>
  ({ kind: 'StatefulMigration', namespace, query: { ...query, ...more } }) as const;

type Event = WatchEvent<StatefulMigration>;

/** From one watch. Returns when the watch ends. */
async function* watched(api: Api, scope: Scope, resourceVersion: string, signal: AbortSignal): AsyncGenerator<Event> {
  const silent = new AbortController();
  const watchdog = setTimeout(() => silent.abort(), SILENT_MS);
  const call = callOf(scope, { watch: 'true', resourceVersion, timeoutSeconds: String(WATCH_SECONDS) });
  try {
    const events = api.watch<StatefulMigration>({ verb: 'watch', ...call }, AbortSignal.any([signal, silent.signal]));
    for await (const event of events) {
      watchdog.refresh();
      if (event.type === 'ERROR') return;
      if (event.type !== 'BOOKMARK') yield event;
    }
  } finally {
    clearTimeout(watchdog);
  }
}

type Seen = { items: StatefulMigration[] } | { event: Event };

/** A list, what is watched from it on, and again. Ends when `signal` is aborted; throws ApiError for a refusal that stays. */
async function* reflected(api: Api, scope: Scope, signal: AbortSignal): AsyncGenerator<Seen> {
  for (let failures = 0; !signal.aborted; ) {
    try {
      const list = await api.call<List<StatefulMigration>>({ verb: 'list', ...callOf(scope) });
      failures = 0;
      yield { items: list.items };
      for await (const event of watched(api, scope, list.metadata.resourceVersion ?? '', signal)) yield { event };
      await pause(BACKOFF_MS[0]!, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (final(error)) throw error;
      await pause(BACKOFF_MS[Math.min(failures++, BACKOFF_MS.length - 1)]!, signal);
    }
  }
}

interface Target {
  namespace: string;
  name: string;
  uid: string;
}

const gone = ({ name }: Target): ShadowError =>
  new ShadowError('SHADOW_E_MIGRATION_NOT_FOUND', `${name} was deleted while it was waited for`);

const stateOf = (seen: Seen, target: Target): StatefulMigration | undefined => {
  if ('items' in seen) {
    const listed = seen.items.find(({ metadata }) => metadata.uid === target.uid);
    if (!listed) throw gone(target);
    return listed;
  }
  const { type, object } = seen.event;
  if (type === 'DELETED' && object.metadata.uid === target.uid) throw gone(target);
  return type === 'DELETED' ? undefined : object;
};

/**
 * States of one migration. Ends after the state in which it has ended, or when `signal` is aborted. Throws
 * SHADOW_E_MIGRATION_NOT_FOUND when it is deleted, ApiError for a refusal that stays.
 */
export async function* follow(api: Api, target: Target, signal: AbortSignal): AsyncGenerator<StatefulMigration> {
  const query = { fieldSelector: `metadata.name=${target.name}` };
  for await (const seen of reflected(api, { namespace: target.namespace, query }, signal)) {
    const state = stateOf(seen, target);
    if (state === undefined) continue;
    yield state;
    if (isEnded(state)) return;
  }
}

/**
 * States of all migrations of a namespace (undefined: of all), in bunches: first those there are, then each as it changes.
 * Each state is told once, however often it is listed. Ends when `signal` is aborted.
 */
export async function* followAll(
  api: Api,
  namespace: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<StatefulMigration[]> {
  const told = new Map<string, string>();
  const isNew = ({ metadata: { uid, resourceVersion } }: StatefulMigration): boolean =>
    told.get(uid) !== resourceVersion && Boolean(told.set(uid, resourceVersion));
  for await (const seen of reflected(api, { namespace }, signal)) {
    if ('items' in seen) yield seen.items.filter(isNew);
    else if (seen.event.type !== 'DELETED' && isNew(seen.event.object)) yield [seen.event.object];
  }
}
