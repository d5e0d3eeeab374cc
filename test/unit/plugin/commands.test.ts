/** Whole commands, by their command line, against a stand-in API server over HTTP: what is sent, printed, and the exit code. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import yargs from 'yargs';
import { commandLine } from '../../../plugin/commands.ts';
import { problemOf } from '../../../plugin/problems.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import { completed, failed, fresh, migration, running, uncommitted } from './sample.ts';
import { listOf, plainIo, type StandIn } from './stage.ts';

const dir = mkdtempSync(join(tmpdir(), 'shadow-commands-'));
let server: Server;
let sent: string[] = [];
let bodies: unknown[] = [];
/** What the server answers; undefined: 404. */
let answer: (request: IncomingMessage, url: URL, body: unknown) => unknown = () => undefined;

const serve = (request: IncomingMessage, response: ServerResponse): void => {
  const url = new URL(request.url ?? '', 'http://x');
  let text = '';
  request.on('data', (chunk) => {
    text += chunk;
  });
  request.on('end', () => {
    const body = text ? JSON.parse(text) : undefined;
    sent.push(`${request.method} ${request.url}`);
    if (body) bodies.push(body);
    const answered = answer(request, url, body);
    if (url.searchParams.get('watch') === 'true') {
      response.end((answered as unknown[]).map((event) => `${JSON.stringify(event)}\n`).join(''));
      return;
    }
    const status = answered === undefined ? 404 : ((answered as { code?: number }).code ?? 200);
    response.statusCode = status;
    response.end(JSON.stringify(answered ?? { reason: 'NotFound', message: `"${url.pathname}" not found` }));
  });
};

beforeAll(async () => {
  server = createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const config = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'x' },
    clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'u', user: {} }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'shop' } }],
  };
  writeFileSync(join(dir, 'config'), JSON.stringify(config));
});
afterAll(async () => {
  rmSync(dir, { recursive: true });
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
beforeEach(() => {
  sent = [];
  bodies = [];
});
afterEach(() => {
  process.exitCode = 0;
});

const run = async (
  line: string,
  io: StandIn = plainIo(),
): Promise<StandIn & { exit: number; code?: string; hint?: string }> => {
  process.exitCode = 0;
  try {
    await commandLine(yargs([...line.split(' '), '--kubeconfig', join(dir, 'config')]), io).parseAsync();
    return { ...io, exit: Number(process.exitCode) };
  } catch (error) {
    const { exit, code, hint, message } = problemOf(error);
    io.told.push(message);
    return { ...io, exit, code, hint };
  }
};

const MIGRATIONS = '/apis/migration.ms2m.io/v1alpha1/namespaces/shop/statefulmigrations';
const pod = (name: string, node = 'worker-a') => ({
  metadata: {
    ...{ name, namespace: 'shop', uid: name, labels: { 'shadow.ms2m.io/injected': 'true' } },
    ownerReferences: [{ kind: 'StatefulSet', name: 'web', uid: 'uid-web', controller: true }],
  },
  spec: { nodeName: node },
  status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
});
const pods = [pod('web-0'), pod('web-1', 'worker-b'), pod('web-2')];

const named = (name: string) => ({ metadata: { name, uid: `uid-${name}` } });
const THERE: Record<string, unknown> = {
  '/api/v1/namespaces/shop/pods': listOf(pods),
  '/api/v1/pods': listOf([]),
  '/api/v1/nodes': listOf([named('worker-a'), named('worker-b')]),
  '/api/v1/nodes/worker-a': named('worker-a'),
  '/api/v1/nodes/worker-b': named('worker-b'),
  '/apis/apps/v1/namespaces/shop/statefulsets': listOf([named('web')]),
  '/apis/apps/v1/namespaces/shop/statefulsets/web': named('web'),
  ...Object.fromEntries(pods.map((each) => [`/api/v1/namespaces/shop/pods/${each.metadata.name}`, each])),
};

/** A namespace with StatefulSet web; what is created has ended as `outcome` says by the time it is listed. */
const shop = (outcome: (name: string) => StatefulMigration['status'], there: StatefulMigration[] = []) => {
  const made: StatefulMigration[] = [];
  answer = (request, { pathname, searchParams }, body) => {
    if (request.method === 'POST') {
      const { spec } = body as StatefulMigration;
      const created = migration(`${spec.sourcePod}-m`, undefined, spec.sourcePod);
      if (!searchParams.has('dryRun'))
        made.push(migration(created.metadata.name, outcome(spec.sourcePod ?? ''), spec.sourcePod));
      return { ...created, spec };
    }
    if (request.method === 'PATCH') return there.find(({ metadata }) => pathname.endsWith(`/${metadata.name}`));
    return pathname === MIGRATIONS ? listOf([...made, ...there]) : THERE[pathname];
  };
};

describe('migrate', () => {
  test('sts/NAME: its replicas in turn, those on the target left out, and a summary', async () => {
    shop(() => completed.status);
    const { exit, printed, told } = await run('migrate sts/web --to worker-b');
    expect(exit).toBe(0);
    expect(bodies.map((body) => (body as StatefulMigration).spec)).toEqual([
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
    expect(bodies).toHaveLength(1);
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
    expect([exit, bodies.length]).toEqual([0, 1]);
    expect(told.filter((line) => line.includes('stays'))).toHaveLength(2);
    bodies = [];
    const idle = await run('migrate -l app=web --from-node worker-c');
    expect([idle.exit, idle.told.at(-1), bodies]).toEqual([0, 'nothing to move', []]);
  });
  test('--dry-run=server has each checked by the API server, and keeps none', async () => {
    shop(() => completed.status);
    const { exit, printed } = await run('migrate sts web --dry-run=server');
    const creations = sent.filter((line) => line.startsWith('POST'));
    expect(exit).toBe(0);
    expect(creations).toEqual(Array(3).fill(`POST ${MIGRATIONS}?fieldManager=kubectl-shadow&dryRun=All`));
    expect(printed[0]?.split('\n')[0]).toBe('statefulmigration.migration.ms2m.io/web-2-m created (server dry run)');
  });
  test('--dry-run=client sends nothing, and prints what kubectl create would take', async () => {
    const { printed } = await run('migrate pod/web-0 web-9 --to n --strategy StopAndCopy --dry-run=client -o yaml');
    expect(sent).toEqual([]);
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
    bodies = [];
    expect(await run('migrate sts/web --no-wait')).toMatchObject({ exit: 2, code: 'SHADOW_E_USAGE' });
    expect(bodies).toEqual([]);
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
    expect(bodies).toEqual([]);
  });
  test('a second migration of the same pod', async () => {
    shop(() => undefined, [migration('web-0-old', running.status, 'web-0')]);
    const { code, told } = await run('migrate web-0');
    expect([code, told.at(-1)]).toEqual(['SHADOW_E_BUSY', expect.stringContaining('web-0-old moves web-0')]);
  });
  test('no permission names what was refused', async () => {
    answer = () => ({ code: 403, reason: 'Forbidden', message: 'User "bob" cannot' });
    const { exit, code, told } = await run('migrate web-0');
    expect([exit, code, told.at(-1)]).toEqual([
      1,
      'SHADOW_E_FORBIDDEN',
      expect.stringMatching(/cannot create statefulmigrations.*bob/),
    ]);
  });
});

describe('status and list', () => {
  const there = [completed, failed, fresh, migration('web-9-m', uncommitted.status, 'web-9')];
  const event = (object: StatefulMigration, version: string, status = object.status) => ({
    type: 'MODIFIED',
    object: { ...object, metadata: { ...object.metadata, resourceVersion: version }, ...(status ? { status } : {}) },
  });
  const watching = (events: unknown[]) => {
    let watches = 0;
    answer = (_, url) => {
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
    answer = () => undefined;
    expect(await run('list --watch')).toMatchObject({ exit: 1, code: 'SHADOW_E_NOT_INSTALLED' });
  });
});

describe('abort', () => {
  const [a, b] = ['web-0', 'web-1'].map((name) => migration(`${name}-m`, uncommitted.status, name));
  const late = migration('late-m', running.status, 'late');
  test('of several: all that can be are, the others told, and the exit code is theirs', async () => {
    shop(() => undefined, [a!, late, b!]);
    const { exit, code, printed, told } = await run('abort web-0 late web-1-m');
    expect(sent.filter((line) => line.startsWith('PATCH'))).toHaveLength(2);
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
    expect(sent.filter((line) => line.startsWith('PATCH'))).toEqual([]);
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
    const before = answer;
    let asked = false;
    answer = (request, url, body) => {
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

describe('the command line', () => {
  test('--no-color takes the colours away', async () => {
    for (const [line, color] of [
      ['list', true],
      ['list --no-color', false],
      ['list --color=false', false],
    ] as const) {
      shop(() => undefined, []);
      const io = { ...plainIo(), color: true };
      process.exitCode = 0;
      await commandLine(yargs([...line.split(' '), '--kubeconfig', join(dir, 'config')]), io).parseAsync();
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
