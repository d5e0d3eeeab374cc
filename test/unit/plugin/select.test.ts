import { describe, expect, test } from 'vitest';
import type { Call } from '../../../plugin/api.ts';
import { checkFirst } from '../../../plugin/migration/check.ts';
import { pick } from '../../../plugin/migration/find.ts';
import { inOrder, select } from '../../../plugin/migration/select.ts';
import { targetsOf, type Wanted, wantedOf } from '../../../plugin/migration/targets.ts';
import { closest, didYouMean, distance } from '../../../plugin/suggest.ts';
import { completed, fresh } from './sample.ts';
import { listOf, refusal, standInApi } from './stage.ts';

const coded = (code: string, more: object = {}) => expect.objectContaining({ code, ...more });
const USAGE = coded('SHADOW_E_USAGE');

describe('what is typed', () => {
  test.each([
    [['a'], [['Pod', 'a']]],
    [
      ['po/a', 'pods/b', 'a'],
      [
        ['Pod', 'a'],
        ['Pod', 'b'],
      ],
    ],
    [
      ['sts/a', 'statefulset/b', 'statefulsets.apps/c'],
      [
        ['StatefulSet', 'a'],
        ['StatefulSet', 'b'],
        ['StatefulSet', 'c'],
      ],
    ],
    [
      ['deploy/a', 'deployment.apps/b'],
      [
        ['Deployment', 'a'],
        ['Deployment', 'b'],
      ],
    ],
    [
      ['sts', 'a', 'b'],
      [
        ['StatefulSet', 'a'],
        ['StatefulSet', 'b'],
      ],
    ],
    // A pod may be called so.
    [['sts'], [['Pod', 'sts']]],
    [
      ['sts', 'pod/a'],
      [
        ['Pod', 'sts'],
        ['Pod', 'a'],
      ],
    ],
  ])('%s', (words, expected) => {
    expect(targetsOf(words).map(({ kind, name }) => [kind, name])).toEqual(expected);
  });
  test.each([[['svc/a']], [['sts/']], [['pod/a/b']], [['/a']], [['']], [['constructor/x']]])(
    '%s is wrong usage',
    (words) => expect(() => targetsOf(words)).toThrow(USAGE),
  );
  test.each([{}, { selector: ' ' }, { selector: 'app=x', targets: ['a'] }, { fromNode: 'n', to: 'n' }])(
    '%j is wrong usage',
    (typed) => expect(() => wantedOf(typed)).toThrow(USAGE),
  );
});

const owner = (kind: string, name: string) => [{ kind, name, uid: `uid-${name}`, controller: true }];
const podOn = (name: string, nodeName: string, more: object = {}) => ({
  metadata: {
    name,
    labels: { 'shadow.ms2m.io/injected': 'true' },
    ownerReferences: owner('StatefulSet', 'web'),
    ...more,
  },
  spec: { nodeName },
  status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
});
const web = [0, 1, 2, 9, 10].map((ordinal) => podOn(`web-${ordinal}`, ordinal === 9 ? 'n2' : 'n1'));
const replica = (name: string, set: string) => podOn(name, 'n1', { ownerReferences: owner('ReplicaSet', set) });
const others = [
  replica('api-1-b', 'api-1'),
  replica('api-0-z', 'api-0'),
  replica('api-1-a', 'api-1'),
  replica('other-a', 'other'),
  podOn('plain', 'n1', { labels: {}, ownerReferences: [] }),
];
const set = (name: string, above?: string) => ({
  metadata: { name, uid: `uid-${name}`, ...(above ? { ownerReferences: owner('Deployment', above) } : {}) },
});

const SETS: Record<string, readonly string[]> = { StatefulSet: ['web'], Deployment: ['api'], Node: ['n2'] };

const listed = ({ kind, query }: Call, pods: readonly unknown[]): unknown[] => {
  if (kind === 'ReplicaSet') return [set('api-0', 'api'), set('api-1', 'api'), set('other', 'other')];
  if (kind === 'Pod') return query?.fieldSelector ? [] : [...pods];
  return (SETS[kind] ?? []).map((name) => set(name));
};
const got = (call: Call, pods: readonly unknown[]): unknown => {
  const { kind, name = '' } = call;
  const pod = (pods as typeof web).find(({ metadata }) => metadata.name === name);
  if (kind === 'Pod') return pod ?? refusal(call, 404);
  return SETS[kind]?.includes(name) ? set(name) : refusal(call, 404);
};

/** Of one namespace: StatefulSet web, Deployment api with an old and a new ReplicaSet, and others. `answer` goes before it. */
const shop = (pods: readonly unknown[] = [...web, ...others], answer?: (call: Call) => unknown) =>
  standInApi((call) => answer?.(call) ?? (call.verb === 'list' ? listOf(listed(call, pods)) : got(call, pods)));
const chosen = (wanted: Partial<Wanted>, api = shop()) => select(api, 'shop', { targets: [], ...wanted });

describe('which pods move', () => {
  test("a set's, the highest ordinal first, as numbers; those on the target stay", async () => {
    const targets = targetsOf(['sts/web']);
    expect(await chosen({ targets })).toEqual({ pods: ['web-10', 'web-9', 'web-2', 'web-1', 'web-0'], staying: [] });
    expect(await chosen({ targets, to: 'n2' })).toEqual({
      pods: ['web-10', 'web-2', 'web-1', 'web-0'],
      staying: ['pod/web-9 stays: it runs on n2 already'],
    });
    expect((await chosen({ targets, fromNode: 'n2' })).pods).toEqual(['web-9']);
  });
  test("a Deployment's, of all its ReplicaSets and of no other", async () => {
    expect((await chosen({ targets: targetsOf(['deploy/api']) })).pods).toEqual(['api-0-z', 'api-1-a', 'api-1-b']);
  });
  test('by selector, which the API server applies; set by set', async () => {
    const api = shop([...web, ...others]);
    const { pods } = await chosen({ selector: 'app=x' }, api);
    expect(api.calls[0]).toMatchObject({ kind: 'Pod', query: { labelSelector: 'app=x' } });
    expect(pods.slice(-5)).toEqual(['web-10', 'web-9', 'web-2', 'web-1', 'web-0']);
  });
  test('of a node alone: what is injected', async () => {
    expect((await chosen({ fromNode: 'n2' })).pods).toEqual(['web-9']);
    expect((await chosen({ fromNode: 'n1' })).pods).not.toContain('plain');
  });
  test('pods that are named, without a look at the others; each once', async () => {
    const api = shop();
    expect((await chosen({ targets: targetsOf(['nobody', 'pod/nobody', 'web-1']) }, api)).pods).toEqual([
      'nobody',
      'web-1',
    ]);
    expect(api.calls).toEqual([]);
    expect((await chosen({ targets: targetsOf(['web-1', 'sts/web', 'nobody']) })).pods).toEqual([
      'web-1',
      'web-10',
      'web-9',
      'web-2',
      'web-0',
      'nobody',
    ]);
  });
  test('none that goes, has ended, or is a copy', async () => {
    const pods = [
      podOn('web-0', 'n1', { deletionTimestamp: 'x' }),
      podOn('web-1', 'n1', { labels: { 'shadow.ms2m.io/migration': 'u' } }),
      { ...podOn('web-2', 'n1'), status: { phase: 'Succeeded' } },
    ];
    const { pods: left, staying } = await chosen({ targets: targetsOf(['sts/web']) }, shop(pods));
    expect([left, staying.length]).toEqual([[], 3]);
  });
  test('nothing found is said by name', async () => {
    const none = chosen({ selector: 'app=none' }, shop([]));
    await expect(none).rejects.toThrow(
      coded('SHADOW_E_POD_NOT_FOUND', { message: expect.stringContaining('app=none') }),
    );
    await expect(chosen({ fromNode: 'n7' })).rejects.toThrow(coded('SHADOW_E_POD_NOT_FOUND'));
    await expect(chosen({ targets: targetsOf(['sts/web']) }, shop([]))).rejects.toThrow(
      coded('SHADOW_E_POD_NOT_FOUND'),
    );
    await expect(chosen({ targets: targetsOf(['sts/wbe']) })).rejects.toThrow(
      coded('SHADOW_E_OWNER_NOT_FOUND', { hint: 'did you mean sts/web?' }),
    );
  });
  test('a selector that is none is wrong usage; a refusal is one', async () => {
    const answering = (status: number) => shop([], (call) => refusal(call, status, 'unable to parse requirement'));
    await expect(chosen({ selector: 'a in' }, answering(400))).rejects.toThrow(USAGE);
    await expect(chosen({ selector: 'a=b' }, answering(403))).rejects.toMatchObject({ status: 403 });
  });
  test('pods of no set are in the order of their names', () => {
    const pods = ['b', 'a-10', 'a-9'].map((name) => podOn(name, 'n1', { ownerReferences: [] }));
    expect(inOrder(pods).map(({ metadata }) => metadata.name)).toEqual(['a-10', 'a-9', 'b']);
  });
});

describe('wrong input is answered by what may have been meant', () => {
  const check = (pods: string[], api = shop(), node?: string) => checkFirst(api, { namespace: 'shop', pods, node });
  test('a pod', async () => {
    await expect(check(['web-11'])).rejects.toThrow(
      coded('SHADOW_E_POD_NOT_FOUND', { hint: 'did you mean web-1 or web-10 or web-0?' }),
    );
    await expect(check(['web'])).rejects.toThrow(
      coded('SHADOW_E_POD_NOT_FOUND', { hint: expect.stringContaining('sts/web') }),
    );
  });
  test('a pod of another namespace', async () => {
    const api = shop([], ({ namespace, verb, kind }) =>
      verb === 'list' && kind === 'Pod' && namespace === undefined
        ? listOf([podOn('x', 'n1', { namespace: 'other' })])
        : undefined,
    );
    await expect(check(['x'], api)).rejects.toThrow(
      coded('SHADOW_E_POD_NOT_FOUND', { hint: expect.stringContaining('other (-n)') }),
    );
  });
  test('nothing, where the caller may not look', async () => {
    const api = shop([], (call) => (call.verb === 'list' && call.kind === 'Pod' ? refusal(call, 403) : undefined));
    await expect(check(['x'], api)).rejects.toThrow(coded('SHADOW_E_POD_NOT_FOUND'));
  });
  test('a node', async () => {
    const api = shop(undefined, ({ kind, verb }) =>
      kind === 'Node' && verb === 'list' ? listOf([set('n1'), set('n2')]) : undefined,
    );
    await expect(check(['web-1'], api, 'n22')).rejects.toThrow(
      coded('SHADOW_E_NODE_NOT_FOUND', { hint: expect.stringMatching(/did you mean n2/) }),
    );
    await expect(check(['web-1'], api, 'elsewhere')).rejects.toThrow(
      coded('SHADOW_E_NODE_NOT_FOUND', { hint: 'there are n1, n2' }),
    );
  });
  test('a migration', () => {
    expect(() => pick([completed, fresh], 'consumer0', 'shop')).toThrow(
      coded('SHADOW_E_MIGRATION_NOT_FOUND', { hint: 'did you mean consumer-0?' }),
    );
  });
  test('a pod that was passed over: the reason the webhook had', async () => {
    const skipped = podOn('web-0', 'n1', {
      labels: {},
      annotations: { 'shadow.ms2m.io/status': 'skipped: hostNetwork' },
    });
    await expect(check(['web-0'], shop([skipped]))).rejects.toThrow(
      coded('SHADOW_E_NOT_INJECTED', { message: expect.stringContaining('skipped: hostNetwork') }),
    );
  });
  test('all pods are checked before any moves, and what the caller may not see is left to the controller', async () => {
    await expect(check(['web-1', 'plain'])).rejects.toThrow(coded('SHADOW_E_NOT_INJECTED'));
    const blind = shop([], (call) => (call.kind === 'StatefulMigration' ? undefined : refusal(call, 403)));
    await expect(check(['web-1'], blind, 'n2')).resolves.toEqual(new Map());
  });
});

describe('suggestions', () => {
  test.each([
    ['', 'abc', 3],
    ['abc', 'abc', 0],
    ['consumer-0', 'consumre-0', 1],
    ['consumer-0', 'consmer-0', 1],
    ['ab', 'ba', 1],
    ['kitten', 'sitting', 3],
  ])('%s and %s are %d apart', (a, b, edits) => {
    expect([distance(a, b), distance(b, a)]).toEqual([edits, edits]);
  });
  test('are near, few, and never everything', () => {
    expect(closest('web', ['web-0', 'web-1', 'web-2', 'web-3', 'db-0'])).toEqual(['web-0', 'web-1', 'web-2']);
    expect(closest('zzz', ['web-0', 'db-0'])).toEqual([]);
    expect(closest('', ['a-name'])).toEqual([]);
    expect(didYouMean('nothing', [])).toBe('');
  });
});
