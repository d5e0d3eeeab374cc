/** Every state of one migration that can be seen, until it is over: list, watch, and again, whatever the API does. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ShadowError } from '../../webhook/api/errors.ts';
import { isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import { type Api, ApiError } from '../api.ts';
import type { List } from '../kinds.ts';

/** The server ends a watch after this; one that is silent for longer than SILENT_MS is dead. */
const WATCH_SECONDS = 30;
const SILENT_MS = (WATCH_SECONDS + 10) * 1000;
const BACKOFF_MS = [200, 500, 1000, 2000, 5000];

/** Refusals that will be the same the next time. 410 asks for a new list, 404 is no list of ours. */
const final = (error: unknown): boolean => error instanceof ApiError && [400, 401, 403, 404].includes(error.status);

const pause = (ms: number, signal: AbortSignal): Promise<void> => sleep(ms, undefined, { signal }).catch(() => {});

interface Target {
  namespace: string;
  name: string;
  uid: string;
}

const callOf = ({ namespace, name }: Target, query: Record<string, string> = {}) =>
  ({ kind: 'StatefulMigration', namespace, query: { fieldSelector: `metadata.name=${name}`, ...query } }) as const;

const gone = ({ name }: Target): ShadowError =>
  new ShadowError('SHADOW_E_MIGRATION_NOT_FOUND', `${name} was deleted while it was waited for`);

/** States from one watch. Returns when the watch ends. */
async function* watched(
  api: Api,
  target: Target,
  resourceVersion: string,
  signal: AbortSignal,
): AsyncGenerator<StatefulMigration> {
  const silent = new AbortController();
  const watchdog = setTimeout(() => silent.abort(), SILENT_MS);
  const call = callOf(target, { watch: 'true', resourceVersion, timeoutSeconds: String(WATCH_SECONDS) });
  try {
    const events = api.watch<StatefulMigration>({ verb: 'watch', ...call }, AbortSignal.any([signal, silent.signal]));
    for await (const { type, object } of events) {
      watchdog.refresh();
      if (type === 'ERROR') return;
      if (type === 'DELETED' && object.metadata.uid === target.uid) throw gone(target);
      if (type === 'ADDED' || type === 'MODIFIED') yield object;
    }
  } finally {
    clearTimeout(watchdog);
  }
}

/**
 * Ends after the state in which the migration has ended, or when `signal` is aborted. Throws SHADOW_E_MIGRATION_NOT_FOUND
 * when it is deleted, ApiError for a refusal that stays.
 */
export async function* follow(api: Api, target: Target, signal: AbortSignal): AsyncGenerator<StatefulMigration> {
  for (let failures = 0; !signal.aborted; ) {
    try {
      const list = await api.call<List<StatefulMigration>>({ verb: 'list', ...callOf(target) });
      const listed = list.items.find(({ metadata }) => metadata.uid === target.uid);
      if (!listed) throw gone(target);
      failures = 0;
      yield listed;
      if (isEnded(listed)) return;
      for await (const state of watched(api, target, list.metadata.resourceVersion ?? '', signal)) {
        yield state;
        if (isEnded(state)) return;
      }
      await pause(BACKOFF_MS[0]!, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ShadowError || final(error)) throw error;
      await pause(BACKOFF_MS[Math.min(failures++, BACKOFF_MS.length - 1)]!, signal);
    }
  }
}
