/** What is asked of the API server, and what is left in it. */
import { describe, expect, test } from 'vitest';
import { type Api, ApiError, type Call, type WatchEvent } from '../../../plugin/api.ts';
import { CLUSTER_CHECKS } from '../../../plugin/check/catalogue.ts';
import { evaluate } from '../../../plugin/check/evaluate.ts';
import { factOf, gather } from '../../../plugin/check/gather.ts';
import { dryRun } from '../../../plugin/migration/dryrun.ts';
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';

const refusal = (call: Call, status: number, message = 'no') => new ApiError(call, status, '', message);

describe('facts', () => {
  test('what the API server says is told apart: none, not yours, its own words, no answer', async () => {
    const call: Call = { verb: 'get', kind: 'Node' };
    expect(await factOf(Promise.resolve(1))).toEqual({ got: 1 });
    expect(await factOf(Promise.reject(refusal(call, 404)))).toEqual({ absent: true });
    expect(await factOf(Promise.reject(refusal(call, 403, 'bob')))).toEqual({ denied: 'bob' });
    expect(await factOf(Promise.reject(refusal(call, 500, 'x509')))).toEqual({ failed: 'x509' });
    expect(await factOf(Promise.reject(new ShadowError('SHADOW_E_BUSY', 'm', { hint: 'wait' })))).toMatchObject({
      failed: expect.stringContaining('m'),
      hint: 'wait',
    });
    expect(await factOf(new Promise(() => {}), 20)).toMatchObject({ failed: expect.stringContaining('no answer') });
  });

  test('nothing is changed by asking: creates are dry runs, or reviews that are no objects', async () => {
    const calls: Call[] = [];
    let version = 0;
    const api: Api = {
      async call<T>(call: Call) {
        calls.push(call);
        if (call.kind === 'StatefulMigration') throw refusal(call, 403, 'denied the request: SHADOW_E_INVALID: x');
        if (call.verb === 'list') return { metadata: {}, items: [] } as T;
        const metadata = { name: 'x', resourceVersion: String(version++) };
        return { metadata, spec: { holderIdentity: 'a/1', versions: [] }, status: { allowed: true } } as T;
      },
      watch: () => {
        throw new Error('no watch');
      },
    };
    const facts = await gather(api, 'shop');
    const writes = calls.filter(({ verb }) => !['get', 'list'].includes(verb));
    expect(writes.length).toBeGreaterThan(5);
    for (const { verb, kind, query } of writes)
      expect([verb, kind === 'SelfSubjectAccessReview' || query?.dryRun]).toEqual([
        'create',
        kind === 'SelfSubjectAccessReview' ? true : 'All',
      ]);
    expect(calls.filter(({ kind }) => kind === 'Secret')).toHaveLength(3);
    calls.length = 0;
    await gather(api, 'shop', false);
    expect(calls.filter(({ kind }) => kind === 'Secret')).toEqual([]);
    expect(facts).toMatchObject({ validation: { got: 'refused' }, lease: { got: { renewed: true } } });
    expect(facts.rights.every(({ allowed }) => 'got' in allowed && allowed.got)).toBe(true);
  });

  test('a server that is not there is one failure, however much was asked', async () => {
    const api: Api = {
      call: (call) => Promise.reject(new ApiError(call, 0, 'ECONNREFUSED', 'connect ECONNREFUSED 1.2.3.4:6443')),
      watch: () => {
        throw new Error('no watch');
      },
    };
    const results = evaluate(CLUSTER_CHECKS, await gather(api, 'shop'));
    expect(results.filter(({ outcome }) => outcome === 'fail').map(({ id }) => id)).toEqual(['api-reachable']);
    expect(results.filter(({ outcome }) => outcome === 'skipped')).toHaveLength(CLUSTER_CHECKS.length - 1);
    expect(results[0]?.message).toMatch(/1\.2\.3\.4:6443.*is the cluster up/);
  });
});

const wanted = { namespace: 'shop', spec: { sourcePod: 'web-0' }, podUid: 'pod-uid' };
const migration = (phase?: string): StatefulMigration =>
  ({
    metadata: { name: 'shadow-check-1', namespace: 'shop', uid: 'u', resourceVersion: '1' },
    spec: { sourcePod: 'web-0', dryRun: true },
    ...(phase === undefined ? {} : { status: { phase, completionTime: 'x' } }),
  }) as StatefulMigration;

/** An API server with one dry run, which a watch shows to end as `last`, or never. */
const server = (last: StatefulMigration | undefined): Api & { calls: Call[]; alive: boolean } => {
  const self = {
    calls: [] as Call[],
    alive: false,
    async call<T>(call: Call): Promise<T> {
      self.calls.push(call);
      if (call.verb === 'create') self.alive = true;
      if (call.verb === 'delete') self.alive = false;
      if (call.verb === 'list') return { metadata: { resourceVersion: '1' }, items: [migration()] } as T;
      return migration() as T;
    },
    async *watch<T>(_call: Call, signal: AbortSignal): AsyncGenerator<WatchEvent<T>> {
      if (last !== undefined) yield { type: 'MODIFIED', object: last as T };
      else await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    },
  };
  return self;
};

describe('a dry run', () => {
  const never = new AbortController().signal;
  test('is made so that no older release could take it for a migration, and goes with its pod', async () => {
    const api = server(migration('Checked'));
    expect((await dryRun(api, wanted, 5_000, never)).status?.phase).toBe('Checked');
    expect(api.calls[0]).toMatchObject({
      query: { fieldValidation: 'Strict' },
      body: {
        metadata: { ownerReferences: [{ kind: 'Pod', name: 'web-0', uid: 'pod-uid' }] },
        spec: { sourcePod: 'web-0', dryRun: true, abort: true },
      },
    });
  });
  test('is deleted when it has ended, when nobody looks, when it is broken off, and when the API fails', async () => {
    const ended = server(migration('Checked'));
    await dryRun(ended, wanted, 5_000, never);
    const late = server(undefined);
    await expect(dryRun(late, wanted, 50, never)).rejects.toMatchObject({ code: 'SHADOW_E_TIMEOUT' });
    const broken = server(undefined);
    const interrupt = new AbortController();
    const running = dryRun(broken, wanted, 60_000, interrupt.signal);
    setTimeout(() => interrupt.abort(), 20);
    await expect(running).rejects.toMatchObject({ code: 'SHADOW_E_ABORTED' });
    const refusing = server(undefined);
    const { call } = refusing;
    refusing.call = <T>(given: Call) => (given.verb === 'list' ? Promise.reject(refusal(given, 403)) : call<T>(given));
    await expect(dryRun(refusing, wanted, 5_000, never)).rejects.toMatchObject({ status: 403 });
    for (const api of [ended, late, broken, refusing]) {
      expect(api.calls.map(({ verb }) => verb)).toContain('create');
      expect(api.alive).toBe(false);
    }
  });
  test('of an older release is told as one: the schema drops the field, or the controller aborts it', async () => {
    const strict = server(undefined);
    strict.call = (call) => Promise.reject(refusal(call, 400, 'strict decoding error: unknown field "spec.dryRun"'));
    await expect(dryRun(strict, wanted, 5_000, never)).rejects.toThrow(/older than the plugin/);
    await expect(dryRun(server(migration('Aborted')), wanted, 5_000, never)).rejects.toThrow(/older than the plugin/);
  });
});
