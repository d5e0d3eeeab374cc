import { expect, test } from 'vitest';
import { type Api, ApiError, type Call, type WatchEvent } from '../../../plugin/api.ts';
import { follow } from '../../../plugin/migration/follow.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import { completed, migration, running, uncommitted } from './sample.ts';

const call: Call = { verb: 'list', kind: 'StatefulMigration' };
const same = (state: StatefulMigration): StatefulMigration => ({ ...state, metadata: completed.metadata });
const [first, second, last] = [same(uncommitted), same(running), completed];

type Answer = StatefulMigration[] | Error;
type Events = (WatchEvent<unknown> | Error)[];

/** Answers the lists and watches in turn. */
const server = (lists: Answer[], watches: Events[] = []): Api & { versions: string[] } => {
  const versions: string[] = [];
  return {
    versions,
    async call<T>() {
      const answer = lists.shift();
      if (answer === undefined) throw new Error('one list too many');
      if (answer instanceof Error) throw answer;
      return { metadata: { resourceVersion: String(lists.length) }, items: answer } as T;
    },
    async *watch<T>({ query }: Call) {
      versions.push(query?.resourceVersion ?? '');
      for (const event of watches.shift() ?? []) {
        if (event instanceof Error) throw event;
        yield event as WatchEvent<T>;
      }
    },
  };
};

const phases = async (api: Api): Promise<string[]> => {
  const seen: string[] = [];
  for await (const state of follow(api, completed.metadata, new AbortController().signal)) {
    seen.push(`${state.status?.phase} ${state.status?.handoffs?.length}`);
  }
  return seen;
};
const changed = (object: StatefulMigration): WatchEvent<unknown> => ({ type: 'MODIFIED', object });

test('goes on through failed lists, cut watches and expired versions, from the version listed', async () => {
  const api = server(
    [
      new ApiError(call, 0, 'ECONNREFUSED', 'refused'),
      [first],
      new ApiError(call, 500, '', 'etcd'),
      [second],
      [second],
    ],
    [
      [changed(first), new ApiError(call, 0, 'ECONNRESET', 'cut')],
      [{ type: 'ERROR', object: { code: 410 } }, changed(first)],
      [{ type: 'BOOKMARK', object: {} }, changed(last)],
    ],
  );
  expect(await phases(api)).toEqual(['Restoring 1', 'Restoring 1', 'Restoring 2', 'Restoring 2', 'Completed 2']);
  expect(api.versions).toEqual(['3', '1', '0']);
});

test('ends with the list that shows the end', async () => {
  expect(await phases(server([[last]]))).toEqual(['Completed 2']);
});

test('a deletion is an error, also when another one of that name took its place', async () => {
  const gone = expect.objectContaining({ code: 'SHADOW_E_MIGRATION_NOT_FOUND' });
  await expect(phases(server([[]]))).rejects.toEqual(gone);
  await expect(phases(server([[first]], [[{ type: 'DELETED', object: first }]]))).rejects.toEqual(gone);
  const other = migration(completed.metadata.name, undefined);
  other.metadata.uid = 'another';
  await expect(phases(server([[other]]))).rejects.toEqual(gone);
});

test('a refusal that stays is not asked again', async () => {
  const refused = new ApiError(call, 403, 'Forbidden', 'no');
  await expect(phases(server([refused]))).rejects.toBe(refused);
});

test('stops when told to, within a wait for the next try', async () => {
  const stop = new AbortController();
  const api: Api = {
    call: async () => Promise.reject(new ApiError(call, 0, 'ECONNREFUSED', 'refused')),
    watch: () => server([]).watch(call, stop.signal),
  };
  setTimeout(() => stop.abort(), 50);
  const begun = performance.now();
  for await (const _ of follow(api, completed.metadata, stop.signal)) expect.unreachable();
  expect(performance.now() - begun).toBeLessThan(1000);
});
