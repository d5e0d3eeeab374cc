/** Server-side apply of the base, as `kubectl apply --server-side --force-conflicts` does it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Api, ApiError, isNotFound } from '../api.ts';
import { type Kind, nameOf, type Obj, RESOURCE } from '../kinds.ts';

export const FIELD_MANAGER = 'kubectl-shadow';
export type DryRun = 'none' | 'client' | 'server';

/** Worth another try: the server is starting, busy, or another writer was between. */
const passing = (error: unknown): boolean =>
  error instanceof ApiError && (error.status === 409 || error.status === 429 || error.status >= 500);

const ATTEMPTS = 5;

const applyOne = async (api: Api, object: Obj, dryRun: boolean): Promise<Obj> => {
  const kind = object.kind as Kind;
  const call = {
    verb: 'patch',
    patch: 'apply',
    kind,
    name: object.metadata.name,
    namespace: RESOURCE[kind].namespaced ? object.metadata.namespace : undefined,
    query: { fieldManager: FIELD_MANAGER, force: 'true', ...(dryRun ? { dryRun: 'All' } : {}) },
    body: object,
  } as const;
  for (let attempt = 1; ; attempt++) {
    try {
      return await api.call<Obj>(call);
    } catch (error) {
      if (!passing(error) || attempt === ATTEMPTS) throw error;
      await sleep(attempt * 500);
    }
  }
};

/** In the order given. `done` is told each object as the server now has it, with the line kubectl would print. */
export const applyAll = async (
  api: Api,
  objects: readonly Obj[],
  dryRun: 'none' | 'server',
  done: (object: Obj, line: string) => void,
): Promise<void> => {
  for (const object of objects) {
    const name = nameOf(object.kind as Kind, object.metadata.name);
    try {
      const applied = await applyOne(api, object, dryRun === 'server');
      done(applied, `${name} serverside-applied${dryRun === 'server' ? ' (server dry run)' : ''}`);
    } catch (error) {
      // A dry run has made no namespace; what would be in it can't be tried.
      if (dryRun !== 'server' || !isNotFound(error) || !error.message.startsWith('namespaces ')) throw error;
      done(object, `${name} not tried: its namespace does not exist yet (server dry run)`);
    }
  }
};
