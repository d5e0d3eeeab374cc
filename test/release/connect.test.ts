/** What the executable loads only when a command asks the server, and by which the kubeconfig is read: all of it is in the bundle. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { authority, issue, type Pair, pemOf } from '../../scripts/playground/pki.ts';
import { run } from '../../scripts/playground/run.ts';
import { bundlePlugin, makeExecutable } from '../../scripts/release/executable.ts';
import { ownPlatform } from '../../scripts/release/platforms.ts';

let dir = '';
let executable = '';
let server: Server;
let caller: Pair;
/** Who called, by certificate or by token. */
let callers: string[] = [];

const MIGRATION = { metadata: { name: 'm-1', namespace: 'shop' }, spec: { sourcePod: 'web-0' } };

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'connect-'));
  const [bundle, work] = [join(dir, 'plugin.cjs'), join(dir, 'work')];
  mkdirSync(work);
  await bundlePlugin(bundle);
  const say = (line: string): void => console.error(line);
  executable = await makeExecutable({ platform: ownPlatform()!, bundle, work, say });

  const ca = await authority('test');
  const own = await issue(ca, { cn: 'server', ip: ['127.0.0.1'] });
  caller = await issue(ca, { cn: 'jane' });
  const tls = { ...own, ca: pemOf(ca), requestCert: true, rejectUnauthorized: false };
  server = createServer(tls, ({ url = '', headers, socket }, response) => {
    callers.push(headers.authorization ?? String((socket as TLSSocket).getPeerCertificate().subject?.CN));
    const known = url.startsWith('/apis/migration.ms2m.io/v1alpha1/namespaces/shop/statefulmigrations');
    response.statusCode = known ? 200 : 404;
    response.end(JSON.stringify(known ? { metadata: {}, items: [MIGRATION] } : {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const authorityData = Buffer.from(pemOf(ca)).toString('base64');
  const cluster = { server: `https://127.0.0.1:${port}`, 'certificate-authority-data': authorityData };
  const program = join(dir, 'credentials');
  const credential = {
    apiVersion: 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    status: { token: 'secret' },
  };
  writeFileSync(program, `#!/bin/sh\necho '${JSON.stringify(credential)}'\n`, { mode: 0o755 });
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: program, interactiveMode: 'Never' };
  const config = {
    clusters: [
      { name: 'c', cluster },
      {
        name: 'stranger',
        cluster: { ...cluster, 'certificate-authority-data': Buffer.from(own.cert).toString('base64') },
      },
    ],
    users: [
      { name: 'certificate', user: { 'client-certificate': join(dir, 'crt'), 'client-key': join(dir, 'key') } },
      { name: 'program', user: { exec } },
    ],
    contexts: [{ name: 'shop', context: { cluster: 'c', user: 'certificate', namespace: 'shop' } }],
    'current-context': 'shop',
  };
  writeFileSync(join(dir, 'crt'), caller.cert);
  writeFileSync(join(dir, 'key'), caller.key);
  writeFileSync(join(dir, 'config'), JSON.stringify(config));
});
afterAll(() => {
  server?.close();
  rmSync(dir, { recursive: true, force: true });
});

const shadow = (...args: string[]) => {
  callers = [];
  return run([executable, ...args], { env: { KUBECONFIG: join(dir, 'config') } });
};

test('it reaches a server by the certificates of a kubeconfig', async () => {
  const { code, stdout, stderr } = await shadow('list', '-o', 'json');
  expect([code, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout).items).toEqual([expect.objectContaining(MIGRATION)]);
  expect(callers).toEqual(['jane']);
  expect((await shadow('list', '-o', 'yaml')).stdout).toContain('sourcePod: web-0');
});

test('it reaches it by the credentials a program gives', async () => {
  const { code, stdout } = await shadow('list', '--user', 'program');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^NAME .*\nm-1 /);
  expect(callers).toEqual(['Bearer secret']);
});

test('it reaches none whose certificate another CA has signed', async () => {
  const { code, stderr } = await shadow('list', '--cluster', 'stranger');
  expect(code).toBe(1);
  expect(stderr).toMatch(/certificate.*\[SHADOW_E_API\]/);
  expect(callers).toEqual([]);
});

test('it completes the names of migrations', async () => {
  // A busy machine may not answer within a Tab's time.
  const tab = async (): Promise<string> => (await shadow('__complete', 'abort', '')).stdout;
  await expect.poll(tab, { timeout: 60_000 }).toBe('m-1\tweb-0, Pending\n:4\n');
});
