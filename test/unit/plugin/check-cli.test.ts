/** The command as it is called, against a small API server over HTTP: exit codes, waiting, and what it leaves behind. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type CheckFlags, check } from '../../../plugin/check/check.ts';
import type { Io } from '../../../plugin/io.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import { lookedAt, rehearsedAs } from './check-facts.ts';

const MIGRATIONS = '/apis/migration.ms2m.io/v1alpha1/namespaces/shop/statefulmigrations';
const refused = (status: number, message: string) => ({ status, body: { kind: 'Status', code: status, message } });
const answered = (body: unknown) => ({ status: 200, body });

/** What the caller may see is what a namespace's editor may. */
class ApiServer {
  leads = true;
  /** The controller looks at dry runs. */
  looks = true;
  /** How a rehearsal ends; undefined: it does not. */
  rehearsed: StatefulMigration | undefined = rehearsedAs('Safe');
  /** So many times a rehearsal that was deleted is still there: it is being put back. */
  finalizing = 0;
  readonly made: string[] = [];
  readonly alive = new Set<string>();
  onMade: () => void = () => {};
  #version = 0;
  readonly #server: Server = createServer((request, response) => {
    this.answer(request).then(({ status, body }) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
    );
  });

  async answer(request: IncomingMessage): Promise<{ status: number; body: unknown }> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://api');
    const body = (await text(request)) || '{}';
    if (pathname === '/version') return answered({ gitVersion: 'v1.34.4' });
    if (pathname.endsWith('/selfsubjectaccessreviews')) return answered({ status: { allowed: true } });
    if (pathname.endsWith('/leases/shadow-controller')) return answered(this.lease());
    if (!pathname.startsWith(MIGRATIONS)) return refused(403, 'forbidden');
    if (request.method === 'POST')
      return searchParams.has('dryRun') ? refused(403, 'SHADOW_E_INVALID') : this.make(body);
    const name = pathname.slice(MIGRATIONS.length + 1);
    if (request.method === 'DELETE') {
      if (this.finalizing === 0 || !name.startsWith('shadow-rehearsal-')) this.alive.delete(name);
      return answered({});
    }
    if (name !== '') {
      if (this.finalizing > 0 && --this.finalizing === 0) this.alive.delete(name);
      return this.alive.has(name) ? answered(this.migration(name)) : refused(404, 'not found');
    }
    return answered({ metadata: { resourceVersion: '1' }, items: [...this.alive].map((name) => this.migration(name)) });
  }

  lease(): object {
    const spec = { holderIdentity: this.leads ? 'shadow-controller-a/1' : '' };
    return { metadata: { name: 'l', resourceVersion: String(this.#version++) }, spec };
  }

  migration(name: string): object {
    const own = { name, namespace: 'shop', uid: name };
    if (name.startsWith('shadow-rehearsal-')) {
      const { metadata, ...rest } = this.rehearsed ?? { ...rehearsedAs('Safe'), status: { phase: 'Rehearsing' } };
      return { metadata: { ...metadata, ...own }, ...rest };
    }
    const { metadata, spec, status } = lookedAt().got;
    const looked = this.looks ? { status: { ...status, completionTime: '2026-11-29T22:00:00Z' } } : {};
    return { metadata: { ...metadata, ...own }, spec, ...looked };
  }

  make(body: string): { status: number; body: unknown } {
    const { generateName } = (JSON.parse(body) as { metadata: { generateName: string } }).metadata;
    const name = `${generateName}${this.made.length}`;
    this.made.push(body);
    this.alive.add(name);
    setImmediate(() => this.onMade());
    return answered(this.migration(name));
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

let api: ApiServer;
let scratch: string;
let flags: CheckFlags;
const said = { out: [] as string[], err: [] as string[] };
const io: Io = {
  out: (line) => void said.out.push(line),
  err: (line) => void said.err.push(line),
  live: false,
  color: false,
  unicode: false,
};

beforeEach(async () => {
  api = new ApiServer();
  scratch = mkdtempSync(join(tmpdir(), 'check-cli-'));
  const kubeconfig = join(scratch, 'config');
  const cluster = { server: await api.start(), 'insecure-skip-tls-verify': true };
  const config = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'x' },
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user: {} }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'shop' } }],
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  said.out.length = 0;
  said.err.length = 0;
  flags = {
    ...{ pod: 'pod/consumer-0', kubeconfig, requestTimeout: '30s', wait: false, timeout: '5m', rehearse: false },
    ...{ output: 'json', color: true },
  };
});
afterEach(() => {
  api.stop();
  rmSync(scratch, { recursive: true, force: true });
});

const outcomes = (): Record<string, string> =>
  Object.fromEntries(
    (JSON.parse(said.out[0]!) as { checks: { id: string; outcome: string }[] }).checks.map(({ id, outcome }) => [
      id,
      outcome,
    ]),
  );

test("a namespace's editor has a pod looked at; what it made is gone", async () => {
  expect(await check({ ...flags, to: 'node-2', strategy: 'ShadowPodSwap' }, io)).toBe(0);
  expect(outcomes()).toMatchObject({ crd: 'skipped', 'controller-leads': 'pass', 'pod-session': 'pass' });
  expect(JSON.parse(api.made[0]!).spec).toEqual({
    ...{ sourcePod: 'consumer-0', targetNode: 'node-2', migrationStrategy: 'ShadowPodSwap' },
    ...{ dryRun: true, abort: true },
  });
  expect([...api.alive]).toEqual([]);
});

test('a cluster is judged without a dry run of any pod', async () => {
  expect(await check({ ...flags, pod: undefined }, io)).toBe(0);
  expect(Object.keys(outcomes())).toContain('criu');
  expect(api.made).toEqual([]);
});

test('where nobody leads, nobody is waited for', async () => {
  Object.assign(api, { leads: false, looks: false });
  expect(await check(flags, io)).toBe(1);
  expect(outcomes()).toMatchObject({ 'controller-leads': 'fail', 'pod-state': 'skipped' });
  expect(api.made).toHaveLength(1);
  expect([...api.alive]).toEqual([]);
});

test('Ctrl-C ends it when its object is gone', async () => {
  api.looks = false;
  api.onMade = () => process.emit('SIGINT');
  expect(await check(flags, io)).toBe(130);
  expect(api.made).toHaveLength(1);
  expect([...api.alive]).toEqual([]);
  expect(said.out).toEqual([]);
});

test('--wait looks again until all is well, and tells each reason once', async () => {
  Object.assign(api, { leads: false, looks: false });
  const err = (line: string): void => {
    said.err.push(line);
    Object.assign(api, { leads: true, looks: true });
  };
  expect(await check({ ...flags, wait: true }, { ...io, err })).toBe(0);
  expect(said.err).toEqual([expect.stringMatching(/^waiting: controller-leads: no controller leads/)]);
  expect(said.out).toHaveLength(1);
  expect([...api.alive]).toEqual([]);
}, 30_000);

test('--wait ends with what still fails, and an exit code of its own', async () => {
  api.leads = false;
  await expect(check({ ...flags, wait: true, timeout: '1s' }, io)).rejects.toMatchObject({
    code: 'SHADOW_E_TIMEOUT',
    exit: 124,
  });
  expect(outcomes()).toMatchObject({ 'controller-leads': 'fail' });
});

test('a rehearsal follows a look that found the pod fit, and is gone when it has been put back', async () => {
  api.finalizing = 3;
  expect(await check({ ...flags, rehearse: true, for: '25s', to: 'node-2' }, io)).toBe(0);
  expect(api.made.map((body) => JSON.parse(body).spec)).toEqual([
    { sourcePod: 'consumer-0', targetNode: 'node-2', dryRun: true, abort: true },
    { sourcePod: 'consumer-0', targetNode: 'node-2', rehearse: true, rehearseSeconds: 25 },
  ]);
  expect([api.finalizing, ...api.alive]).toEqual([0]);
  expect(outcomes()).toMatchObject({ 'pod-session': 'pass', 'rehearsal-replay': 'pass', 'rehearsal-time': 'pass' });
  const { ok, rehearsal } = JSON.parse(said.out[0]!);
  expect({ ok, rehearsal }).toMatchObject({
    ok: true,
    rehearsal: { verdict: 'Safe', strategy: 'ShadowPodSwap', frozenMs: 152, estimate: { pause: 'Measured' } },
  });
  expect(said.err[0]).toMatch(/^rehearsing consumer-0, playing for 25 s at most/);
  expect(said.err.join('\n')).toContain('rehearsal of consumer-0: node-1 -> node-2');
});

test('one that finds the app unsafe ends with 1, and names code and place', async () => {
  api.rehearsed = rehearsedAs('Diverged');
  expect(await check({ ...flags, rehearse: true }, io)).toBe(1);
  expect(JSON.parse(said.out[0]!)).toMatchObject({
    ok: false,
    rehearsal: { verdict: 'Diverged', error: { code: 'SHADOW_E_DIVERGED' } },
  });
  expect(said.out[0]).toContain("SHADOW_E_DIVERGED: both published to exchange 'out'");
});

test('nothing is rehearsed of a pod that is not fit', async () => {
  Object.assign(api, { leads: false, looks: false });
  expect(await check({ ...flags, rehearse: true }, io)).toBe(1);
  expect(outcomes()).toMatchObject({ 'controller-leads': 'fail', 'rehearsal-copy': 'skipped' });
  expect(api.made).toHaveLength(1);
});

test('Ctrl-C in a rehearsal ends it when all is put back', async () => {
  Object.assign(api, { rehearsed: undefined, finalizing: 0 });
  api.onMade = () => {
    if (api.made.length < 2) return;
    api.finalizing = 2;
    process.emit('SIGINT');
  };
  expect(await check({ ...flags, rehearse: true }, io)).toBe(130);
  expect([api.finalizing, ...api.alive]).toEqual([0]);
  expect(said.err.at(-1)).toBe('broken off: all is being put back');
  expect(said.out).toEqual([]);
});

test('a rehearsal that does not end is put back when its time is over, with an exit code of its own', async () => {
  api.rehearsed = undefined;
  await expect(check({ ...flags, rehearse: true, timeout: '3s' }, io)).rejects.toMatchObject({
    code: 'SHADOW_E_TIMEOUT',
    exit: 124,
  });
  expect(api.made).toHaveLength(2);
  expect([...api.alive]).toEqual([]);
}, 20_000);

test('what is asked of a rehearsal without one, or without end, is wrong usage', async () => {
  const wrong: Partial<CheckFlags>[] = [
    { for: '10s' },
    { rehearse: true, for: '0s' },
    { rehearse: true, for: '61s' },
    { rehearse: true, for: 'long' },
    { rehearse: true, pod: undefined },
  ];
  for (const each of wrong) await expect(check({ ...flags, ...each }, io)).rejects.toMatchObject({ exit: 2 });
  expect(api.made).toEqual([]);
});

test('what is asked of a pod without one is wrong usage', async () => {
  await expect(check({ ...flags, pod: undefined, to: 'node-2' }, io)).rejects.toMatchObject({ exit: 2 });
  await expect(check({ ...flags, pod: 'sts/consumer' }, io)).rejects.toMatchObject({ exit: 2 });
});
