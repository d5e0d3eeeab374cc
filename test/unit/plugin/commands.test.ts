/** Whole commands: what is sent, printed, and the exit code. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import { completed, failed, migration, running } from './sample.ts';
import { MIGRATIONS, run, serveShop, shop, world } from './shop.ts';
import { plainIo } from './stage.ts';

serveShop();

describe('migrate', () => {
  test('sts/NAME: its replicas in turn, those on the target left out, and a summary', async () => {
    shop(() => completed.status);
    const { exit, printed, told } = await run('migrate sts/web --to worker-b');
    expect(exit).toBe(0);
    expect(world.bodies.map((body) => (body as StatefulMigration).spec)).toEqual([
      { sourcePod: 'web-2', targetNode: 'worker-b' },
      { sourcePod: 'web-0', targetNode: 'worker-b' },
    ]);
    expect(told[0]).toBe('pod/web-1 stays: it runs on worker-b already');
    expect(told).toContain('statefulmigration.migration.ms2m.io/web-2-m created');
    expect(printed[0]).toMatch(/web-2 +Completed[\s\S]*web-0 +Completed[\s\S]*2 moved, 0 not moved, 0 not begun/);
  });
  test('a failure: its code and exit, the rest not begun', async () => {
    shop(() => failed.status);
    const { exit, code, printed } = await run('migrate -l app=web');
    expect([exit, code]).toEqual([1, 'SHADOW_E_RESTORE']);
    expect(world.bodies).toHaveLength(1);
    expect(printed[0]).toMatch(/web-1 +Not begun[\s\S]*web-0 +Not begun[\s\S]*0 moved, 1 not moved, 2 not begun/);
  });
  test('one pod: the report', async () => {
    shop(() => completed.status);
    expect((await run('migrate web-0 --to worker-b')).printed[0]).toMatch(
      /^web-0 moved from worker-a to worker-b in 5.20s/,
    );
  });
  test('all on the target already is nothing to do', async () => {
    shop(() => completed.status);
    const { exit, told } = await run('migrate sts/web --from-node worker-b --to worker-a');
    expect([exit, world.bodies.length]).toEqual([0, 1]);
    expect(told.filter((line) => line.includes('stays'))).toHaveLength(2);
    world.bodies = [];
    const idle = await run('migrate -l app=web --from-node worker-c');
    expect([idle.exit, idle.told.at(-1), world.bodies]).toEqual([0, 'nothing to move', []]);
  });
  test('--dry-run=server has each checked by the API server, and keeps none', async () => {
    shop(() => completed.status);
    const { exit, printed } = await run('migrate sts web --dry-run=server');
    const creations = world.sent.filter((line) => line.startsWith('POST'));
    expect(exit).toBe(0);
    expect(creations).toEqual(Array(3).fill(`POST ${MIGRATIONS}?fieldManager=kubectl-shadow&dryRun=All`));
    expect(printed[0]?.split('\n')[0]).toBe('statefulmigration.migration.ms2m.io/web-2-m created (server dry run)');
  });
  test('--dry-run=client sends nothing, and prints what kubectl create would take', async () => {
    const { printed } = await run('migrate pod/web-0 web-9 --to n --strategy StopAndCopy --dry-run=client -o yaml');
    expect(world.sent).toEqual([]);
    expect(parse(printed[0]!)).toMatchObject({
      kind: 'List',
      items: [{ spec: { sourcePod: 'web-0' } }, { spec: { sourcePod: 'web-9' } }],
    });
    const single = await run('migrate pod/web-0 --to n --dry-run=client -o yaml');
    expect(parse(single.printed[0]!)).toEqual({
      ...{ apiVersion: 'migration.ms2m.io/v1alpha1', kind: 'StatefulMigration' },
      metadata: { generateName: 'web-0-', namespace: 'shop' },
      spec: { sourcePod: 'web-0', targetNode: 'n' },
    });
  });
  test('--wait=false makes one and leaves; several it refuses before any is made', async () => {
    shop(() => undefined);
    expect(await run('migrate web-0 --wait=false')).toMatchObject({
      exit: 0,
      printed: ['statefulmigration.migration.ms2m.io/web-0-m created'],
    });
    world.bodies = [];
    expect(await run('migrate sts/web --no-wait')).toMatchObject({ exit: 2, code: 'SHADOW_E_USAGE' });
    expect(world.bodies).toEqual([]);
  });
  test.each([
    ['migrate', 2, 'SHADOW_E_USAGE', /nothing to move is named/],
    ['migrate job/x', 2, 'SHADOW_E_USAGE', /a job cannot be moved/],
    ['migrate web-0 -l a=b', 2, 'SHADOW_E_USAGE', /not both/],
    ['migrate web-3', 1, 'SHADOW_E_POD_NOT_FOUND', /no such pod: web-3 in namespace shop/],
    ['migrate sts/wbe', 1, 'SHADOW_E_OWNER_NOT_FOUND', /StatefulSet wbe in namespace shop/],
    ['migrate web-1 --to worker-b', 1, 'SHADOW_E_SAME_NODE', /web-1 on worker-b/],
    ['migrate web-0 --to worker-c', 1, 'SHADOW_E_NODE_NOT_FOUND', /worker-c/],
    ['migrate web-0 --timeout soon', 2, 'SHADOW_E_USAGE', /"soon" is no duration/],
    ['migrate web-0 --to', 2, 'SHADOW_E_USAGE', /to/],
    ['migrate web-0 --dry-run=maybe', 2, 'SHADOW_E_USAGE', /dry-run/],
  ])('%s: %d, %s', async (line, exit, code, message) => {
    shop(() => completed.status);
    const result = await run(line);
    expect(result).toMatchObject({ exit, code });
    expect(result.told.at(-1)).toMatch(message);
    expect(world.bodies).toEqual([]);
  });
  test('a second migration of the same pod', async () => {
    shop(() => undefined, [migration('web-0-old', running.status, 'web-0')]);
    const { code, told } = await run('migrate web-0');
    expect([code, told.at(-1)]).toEqual(['SHADOW_E_BUSY', expect.stringContaining('web-0-old moves web-0')]);
  });
  test('no permission names what was refused', async () => {
    world.answer = () => ({ code: 403, reason: 'Forbidden', message: 'User "bob" cannot' });
    const { exit, code, told } = await run('migrate web-0');
    expect([exit, code, told.at(-1)]).toEqual([
      1,
      'SHADOW_E_FORBIDDEN',
      expect.stringMatching(/cannot create statefulmigrations.*bob/),
    ]);
  });
});

describe('the command line', () => {
  test('--no-color takes the colours away', async () => {
    for (const [line, color] of [
      ['list', true],
      ['list --no-color', false],
      ['list --color=false', false],
    ] as const) {
      shop(() => undefined, []);
      const io = { ...plainIo(), color: true };
      await run(line, io);
      expect([line, io.color]).toEqual([line, color]);
    }
  });
  test('of a flag given twice the last counts, of names all', async () => {
    const { printed } = await run('migrate a b -n one -n two --dry-run=server --dry-run=client -o json');
    expect(JSON.parse(printed[0]!).items.map(({ metadata }: StatefulMigration) => [metadata.namespace])).toEqual([
      ['two'],
      ['two'],
    ]);
  });
});

test('called with nothing, it says what it can, as kubectl does', () => {
  const plugin = fileURLToPath(new URL('../../../plugin/bin/kubectl-shadow', import.meta.url));
  const { status, stdout, stderr } = spawnSync(plugin, { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toContain('kubectl shadow migrate [targets..]');
});
