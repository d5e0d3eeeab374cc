/** The real server: TLS with our CA's certificate, AdmissionReview in and out. */
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { issue, newCA, type Role } from '../../../webhook/admission/ca/authority.ts';
import { admissionApp } from '../../../webhook/admission/server.ts';

const ca = newCA(Date.now());
const SERVER = 'shadow-webhook.shadow-system.svc';
const registry = new Registry();
const told: string[] = [];
let migrations: () => Promise<[]> = async () => [];
let server: Server;

beforeAll(async () => {
  const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const app = admissionApp({
    image: 'i',
    namespace: 'shadow-system',
    migrations: () => migrations(),
    onInjected: async (namespace) => {
      told.push(namespace);
    },
    onSkipped: (_pod, namespace, reason) => told.push(`${namespace}: ${reason}`),
    registry,
    log: quiet as never,
  });
  server = createServer({ ...issue(ca, 'webhook', Date.now()) }, app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

const post = (
  path: string,
  body: string,
  servername = SERVER,
): Promise<{ status: number; body: Record<string, never> }> =>
  new Promise((resolve, reject) => {
    const { port } = server.address() as AddressInfo;
    const call = request(
      { host: '127.0.0.1', port, servername, ca: ca.cert, path, method: 'POST', agent: false },
      (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode!, body: JSON.parse(text) }));
      },
    );
    call.on('error', reject);
    call.end(body);
  });

const pod = (env: object[], labels = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'app-0', labels },
  spec: { containers: [{ name: 'app', image: 'a', env }] },
});
const review = (object: object, over = {}) =>
  JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: 'u-1',
      kind: { group: '', version: 'v1', kind: 'Pod' },
      operation: 'CREATE',
      namespace: 'shop',
      object,
      userInfo: { username: 'me' },
      ...over,
    },
  });
const BROKER = [{ name: 'AMQP_HOST', value: 'mq' }];

test('a pod is patched, its namespace told; not in a dry run', async () => {
  const { status, body } = await post('/inject', review(pod(BROKER), { dryRun: true }));
  expect([status, told]).toEqual([200, []]);
  expect(body).toMatchObject({
    apiVersion: 'admission.k8s.io/v1',
    response: { uid: 'u-1', allowed: true, patchType: 'JSONPatch' },
  });
  await post('/inject', review(pod(BROKER)));
  await post('/inject', review(pod([])));
  expect(told).toEqual(['shop', 'shop: no broker was found in the pod']);
});

test('a refusal is an answer that says code, reason and what to do', async () => {
  const { status, body } = await post('/inject', review(pod([], { 'shadow.ms2m.io/inject': 'true' })));
  expect(status).toBe(200);
  expect(body).toMatchObject({
    response: {
      uid: 'u-1',
      allowed: false,
      status: { code: 403, message: expect.stringMatching(/^SHADOW_E_NO_BROKER: .*annotation/) },
    },
  });
});

test('with the API server out of reach a successor is denied, an injection goes through', async () => {
  migrations = () => Promise.reject(new Error('down'));
  expect((await post('/restore', review(pod(BROKER)))).body).toMatchObject({ response: { allowed: false } });
  expect((await post('/inject', review(pod(BROKER)))).body).toMatchObject({ response: { allowed: true } });
  const claimed = { ...pod(BROKER), metadata: { name: 'x', annotations: { 'shadow.ms2m.io/restore': 'c' } } };
  expect((await post('/validate', review(claimed))).status).toBe(500);
  migrations = async () => [];
});

describe('what is no question is refused, and the server lives on', () => {
  const cases: [string, string, number][] = [
    ['no JSON', '{', 400],
    ['nothing', '', 400],
    ['another kind', '{"apiVersion":"admission.k8s.io/v1","kind":"Pod"}', 400],
    ['an older version', review(pod(BROKER)).replace('admission.k8s.io/v1', 'admission.k8s.io/v1beta1'), 400],
    ['no uid', review(pod(BROKER), { uid: '' }), 400],
    ['no object', review(pod(BROKER), { object: null }), 400],
    ['a pod without containers', review({ metadata: {}, spec: {} }), 400],
    ['too much', JSON.stringify({ a: 'x'.repeat(7_000_000) }), 413],
  ];
  test.each(cases)('%s', async (_name, body, status) => {
    expect((await post('/inject', body)).status).toBe(status);
    expect((await post('/inject', review(pod(BROKER)))).status).toBe(200);
  });
});

test('the certificate holds for our Service alone, and a new one is served without a restart', async () => {
  await expect(post('/inject', '{}', 'shadow-webhook.other.svc')).rejects.toThrow(/altnames/i);
  const next = newCA(Date.now());
  server.setSecureContext(issue(next, 'webhook', Date.now()));
  await expect(post('/inject', '{}')).rejects.toThrow(/signature|issuer|certificate/i);
  server.setSecureContext(issue(ca, 'webhook', Date.now()));
  expect((await post('/inject', '{}')).status).toBe(400);
});

test("controller and agent may call an agent, the webhook's certificate may not", async () => {
  const agent = createServer(
    { ...issue(ca, 'agent', Date.now()), ca: ca.cert, requestCert: true, rejectUnauthorized: true },
    (_request, response) => response.end('{}'),
  );
  await new Promise<void>((resolve) => agent.listen(0, '127.0.0.1', resolve));
  const call = (role: Role) =>
    new Promise((resolve, reject) => {
      const { port } = agent.address() as AddressInfo;
      const client = issue(ca, role, Date.now());
      request({ host: '127.0.0.1', port, servername: 'shadow-agent', ca: ca.cert, ...client, agent: false }, resolve)
        .on('error', reject)
        .end();
    });
  await expect(call('controller')).resolves.toMatchObject({ statusCode: 200 });
  await expect(call('agent')).resolves.toMatchObject({ statusCode: 200 });
  await expect(call('webhook')).rejects.toThrow();
  agent.close();
});
