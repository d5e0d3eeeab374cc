/** Waiting, Ctrl-C, and several pods in turn: on a stand-in API whose migrations go as the test says. */
import { describe, expect, test } from 'vitest';
import { type Call, methodOf, pathOf } from '../../../plugin/api.ts';
import type { Io } from '../../../plugin/io.ts';
import { runAll } from '../../../plugin/migration/run.ts';
import { summary } from '../../../plugin/migration/summary.ts';
import type { MigrationStatus, StatefulMigration } from '../../../webhook/api/migration.ts';
import { completed, failed, NOW, running, uncommitted } from './sample.ts';
import { listOf, plainIo, refusal, standInApi } from './stage.ts';

const ctrlC = (): void => {
  process.emit('SIGINT');
};

interface World {
  /** How the migration of a pod stands, asked anew at each list. */
  statusOf(pod: string): MigrationStatus | undefined;
  refuse?: (call: Call) => unknown;
}

const podOf = (call: Call): string => (call.body as StatefulMigration).spec.sourcePod ?? '';

/** Creates and lists migrations; a watch is silent, and ends when it is told that something changed: the list after it shows it. */
const world = ({ statusOf, refuse }: World) => {
  const made = new Map<string, StatefulMigration>();
  let version = 0;
  let listed = 0;
  const watching = new Set<() => void>();
  const stateOf = (pod: string): StatefulMigration => {
    const status = statusOf(pod);
    return { ...made.get(pod)!, ...(status ? { status } : {}) };
  };
  const api = standInApi(
    (call) => {
      const refused = refuse?.(call);
      if (refused !== undefined) return refused;
      const { verb, kind, name = '' } = call;
      if (verb === 'create') {
        const pod = podOf(call);
        const metadata = { ...running.metadata, name: `${pod}-m`, uid: pod, namespace: 'shop' };
        made.set(pod, { ...(call.body as StatefulMigration), metadata });
        return made.get(pod);
      }
      if (verb === 'patch') return stateOf(name.replace(/-m$/, ''));
      if (kind === 'Pod') {
        const conditions = [{ type: 'Ready', status: 'True' }];
        return { metadata: { name, labels: { 'shadow.ms2m.io/injected': 'true' } }, spec: {}, status: { conditions } };
      }
      listed = version;
      return listOf(kind === 'StatefulMigration' ? [...made.keys()].map(stateOf) : []);
    },
    async function* (_, signal) {
      if (version !== listed || signal.aborted) return;
      await new Promise<void>((resolve) => {
        watching.add(resolve);
        signal.addEventListener('abort', () => resolve());
      });
    },
  );
  const tell = (): void => {
    version += 1;
    for (const wake of watching) wake();
  };
  return { api, tell, made };
};

const FLAGS = { timeoutMs: 60_000, timeout: '60s' };
const runOn = (api: ReturnType<typeof world>['api'], io: Io, pods: string[], flags = FLAGS) =>
  runAll(api, io, 'shop', { pods, born: new Map() }, flags);
const aborts = (calls: readonly Call[]): string[] =>
  calls
    .filter(({ verb }) => verb === 'patch')
    .map((call) => `${methodOf(call)} ${pathOf(call)} ${JSON.stringify(call.body)}`);

describe('several pods', () => {
  test('move one after another', async () => {
    const { api } = world({ statusOf: () => completed.status });
    const { moves, problem } = await runOn(api, plainIo(), ['web-2', 'web-1', 'web-0']);
    expect(problem).toBeUndefined();
    expect(moves.map(({ pod, migration }) => [pod, migration?.status?.phase])).toEqual([
      ['web-2', 'Completed'],
      ['web-1', 'Completed'],
      ['web-0', 'Completed'],
    ]);
    expect(api.calls.filter(({ verb }) => verb === 'create').map(podOf)).toEqual(['web-2', 'web-1', 'web-0']);
  });
  test('the first that fails stops the rest, and says so', async () => {
    const { api } = world({ statusOf: (pod) => (pod === 'web-1' ? failed.status : completed.status) });
    const { moves, problem } = await runOn(api, plainIo(), ['web-2', 'web-1', 'web-0']);
    expect(problem?.code).toBe('SHADOW_E_RESTORE');
    expect(api.calls.filter(({ verb }) => verb === 'create')).toHaveLength(2);
    expect(summary(moves, NOW)).toMatchInlineSnapshot(`
      "POD     RESULT      MIGRATION   FROM       TO         SECONDS   ERROR
      web-2   Completed   web-2-m     worker-a   worker-b   5.20s     <none>
      web-1   Failed      web-1-m     worker-a   worker-b   3.00s     SHADOW_E_RESTORE
      web-0   Not begun   <none>      <none>     <none>     <none>    <none>

      1 moved, 1 not moved, 1 not begun"
    `);
  });
  test('one that is refused stops them, too, before it is made', async () => {
    const refuse = (call: Call) => (call.kind === 'Pod' && call.name === 'web-1' ? refusal(call, 404) : undefined);
    const { api, made } = world({ statusOf: () => completed.status, refuse });
    const { moves, problem } = await runOn(api, plainIo(), ['web-2', 'web-1', 'web-0']);
    expect([problem?.code, [...made.keys()]]).toEqual(['SHADOW_E_POD_NOT_FOUND', ['web-2']]);
    expect(summary(moves, NOW)).toMatch(/web-1 +Refused/);
  });
  test('of a Deployment wait for it to have counted its replicas anew, or it would be taken for one being rolled out', async () => {
    let looks = 0;
    const deployment = (call: Call) =>
      call.kind === 'Deployment'
        ? {
            metadata: { name: 'web', generation: 1 },
            spec: { replicas: 2 },
            status: { observedGeneration: 1, replicas: ++looks < 3 ? 3 : 2, updatedReplicas: 2, availableReplicas: 2 },
          }
        : undefined;
    const status = { ...completed.status, deploymentName: 'web' } as MigrationStatus;
    const { api } = world({ statusOf: () => status, refuse: deployment });
    const { problem } = await runOn(api, plainIo(), ['web-a', 'web-b']);
    expect([problem, looks]).toEqual([undefined, 3]);
  });
  test('a limit is for each, and stops the rest; that one goes on', async () => {
    const { api } = world({ statusOf: () => uncommitted.status });
    const { problem } = await runOn(api, plainIo(), ['web-1', 'web-0'], { timeoutMs: 30, timeout: '30ms' });
    expect([problem?.code, problem?.exit]).toEqual(['SHADOW_E_TIMEOUT', 124]);
    expect(aborts(api.calls)).toEqual([]);
    expect(api.calls.filter(({ verb }) => verb === 'create')).toHaveLength(1);
  });
});

describe('Ctrl-C', () => {
  const HOW =
    /the migration of web-0 goes on\n {2}see it: {3}kubectl shadow status web-0-m -n shop --watch\n {2}abort it: kubectl shadow abort web-0-m -n shop/;

  test('without a terminal leaves it running, and says how to abort it', async () => {
    const { api } = world({ statusOf: () => uncommitted.status });
    const io = plainIo();
    const run = runOn(api, io, ['web-0', 'web-1']);
    ctrlC();
    const { interrupted, moves } = await run;
    expect([interrupted, moves[1]?.migration, aborts(api.calls)]).toEqual([true, undefined, []]);
    expect(io.told.at(-1)).toMatch(HOW);
  });

  test.each(['', 'l', 'n', 'leave', 'what?'])('answered by "%s" leaves it running', async (answer) => {
    const { api } = world({ statusOf: () => uncommitted.status });
    const io = plainIo(async () => answer);
    const run = runOn(api, io, ['web-0']);
    ctrlC();
    expect((await run).interrupted).toBe(true);
    expect(aborts(api.calls)).toEqual([]);
    expect(io.told.at(-1)).toMatch(HOW);
  });

  test.each(['a', 'abort', 'y', 'yes'])('answered by "%s" aborts it, and waits for that', async (answer) => {
    let asked = false;
    const { api, tell } = world({
      statusOf: () =>
        asked
          ? { ...failed.status, phase: 'Aborted', error: { code: 'SHADOW_E_ABORTED', message: '' } }
          : uncommitted.status,
      refuse: ({ verb }) => {
        if (verb !== 'patch') return undefined;
        asked = true;
        tell();
        return undefined;
      },
    });
    const io = plainIo(async () => answer);
    const run = runOn(api, io, ['web-0', 'web-1']);
    ctrlC();
    const { interrupted, problem, moves } = await run;
    expect([interrupted, problem?.code, moves[1]?.migration]).toEqual([false, 'SHADOW_E_ABORTED', undefined]);
    expect(aborts(api.calls)).toEqual([
      'PATCH /apis/migration.ms2m.io/v1alpha1/namespaces/shop/statefulmigrations/web-0-m?fieldManager=kubectl-shadow {"spec":{"abort":true}}',
    ]);
  });

  test('answered by "w" watches on', async () => {
    let over = false;
    const { api, tell } = world({ statusOf: () => (over ? completed.status : uncommitted.status) });
    const run = runOn(
      api,
      plainIo(async () => {
        over = true;
        tell();
        return 'w';
      }),
      ['web-0'],
    );
    ctrlC();
    expect(await run).toMatchObject({ interrupted: false, problem: undefined });
  });

  test('twice leaves it running at once, whatever is being asked; the question is withdrawn', async () => {
    const { api } = world({ statusOf: () => uncommitted.status });
    let withdrawn = false;
    const io = plainIo(
      (_, signal) =>
        new Promise((resolve) => {
          signal?.addEventListener('abort', () => {
            withdrawn = true;
            resolve('');
          });
        }),
    );
    const run = runOn(api, io, ['web-0']);
    ctrlC();
    ctrlC();
    expect((await run).interrupted).toBe(true);
    expect([withdrawn, aborts(api.calls)]).toEqual([true, []]);
  });

  test('what ends while it is asked about needs no answer', async () => {
    let over = false;
    const { api, tell } = world({ statusOf: () => (over ? completed.status : uncommitted.status) });
    const io = plainIo(() => {
      over = true;
      tell();
      return new Promise(() => {});
    });
    const run = runOn(api, io, ['web-0']);
    ctrlC();
    expect(await run).toMatchObject({ interrupted: false, problem: undefined });
    expect(over).toBe(true);
  });

  test('after the commit asks nothing: it can no longer be aborted', async () => {
    const { api } = world({ statusOf: () => running.status });
    const io = plainIo(async () => expect.unreachable());
    const tell = io.err;
    let pressed = false;
    // Once the state is seen.
    io.err = (text) => {
      tell(text);
      if (!pressed && text.includes('Committed')) ctrlC();
      pressed ||= text.includes('Committed');
    };
    expect((await runOn(api, io, ['web-0'])).interrupted).toBe(true);
    expect(io.told.at(-1)).toMatch(/it is committed and finishes by itself\n {2}see it: [^\n]*$/);
  });

  test('an abort that comes after the commit is told, and the end waited for', async () => {
    let over = false;
    const late = (call: Call) => {
      if (call.verb !== 'patch') return undefined;
      over = true;
      tell();
      return refusal(call, 403, 'admission webhook "x" denied the request: SHADOW_E_COMMITTED: web-0-m');
    };
    const { api, tell } = world({ statusOf: () => (over ? completed.status : uncommitted.status), refuse: late });
    const io = plainIo(async () => 'a');
    const run = runOn(api, io, ['web-0']);
    ctrlC();
    expect(await run).toMatchObject({ interrupted: false, problem: undefined });
    expect(io.told).toContain('the migration is committed and cannot be aborted: web-0-m');
  });

  test('is the terminal’s again afterwards', async () => {
    const before = process.listenerCount('SIGINT');
    const { api } = world({ statusOf: () => completed.status });
    await runOn(api, plainIo(), ['web-0']);
    expect(process.listenerCount('SIGINT')).toBe(before);
  });
});
