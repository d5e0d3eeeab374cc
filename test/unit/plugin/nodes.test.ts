/** Taking back what is on nodes, also after a try that was broken off; and waiting that says what it waits for. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { cleanNodes } from '../../../plugin/install/nodes.ts';
import { until } from '../../../plugin/install/wait.ts';
import { refusal, standInApi } from './stage.ts';

// Timers of node:timers/promises are not faked; these wait by those that are.
vi.mock('node:timers/promises', () => ({ setTimeout: (ms: number) => new Promise((done) => setTimeout(done, ms)) }));

const HOME = 'shadow-system';
const DONE = { desiredNumberScheduled: 1, updatedNumberScheduled: 1, numberAvailable: 1 };
const agentOf = (image: string) => ({
  kind: 'DaemonSet',
  metadata: { name: 'shadow-agent', namespace: HOME },
  spec: { template: { spec: { containers: [{ name: 'agent', image }] } } },
});
const podOf = (image: string, ready: 'True' | 'False') => ({
  metadata: { name: `agent-${image}` },
  spec: { containers: [{ image }] },
  status: { conditions: [{ type: 'Ready', status: ready }] },
});

/** A cluster with these DaemonSets, whose pods go when it does and whose cleanups are done at once. */
const cluster = (sets: Map<string, object>, pods: object[]) =>
  standInApi((call) => {
    const name = call.name ?? '';
    if (call.kind === 'Pod') return { metadata: {}, items: sets.has('shadow-agent') ? pods : [] };
    if (call.verb === 'delete') return sets.delete(name) ? {} : refusal(call, 404);
    if (call.verb === 'patch') sets.set(name, { ...(call.body as object), status: DONE });
    return sets.get(name) ?? refusal(call, 404);
  });
const clean = (api: ReturnType<typeof cluster>): Promise<void> =>
  cleanNodes(api, HOME, { at: performance.now() + 1_000, given: '1s' }, () => undefined);
const applied = (api: ReturnType<typeof cluster>): string[] =>
  api.calls
    .filter(({ verb }) => verb === 'patch')
    .map(({ body }) => (body as ReturnType<typeof agentOf>).spec.template.spec.containers[0]!.image);

describe('nodes are put back', () => {
  test('by an image that has run there, whatever the agents are to become', async () => {
    const sets = new Map([['shadow-agent', agentOf('misspelt')]]);
    const api = cluster(sets, [podOf('misspelt', 'False'), podOf('good', 'True')]);
    await clean(api);
    expect([applied(api), [...sets]]).toEqual([['good'], []]);
  });
  test('by the image of the agents where none is ready', async () => {
    const api = cluster(new Map([['shadow-agent', agentOf('only')]]), [podOf('only', 'False')]);
    await clean(api);
    expect(applied(api)).toEqual(['only']);
  });
  test('by what a broken-off try has left, though its agents are gone', async () => {
    const sets = new Map<string, object>([['shadow-node-cleanup', { metadata: {}, status: DONE }]]);
    await clean(cluster(sets, []));
    expect(sets.size).toBe(0);
    const stuck = { metadata: {}, status: { ...DONE, numberAvailable: 0 } };
    await expect(clean(cluster(new Map([['shadow-node-cleanup', stuck]]), []))).rejects.toThrow(/0 of 1 nodes ready/);
  });
  test('not at all where nobody was', async () => {
    const api = cluster(new Map(), []);
    await clean(api);
    expect(api.calls.map(({ verb }) => verb)).toEqual(['get', 'get']);
  });
});

describe('waiting', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test('says why, once it stands still, and no longer than that is so', async () => {
    const told: string[] = [];
    let missing: string | undefined = '0 of 2';
    const asked = vi.fn(async () => 'ImagePullBackOff');
    const deadline = { at: performance.now() + 60_000, given: '1m' };
    const waiting = until(
      'it',
      deadline,
      async () => missing,
      (text) => void told.push(text),
      asked,
    );
    await vi.advanceTimersByTimeAsync(4_000);
    expect([asked.mock.calls.length, new Set(told)]).toEqual([0, new Set(['0 of 2'])]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(told.at(-1)).toBe('0 of 2 (ImagePullBackOff)');
    expect(asked).toHaveBeenCalledOnce();
    missing = '1 of 2';
    await vi.advanceTimersByTimeAsync(1_000);
    expect(told.at(-1)).toBe('1 of 2');
    missing = undefined;
    await vi.advanceTimersByTimeAsync(1_000);
    await expect(waiting).resolves.toBeUndefined();
  });
  test('that ends in vain says why, too', async () => {
    const deadline = { at: performance.now() + 1_000, given: '1s' };
    const waiting = until(
      'it',
      deadline,
      async () => '0 of 2',
      () => undefined,
      async () => 'no room',
    );
    const ended = expect(waiting).rejects.toThrow('it after 1s: 0 of 2 (no room)');
    await vi.advanceTimersByTimeAsync(2_000);
    await ended;
  });
});
