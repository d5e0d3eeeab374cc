/** A stand-in API server over HTTP, and commands run against it by their command line. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import yargs from 'yargs';
import { commandLine } from '../../../plugin/commands.ts';
import { problemOf } from '../../../plugin/problems.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import { migration } from './sample.ts';
import { listOf, plainIo, type StandIn } from './stage.ts';

const dir = mkdtempSync(join(tmpdir(), 'shadow-commands-'));
let server: Server;

export const world = {
  /** `METHOD path?query`. */
  sent: [] as string[],
  bodies: [] as unknown[],
  /** What the server answers; undefined: 404; with a `code`: that status. */
  answer: (() => undefined) as (request: IncomingMessage, url: URL, body: unknown) => unknown,
};

const serve = (request: IncomingMessage, response: ServerResponse): void => {
  const url = new URL(request.url ?? '', 'http://x');
  let text = '';
  request.on('data', (chunk) => {
    text += chunk;
  });
  request.on('end', () => {
    const body = text ? JSON.parse(text) : undefined;
    world.sent.push(`${request.method} ${request.url}`);
    if (body) world.bodies.push(body);
    const answered = world.answer(request, url, body);
    if (url.searchParams.get('watch') === 'true') {
      response.end((answered as unknown[]).map((event) => `${JSON.stringify(event)}\n`).join(''));
      return;
    }
    const status = answered === undefined ? 404 : ((answered as { code?: number }).code ?? 200);
    response.statusCode = status;
    response.end(JSON.stringify(answered ?? { reason: 'NotFound', message: `"${url.pathname}" not found` }));
  });
};

/** For a file of tests: a server of its own, asked by whatever `run` runs. */
export const serveShop = (): void => {
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
    world.sent = [];
    world.bodies = [];
  });
  afterEach(() => {
    process.exitCode = 0;
  });
};

/** A whole command by its line. */
export const run = async (
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

export const MIGRATIONS = '/apis/migration.ms2m.io/v1alpha1/namespaces/shop/statefulmigrations';
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
export const shop = (outcome: (name: string) => StatefulMigration['status'], there: StatefulMigration[] = []) => {
  const made: StatefulMigration[] = [];
  world.answer = (request, { pathname, searchParams }, body) => {
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
