/** A rehearsal as it is judged, printed, and asked for. */
import { describe, expect, test } from 'vitest';
import { type Api, ApiError, type Call, type WatchEvent } from '../../../plugin/api.ts';
import { REHEARSAL_CHECKS } from '../../../plugin/check/catalogue.ts';
import { evaluate, isFailed, type Result } from '../../../plugin/check/evaluate.ts';
import type { Fact } from '../../../plugin/check/facts.ts';
import { printed } from '../../../plugin/check/print.ts';
import { errorOf } from '../../../plugin/migration/model.ts';
import { podRows } from '../../../plugin/migration/pods.ts';
import { rehearse } from '../../../plugin/migration/rehearse.ts';
import { report } from '../../../plugin/migration/report.ts';
import { details, migrationTable } from '../../../plugin/migration/table.ts';
import { tree } from '../../../plugin/migration/tree.ts';
import { linesOf } from '../../../plugin/migration/view.ts';
import { reportOf } from '../../../plugin/report/data.ts';
import { page } from '../../../plugin/report/page.ts';
import type { Handoff, StatefulMigration } from '../../../webhook/api/migration.ts';
import { fitCluster, rehearsedAs } from './check-facts.ts';

const STOPPED = {
  strategy: 'StopAndCopy',
  strategyReason: 'the app holds connections to other than its broker',
} as const;
const judgedAs = (rehearsal: Fact<StatefulMigration>): Result[] =>
  evaluate(REHEARSAL_CHECKS, { ...fitCluster(), rehearsal }).filter(({ group }) => group === 'rehearsal');
const resultsOf = (...given: Parameters<typeof rehearsedAs>): Result[] => judgedAs({ got: rehearsedAs(...given) });
const outcomes = (results: readonly Result[]) => results.map(({ outcome }) => outcome).join(' ');
const plain = (results: readonly Result[]): string =>
  `${printed(results, 'table', { symbols: false, color: false })}\n`;

describe('a rehearsal is judged', () => {
  test.each([
    ['safe', resultsOf('Safe')],
    ['diverged', resultsOf('Diverged')],
    ['behind', resultsOf('Behind')],
    ['failed', resultsOf('Failed')],
    [
      'stopped',
      resultsOf(
        'Diverged',
        { estimate: { pauseMs: 692, pause: 'Estimated', wholeMs: 900, parts: [{ part: 'Warming', ms: 900 }] } },
        STOPPED,
      ),
    ],
  ])('%s', (name, results) => expect(plain(results)).toMatchFileSnapshot(`golden/rehearsal-${name}.txt`));

  test('safe passes, and what is unsafe, late or broken fails, each at one place', () => {
    expect(outcomes(resultsOf('Safe'))).toBe('pass pass pass pass pass');
    expect(outcomes(resultsOf('Diverged'))).toBe('pass fail skipped pass skipped');
    expect(outcomes(resultsOf('Behind'))).toBe('pass pass fail pass skipped');
    expect(outcomes(resultsOf('Failed'))).toBe('fail skipped skipped skipped skipped');
    expect(outcomes(judgedAs({ failed: 'SHADOW_E_API: no' }))).toBe('fail skipped skipped skipped skipped');
  });

  test('an app that said nothing is not called safe', () => {
    const results = resultsOf('Idle', { matched: 0 });
    expect(outcomes(results)).toBe('pass warn pass pass pass');
    expect(results[1]?.hint).toContain('while it has messages');
  });

  test('what is not replayed in a migration does not fail by its replay', () => {
    for (const verdict of ['Diverged', 'Behind'] as const) {
      const results = resultsOf(verdict, {}, STOPPED);
      expect(isFailed(results)).toBe(false);
      expect(outcomes(results)).toContain('warn');
    }
  });

  test('a cause leads to the section of its code', () => {
    expect(resultsOf('Diverged')[1]?.doc).toBe('docs/errors.md#shadow_e_diverged');
    expect(resultsOf('Failed')[0]?.doc).toBe('docs/errors.md#shadow_e_restore');
  });
});

const at = (ms: number): string => new Date(Date.parse('2026-11-29T22:00:00Z') + ms).toISOString();
const handoff: Handoff = {
  ...{ index: 0, claim: 'c', mode: 'replay', attempt: 1, step: 'Aborted', bytes: 13_421_772, pausedMs: 152 },
  source: { name: 'consumer-0', node: 'node-1' },
  copy: { name: 'consumer-0-shadow', node: 'node-2' },
  entered: { Warming: at(200), Cutting: at(1_100), Replaying: at(1_950), Aborting: at(6_250), Aborted: at(6_950) },
  decision: { verdict: 'abort', at: at(6_250), epoch: 1, message: 'rehearsed' },
};
const { decision: _, ...open } = handoff;
const ended = rehearsedAs('Safe', {}, { handoffs: [handoff] });
const { completionTime: __, ...begun } = ended.status!;
const running: StatefulMigration = {
  ...ended,
  status: { ...begun, phase: 'Rehearsing', handoffs: [{ ...open, step: 'Replaying' }] },
};

describe('what shows migrations calls it a rehearsal', () => {
  const NOW = Date.parse('2026-11-29T22:00:10Z');
  const look = { unicode: true, color: false };

  test('list and status', async () => {
    expect(migrationTable([ended, running], NOW, { namespaces: false, wide: true })).toMatch(
      /Rehearsed .*\n.*Rehearsing/,
    );
    await expect(`${details(ended, NOW)}\n`).toMatchFileSnapshot('golden/status-rehearsed.txt');
  });

  test('the tree, the lines and the end of a watch; nobody waits for a successor', () => {
    const drawn = tree({ migration: running }, NOW, 120, 'steps', look).map((line) =>
      line.map(([text]) => text).join(''),
    );
    expect(drawn[0]).toMatch(/^rehearsal of consumer-0: node-1 -> node-2/);
    expect(podRows(running).map(({ role }) => role)).toEqual(['source', 'copy']);
    expect(linesOf(running)[0]?.text).toContain('rehearsal of consumer-0');
    expect(report(ended, NOW)).toMatch(/^consumer-0 on node-1 was rehearsed on node-2 .*: safe to replay\n/);
    expect(report(ended, NOW)).not.toContain('moved');
  });

  test('its report', () => {
    const told = page(reportOf(ended, NOW, '1.0.0'));
    expect(told).toContain('consumer-0 was rehearsed from node-1 to node-2');
    expect(told).not.toMatch(/\bmoved\b|completed/);
    expect(page(reportOf(running, NOW, '1.0.0'))).toContain('consumer-0 is rehearsed');
  });

  test('and it fails by what it found alone', () => {
    expect(errorOf(ended)).toBeUndefined();
    expect(errorOf(rehearsedAs('Diverged'))?.code).toBe('SHADOW_E_DIVERGED');
  });
});

/** An API server with one rehearsal, which a watch shows to end, or never; deleted it stays for so many looks. */
const server = (last: StatefulMigration | undefined, staying = 0) => {
  const self = {
    ...{ calls: [] as Call[], alive: false, staying },
    async call<T>(call: Call): Promise<T> {
      self.calls.push(call);
      if (call.verb === 'create') self.alive = true;
      if (call.verb === 'get' && self.staying-- <= 0) self.alive = false;
      if (call.verb === 'get' && !self.alive) throw new ApiError(call, 404, '', 'not found');
      if (call.verb === 'list') return { metadata: { resourceVersion: '1' }, items: [running] } as T;
      return running as T;
    },
    async *watch<T>(_call: Call, signal: AbortSignal): AsyncGenerator<WatchEvent<T>> {
      if (last !== undefined) yield { type: 'MODIFIED', object: last as T };
      else await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    },
  };
  return self satisfies Api;
};

describe('asked for', () => {
  const never = new AbortController().signal;
  const wanted = {
    ...{ namespace: 'shop', spec: { sourcePod: 'consumer-0' }, podUid: 'pod-uid', seconds: 20 },
    ...{ timeoutMs: 5_000, signal: never, show: () => {} },
  };

  test('it is made so that no release without rehearsals takes it for a migration, and goes with its pod', async () => {
    const api = server(ended);
    expect((await rehearse(api, wanted)).status?.rehearsal?.verdict).toBe('Safe');
    expect(api.calls[0]).toMatchObject({
      query: { fieldValidation: 'Strict' },
      body: {
        metadata: { generateName: 'shadow-rehearsal-', ownerReferences: [{ kind: 'Pod', uid: 'pod-uid' }] },
        spec: { sourcePod: 'consumer-0', rehearse: true, rehearseSeconds: 20 },
      },
    });
    const strict = server(undefined);
    strict.call = (call) =>
      Promise.reject(new ApiError(call, 400, '', 'strict decoding error: unknown field "spec.x"'));
    await expect(rehearse(strict, wanted)).rejects.toThrow(/knows no rehearsals.*older than the plugin/);
  });

  test('it is deleted and waited for until it is put back: ended, late, broken off, or with an API that fails', async () => {
    const done = server(ended, 2);
    await rehearse(done, wanted);
    const late = server(undefined, 2);
    await expect(rehearse(late, { ...wanted, timeoutMs: 50 })).rejects.toMatchObject({ code: 'SHADOW_E_TIMEOUT' });
    const broken = server(undefined, 2);
    const interrupt = new AbortController();
    const breaking = rehearse(broken, { ...wanted, timeoutMs: 60_000, signal: interrupt.signal });
    setTimeout(() => interrupt.abort(), 20);
    await expect(breaking).rejects.toMatchObject({ code: 'SHADOW_E_ABORTED' });
    const refusing = server(undefined, 2);
    const { call } = refusing;
    refusing.call = <T>(given: Call) =>
      given.verb === 'list' ? Promise.reject(new ApiError(given, 403, '', 'no')) : call<T>(given);
    await expect(rehearse(refusing, wanted)).rejects.toMatchObject({ status: 403 });
    for (const api of [done, late, broken, refusing]) {
      expect(api.calls.map(({ verb }) => verb)).toContain('delete');
      expect(api.calls.filter(({ verb }) => verb === 'get')).toHaveLength(3);
      expect(api.alive).toBe(false);
    }
  });
});
