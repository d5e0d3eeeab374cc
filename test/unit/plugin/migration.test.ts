import { describe, expect, test } from 'vitest';
import { POD_CHECKS } from '../../../plugin/check/catalogue.ts';
import { evaluate } from '../../../plugin/check/evaluate.ts';
import { printed } from '../../../plugin/check/print.ts';
import { judge } from '../../../plugin/migration/check.ts';
import { pick } from '../../../plugin/migration/find.ts';
import { errorOf } from '../../../plugin/migration/model.ts';
import { report } from '../../../plugin/migration/report.ts';
import { assertTransfer, refuseLate, specOf } from '../../../plugin/migration/request.ts';
import { details, migrationTable } from '../../../plugin/migration/table.ts';
import { linesOf } from '../../../plugin/migration/view.ts';
import type { Aspect, StatefulMigration } from '../../../webhook/api/migration.ts';
import { fitCluster, lookedAt } from './check-facts.ts';
import {
  at,
  besides,
  completed,
  failed,
  fresh,
  handoff,
  migration,
  NOW,
  replaying,
  replica,
  running,
  uncommitted,
} from './sample.ts';

const golden = (name: string, text: string) => expect(`${text}\n`).toMatchFileSnapshot(`golden/${name}.txt`);
const coded = (code: string) => expect.objectContaining({ code });

describe('what is printed', () => {
  const all = [completed, running, uncommitted, failed, fresh];
  test('list', () => golden('list', migrationTable(all, NOW, { namespaces: false, wide: false })));
  test('list -A -o wide', () => golden('list-wide', migrationTable(all, NOW, { namespaces: true, wide: true })));
  test('status of a completed one', () => golden('status-completed', details(completed, NOW)));
  test('status names the versions of the two that did it', () => {
    const versions = { controller: '0.2.0', sidecar: '0.1.0', nodes: [] };
    const text = details({ ...completed, status: { ...completed.status, versions } }, NOW);
    expect(text.split('\n')).toContain('Versions:   controller 0.2.0, sidecar 0.1.0');
  });
  test('status of a failed one', () => golden('status-failed', details(failed, NOW)));
  test('status before the controller has seen it', () => golden('status-fresh', details(fresh, NOW)));
  test('report', () => golden('report', report(completed, NOW)));
  test('status of one that replays', () => golden('status-replaying', details(replaying, NOW)));
  test('report of one that replayed', () => golden('report-replayed', report(besides, NOW)));
  test("report of a Deployment's pod", () => golden('report-replica', report(replica, NOW)));
  test('status of a dry run: what it found, as check pod/NAME tells it', async () => {
    const aspects: Aspect[] = [
      { aspect: 'Processes', verdict: 'Warning', findings: ['connections to other than the broker: 10.0.0.9:5432'] },
      { aspect: 'Nodes', verdict: 'Fit', findings: ['node-3: it is cordoned'] },
    ];
    const text = details(lookedAt(...aspects).got, NOW);
    await golden('status-dry-run', text);
    const checked = printed(
      evaluate(POD_CHECKS, { ...fitCluster(), dryRun: lookedAt(...aspects) }).filter(({ group }) => group === 'pod'),
      'table',
      { symbols: false, color: false },
    );
    for (const line of checked.split('\n').slice(1)) expect(text).toContain(line);
  });
  test('status of a dry run of a pod that is not fit', async () => {
    const session: Aspect = {
      aspect: 'Session',
      verdict: 'Unfit',
      code: 'SHADOW_E_SESSION',
      findings: ['q is exclusive'],
    };
    const { got } = lookedAt(session);
    const error = { code: 'SHADOW_E_SESSION', message: 'q is exclusive' } as const;
    await golden(
      'status-dry-run-unfit',
      details({ ...got, status: { ...got.status, error, completionTime: at(5) } }, NOW),
    );
  });
  test('plain lines of one that replayed', () =>
    golden(
      'lines-replayed',
      linesOf(besides)
        .map(({ text }) => text)
        .join('\n'),
    ));
  test('plain lines', () =>
    golden(
      'lines',
      linesOf(completed)
        .map(({ text }) => text)
        .join('\n'),
    ));
});

describe('plain lines', () => {
  const linesSeen = (states: StatefulMigration[]): string[] => {
    const seen = new Map<string, string>();
    for (const state of states) for (const { key, text } of linesOf(state)) if (!seen.has(key)) seen.set(key, text);
    return [...seen.values()];
  };
  test('are the same however many states a watch skips', () => {
    const steps = [
      'Warming',
      'Muting',
      'Cutting',
      'Transferring',
      'Restoring',
      'Attaching',
      'Committed',
      'Settling',
      'Retiring',
      'Done',
    ] as const;
    const states = steps.map((step) => migration('m', { ...completed.status!, handoffs: [handoff(0, 200, step)] }));
    expect(linesSeen(states)).toEqual(linesSeen(states.slice(-1)));
    expect(linesSeen(states)).toHaveLength(10);
  });
  test('tell a second attempt again', () => {
    const again = { ...handoff(1, 4000, 'Muting'), attempt: 2 };
    const states = [handoff(1, 2700, 'Restoring'), again].map((each) =>
      migration('m', { ...running.status!, handoffs: [handoff(0, 200), each] }),
    );
    expect(linesSeen(states).filter((line) => line.includes('Warming'))).toHaveLength(3);
    expect(linesSeen(states).at(-1)).toContain('(attempt 2): Muting');
  });
});

describe('while it replays', () => {
  const seenAt = (ms: number, lag: number): StatefulMigration => {
    const handoffs = replaying.status!.handoffs!.map((each) => ({
      ...each,
      replay: { ...each.replay!, at: at(ms), lag },
    }));
    return migration('m', { ...replaying.status!, handoffs });
  };
  test('each word of the controller is one line, told once', () => {
    const keys = new Set<string>();
    const fresh = [seenAt(2000, 9), seenAt(2000, 9), seenAt(3000, 4)].map((state) =>
      linesOf(state).filter(({ key }) => !keys.has(key) && keys.add(key)),
    );
    expect(fresh.map((lines) => lines.length)).toEqual([7, 0, 1]);
    expect(fresh[2]?.[0]?.text).toMatch(/^\[ {2}3\.00s\] consumer-0 -> consumer-0-shadow: source 60\.3\/s, lag 4, /);
  });
  test('another strategy, taken when the first failed, is told with its reason', () => {
    const fallen = { strategy: 'StopAndCopy', strategyReason: 'ShadowPodSwap was tried first; it diverged' } as const;
    const [before, after] = [seenAt(2000, 9), migration('m', { ...replaying.status!, ...fallen })];
    const keys = new Set(linesOf(before).map(({ key }) => key));
    expect(linesOf(after).filter(({ key }) => !keys.has(key))[0]?.text).toMatch(
      /StopAndCopy \(ShadowPodSwap was tried/,
    );
  });
});

describe('what is asked for', () => {
  test('goes into the spec, and nothing else', () => {
    expect(specOf('web-0', { to: undefined, strategy: undefined, driver: undefined })).toEqual({ sourcePod: 'web-0' });
    expect(specOf('web-0', { to: 'b', strategy: 'ShadowPodSwap', driver: 'kubelet', onDivergence: 'Report' })).toEqual({
      sourcePod: 'web-0',
      targetNode: 'b',
      migrationStrategy: 'ShadowPodSwap',
      checkpointDriver: 'kubelet',
      onDivergence: 'Report',
    });
    expect(specOf('web-0', { transfer: 'Registry', repository: 'host/path' })).toEqual({
      sourcePod: 'web-0',
      transferMode: 'Registry',
      checkpointImageRepository: 'host/path',
    });
  });
  test.each([
    [{ transfer: 'Registry' }, /needs --repository/],
    [{ repository: 'host/path' }, /is for --transfer Registry/],
    [{ transfer: 'Direct', repository: 'host/path' }, /is for --transfer Registry/],
  ] as const)('a transfer and its repository go together: %j', (flags, message) => {
    expect(() => assertTransfer(flags)).toThrow(message);
  });
});

describe('how it ended', () => {
  test('only Completed is without error', () => {
    expect(errorOf(completed)).toBeUndefined();
    expect(errorOf(running)).toBeUndefined();
    expect(errorOf(migration('m', { phase: 'Aborted' }))).toEqual(coded('SHADOW_E_ABORTED'));
    expect(errorOf(migration('m', { phase: 'Failed' }))).toEqual(coded('SHADOW_E_INTERNAL'));
  });
  test('the message of the catalogue is not said twice', () => {
    expect(errorOf(failed)?.message).toBe('the restore failed: criu: Error (x.c:12)');
  });
});

describe('abort', () => {
  test('is refused from the first commit on, whatever the second handoff does', () => {
    expect(() => refuseLate(uncommitted)).not.toThrow();
    expect(() => refuseLate(fresh)).not.toThrow();
    expect(() => refuseLate(running)).toThrow(coded('SHADOW_E_COMMITTED'));
    expect(() => refuseLate(completed)).toThrow(coded('SHADOW_E_FINISHED'));
  });
});

describe('which one is meant', () => {
  const old = migration('consumer-0-old', { phase: 'Completed' });
  old.metadata.creationTimestamp = at(-60_000);
  const namedAsPod = migration('web-0', { phase: 'Completed' }, 'other-0');
  namedAsPod.metadata.creationTimestamp = at(-60_000);
  const all = [old, namedAsPod, completed, fresh];
  test.each([
    ['consumer-0-old', 'consumer-0-old'],
    ['consumer-0', 'consumer-0-aaaaa'],
    ['pod/consumer-0', 'consumer-0-aaaaa'],
    // A migration's own name goes before a pod's.
    ['web-0', 'web-0'],
    ['pod/web-0', 'web-0-eeeee'],
  ])('%s is %s', (wanted, name) => expect(pick(all, wanted, 'shop').metadata.name).toBe(name));
  test('none', () => {
    expect(() => pick(all, 'nope', 'shop')).toThrow(coded('SHADOW_E_MIGRATION_NOT_FOUND'));
    expect(() => pick([], undefined, 'shop')).toThrow(coded('SHADOW_E_MIGRATION_NOT_FOUND'));
    expect(() => pick(all, 'sts/consumer', 'shop')).toThrow(coded('SHADOW_E_USAGE'));
  });
});

describe('checks before a migration is created', () => {
  const pod = {
    metadata: { name: 'consumer-0', labels: { 'shadow.ms2m.io/injected': 'true' } },
    spec: { nodeName: 'worker-a' },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  };
  const node = { metadata: { name: 'worker-b' } };
  const wanted = { namespace: 'shop', pod: 'consumer-0', node: 'worker-b' };
  const fit = { migrations: [completed, failed], pod, node };
  test('pass for a fit pod, and where the caller may not look', () => {
    expect(() => judge(wanted, fit)).not.toThrow();
    expect(() => judge({ ...wanted, node: undefined }, { ...fit, node: undefined })).not.toThrow();
    expect(() => judge(wanted, { pod, migrations: 'may-not-see', node: 'may-not-see' })).not.toThrow();
  });
  const dying = { ...pod, metadata: { ...pod.metadata, deletionTimestamp: at(0) } };
  const unready = { ...pod, status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }] } };
  test.each([
    ['SHADOW_E_POD_NOT_FOUND', wanted, { ...fit, pod: undefined }],
    ['SHADOW_E_NOT_INJECTED', wanted, { ...fit, pod: { ...pod, metadata: { name: 'consumer-0' } } }],
    ['SHADOW_E_NODE_NOT_FOUND', wanted, { ...fit, node: undefined }],
    ['SHADOW_E_SAME_NODE', { ...wanted, node: 'worker-a' }, fit],
    ['SHADOW_E_BUSY', wanted, { ...fit, migrations: [completed, fresh, running] }],
    ['SHADOW_E_POD_NOT_RUNNING', wanted, { ...fit, pod: unready }],
    ['SHADOW_E_POD_NOT_RUNNING', wanted, { ...fit, pod: dying }],
  ])('%s', (code, ask, found) => expect(() => judge(ask, found)).toThrow(coded(code)));
});
