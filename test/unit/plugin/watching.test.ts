/** status, list and abort as whole commands: what is sent, printed, and the exit code. */
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import { lookedAt } from './check-facts.ts';
import { at, completed, failed, fresh, migration, running, uncommitted } from './sample.ts';
import { MIGRATIONS, run, serveShop, shop, world } from './shop.ts';
import { listOf } from './stage.ts';

serveShop();

describe('status and list', () => {
  const there = [completed, failed, fresh, migration('web-9-m', uncommitted.status, 'web-9')];
  const event = (object: StatefulMigration, version: string, status = object.status) => ({
    type: 'MODIFIED',
    object: { ...object, metadata: { ...object.metadata, resourceVersion: version }, ...(status ? { status } : {}) },
  });
  const watching = (events: unknown[]) => {
    let watches = 0;
    world.answer = (_, url) => {
      if (url.searchParams.get('watch') === 'true') return watches++ === 0 ? events : [];
      const name = /metadata.name=(.*)/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1];
      return listOf(there.filter(({ metadata }) => name === undefined || metadata.name === name));
    };
  };
  test('of several: each in detail, or as rows and names', async () => {
    shop(() => undefined, there);
    const both = `status ${completed.metadata.name} pod/web-9`;
    expect((await run(both)).printed[0]).toMatch(/^Name: +consumer-0-aaaaa[\s\S]*\n\nName: +web-9-m/);
    expect((await run(`${both} -o name`)).printed[0]?.split('\n')).toHaveLength(2);
    expect((await run(`${both} -o wide`)).printed[0]).toMatch(/^NAME .* SECONDS +ERROR\n/);
    expect(JSON.parse((await run(`${both} -o json`)).printed[0]!)).toMatchObject({ kind: 'List' });
    expect(JSON.parse((await run('status web-9 -o json')).printed[0]!)).toMatchObject({ kind: 'StatefulMigration' });
  });
  test('--watch of one: lines to its end, then the report; a failure is its error', async () => {
    watching([event(there[3]!, '8', { ...completed.status })]);
    const done = await run('status web-9 --watch');
    expect(done.exit).toBe(0);
    expect(done.printed.at(-1)).toMatch(/^web-9 moved from worker-a/);
    expect(done.printed.filter((line) => line.includes('Warming'))).toHaveLength(2);
    watching([event(there[3]!, '8', { ...failed.status })]);
    expect(await run('status web-9 --watch')).toMatchObject({ exit: 1, code: 'SHADOW_E_RESTORE' });
  });
  test('--watch of a dry run: what it found, and no report of a move', async () => {
    const dry = { ...there[3]!, spec: { sourcePod: 'web-9', dryRun: true } };
    watching([event(dry, '8', { ...lookedAt().got.status!, completionTime: at(5) })]);
    const { exit, printed } = await run('status web-9 --watch');
    expect(exit).toBe(0);
    expect(printed.at(-1)).toMatch(/Verdict: +fit to go to node-2[\s\S]*Assessment:\n {2}pass {2}pod-state/);
    expect(printed.join('\n')).not.toContain('moved');
  });
  test('--watch of several: rows, until all have ended', async () => {
    watching([event(there[3]!, '8'), event(there[3]!, '9', { ...completed.status })]);
    const { printed } = await run('status web-9 consumer-0-aaaaa --watch');
    expect(
      printed.map((row) =>
        row
          .split(/ +/)
          .slice(0, 1)
          .concat(row.match(/Completed|Restoring|PHASE/)?.[0] ?? ''),
      ),
    ).toEqual([
      ['NAME', 'PHASE'],
      ['consumer-0-aaaaa', 'Completed'],
      ['web-9-m', 'Restoring'],
      ['web-9-m', 'Completed'],
    ]);
    // As wide as the first rows.
    expect(new Set(printed.map((row) => row.search(/PHASE|Completed|Restoring/))).size).toBe(1);
  });
  test('--watch -o json and yaml: a document a state', async () => {
    watching([event(there[3]!, '9', { ...completed.status })]);
    const { printed } = await run('status web-9 --watch -o yaml');
    expect(printed.map((text) => (text === '---' ? text : parse(text).status.phase))).toEqual([
      'Restoring',
      '---',
      'Completed',
    ]);
  });
  test('list --watch of a kind that is not there says so', async () => {
    world.answer = () => undefined;
    expect(await run('list --watch')).toMatchObject({ exit: 1, code: 'SHADOW_E_NOT_INSTALLED' });
  });
});

describe('abort', () => {
  const [a, b] = ['web-0', 'web-1'].map((name) => migration(`${name}-m`, uncommitted.status, name));
  const late = migration('late-m', running.status, 'late');
  test('of several: all that can be are, the others told, and the exit code is theirs', async () => {
    shop(() => undefined, [a!, late, b!]);
    const { exit, code, printed, told } = await run('abort web-0 late web-1-m');
    expect(world.sent.filter((line) => line.startsWith('PATCH'))).toHaveLength(2);
    expect(printed[0]?.split('\n')).toEqual(
      ['web-0', 'web-1'].map((name) => `statefulmigration.migration.ms2m.io/${name}-m asked to abort`),
    );
    expect([exit, code, told]).toEqual([
      1,
      'SHADOW_E_COMMITTED',
      ['the migration is committed and cannot be aborted: late-m'],
    ]);
  });
  test('several that cannot be are each told', async () => {
    shop(() => undefined, [late, completed]);
    const { exit, told } = await run('abort late consumer-0');
    expect([exit, told.map((line) => /\[(\w+)\]/.exec(line)?.[1])]).toEqual([
      1,
      ['SHADOW_E_COMMITTED', 'SHADOW_E_FINISHED'],
    ]);
  });
  test('one name that is none: nothing is asked', async () => {
    shop(() => undefined, [a!]);
    expect(await run('abort web-0 web-7')).toMatchObject({ exit: 1, code: 'SHADOW_E_MIGRATION_NOT_FOUND' });
    expect(world.sent.filter((line) => line.startsWith('PATCH'))).toEqual([]);
  });
  test('--all: what can be, and nothing is no failure', async () => {
    shop(() => undefined, [a!, late, completed]);
    expect(await run('abort --all -o name')).toMatchObject({
      exit: 0,
      printed: ['statefulmigration.migration.ms2m.io/web-0-m'],
    });
    shop(() => undefined, [completed]);
    expect(await run('abort --all')).toMatchObject({ exit: 0, told: ['No resources found in shop namespace.'] });
    expect(await run('abort')).toMatchObject({ exit: 2 });
    expect(await run('abort --all web-0')).toMatchObject({ exit: 2 });
  });
  test('--wait: to the end of each', async () => {
    shop(() => undefined, [a!]);
    const before = world.answer;
    let asked = false;
    world.answer = (request, url, body) => {
      asked ||= request.method === 'PATCH';
      const aborted = {
        ...failed.status!,
        phase: 'Aborted' as const,
        error: { code: 'SHADOW_E_ABORTED' as const, message: '' },
      };
      if (asked && url.pathname === MIGRATIONS) return listOf([{ ...a!, status: aborted }]);
      return before(request, url, body);
    };
    expect(await run('abort web-0 --wait')).toMatchObject({
      exit: 0,
      printed: ['statefulmigration.migration.ms2m.io/web-0-m aborted'],
    });
  });
});
