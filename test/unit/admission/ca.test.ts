/** The CA over the years, and under two replicas. */
import { X509Certificate } from 'node:crypto';
import type { V1Secret } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { dnsNames, LIFE, ROLES, type Role } from '../../../webhook/admission/ca/authority.ts';
import { bundlePatch } from '../../../webhook/admission/ca/publish.ts';
import { Conflict, ensureTrust, type SecretsLike } from '../../../webhook/admission/ca/secrets.ts';
import { applyPatch } from './apply-patch.ts';

const DAY = 24 * 3600 * 1000;
const START = Date.parse('2026-01-01T00:00:00Z');

/** Secrets with the API server's optimistic concurrency; every call lets the other replica in. */
class Store implements SecretsLike {
  readonly namespace: string;
  readonly secrets = new Map<string, V1Secret>();
  conflicts = 0;
  private version = 0;
  constructor(namespace = 'shadow-system') {
    this.namespace = namespace;
  }

  async read(name: string): Promise<V1Secret | undefined> {
    await new Promise(setImmediate);
    return structuredClone(this.secrets.get(name));
  }
  async create(secret: V1Secret): Promise<V1Secret> {
    await new Promise(setImmediate);
    if (this.secrets.has(secret.metadata!.name!)) this.refuse();
    return this.write(secret);
  }
  async update(secret: V1Secret): Promise<V1Secret> {
    await new Promise(setImmediate);
    const { name, resourceVersion } = secret.metadata!;
    if (this.secrets.get(name!)?.metadata?.resourceVersion !== resourceVersion) this.refuse();
    return this.write(secret);
  }
  text(name: string, key: string): string {
    return Buffer.from(this.secrets.get(name)!.data![key]!, 'base64').toString();
  }
  private refuse(): never {
    this.conflicts += 1;
    throw new Conflict();
  }
  private write(secret: V1Secret): V1Secret {
    const stored = { ...secret, metadata: { ...secret.metadata, resourceVersion: `${++this.version}` } };
    this.secrets.set(secret.metadata!.name!, stored);
    return stored;
  }
}

const certificates = (bundle: string): X509Certificate[] =>
  bundle
    .split(/(?<=-----END CERTIFICATE-----)\s*/)
    .filter((pem) => pem.trim() !== '')
    .map((pem) => new X509Certificate(pem));

const trusts = (bundle: string, leaf: string, now: number): boolean => {
  const cert = new X509Certificate(leaf);
  return certificates(bundle).some(
    (ca) =>
      cert.checkIssued(ca) &&
      cert.verify(ca.publicKey) &&
      Date.parse(ca.validTo) > now &&
      Date.parse(cert.validTo) > now,
  );
};

test('over three years, looked after twice a day: whoever holds the bundle of a day ago, or of now, trusts every leaf served in between', {
  timeout: 120_000,
}, async () => {
  const store = new Store();
  const seen: { bundle: string; leaf: string }[] = [];
  const cas = new Set<string>();
  const serials = new Set<string>();
  for (let now = START; now < START + 3 * 365 * DAY; now += DAY / 2) {
    const { bundle } = await ensureTrust(store, now);
    const leaf = store.text('shadow-agent-tls', 'tls.crt');
    seen.push({ bundle, leaf });
    cas.add(new X509Certificate(store.text('shadow-ca', 'tls.crt')).fingerprint256);
    serials.add(new X509Certificate(leaf).serialNumber);
    const past = seen.at(-3);
    if (past && (past.bundle !== bundle || past.leaf !== leaf)) {
      expect(trusts(past.bundle, leaf, now), 'old bundle, new leaf').toBe(true);
      expect(trusts(bundle, past.leaf, now), 'new bundle, old leaf').toBe(true);
    }
    expect(certificates(bundle).length).toBeLessThanOrEqual(3);
    expect(store.text('shadow-agent-tls', 'ca.crt')).toBe(bundle);
  }
  expect(cas.size).toBe(3);
  // Every 60 days or so, not at every look.
  expect(serials.size).toBeGreaterThan(17);
  expect(serials.size).toBeLessThan(24);
});

describe('two replicas', () => {
  test('starting at once agree on one CA and one certificate', async () => {
    const store = new Store();
    const [one, two, three] = await Promise.all([1, 2, 3].map(() => ensureTrust(store, START)));
    expect(store.conflicts).toBeGreaterThan(0);
    expect(two).toEqual(one);
    expect(three).toEqual(one);
    expect(store.text('shadow-webhook-tls', 'tls.crt')).toBe(one!.serving.cert);
  });

  test('renewing at once agree too, at each step of a rotation', async () => {
    const store = new Store();
    await ensureTrust(store, START);
    for (const at of [START + (LIFE.ca * 2) / 3 + DAY, START + (LIFE.ca * 2) / 3 + 3 * DAY, START + LIFE.ca + DAY]) {
      const [one, two] = await Promise.all([ensureTrust(store, at), ensureTrust(store, at)]);
      const settled = await ensureTrust(store, at);
      for (const trust of [one, two]) expect(trusts(settled.bundle, trust.serving.cert, at)).toBe(true);
      expect(await ensureTrust(store, at)).toEqual(settled);
    }
  });
});

test('a cluster that slept past the end of its CA gets a new one at the first look or two', async () => {
  const store = new Store();
  await ensureTrust(store, START);
  const late = START + LIFE.ca + 10 * DAY;
  await ensureTrust(store, late);
  const { bundle, serving } = await ensureTrust(store, late);
  expect(trusts(bundle, serving.cert, late)).toBe(true);
});

test('a Secret that was tampered with is made good', async () => {
  const store = new Store();
  await ensureTrust(store, START);
  const secret = store.secrets.get('shadow-agent-tls')!;
  store.secrets.set('shadow-agent-tls', { ...secret, data: { ...secret.data, 'tls.crt': 'Z2FyYmFnZQ==' } });
  const { bundle } = await ensureTrust(store, START);
  expect(trusts(bundle, store.text('shadow-agent-tls', 'tls.crt'), START)).toBe(true);
});

test('certificates say who they are and what they are for', async () => {
  const store = new Store();
  await ensureTrust(store, START);
  for (const [role, { name }] of Object.entries(ROLES)) {
    const cert = new X509Certificate(store.text(`shadow-${role}-tls`, 'tls.crt'));
    expect(cert.subject).toBe(`CN=${name}`);
    for (const host of dnsNames(role as Role, 'shadow-system')) expect(cert.checkHost(host)).toBe(host);
    expect(cert.checkHost('shadow-other')).toBeUndefined();
    expect(cert.ca).toBe(false);
    // serverAuth for all, clientAuth for those that call agents: never the webhook.
    expect(cert.keyUsage).toEqual(
      role === 'webhook' ? ['1.3.6.1.5.5.7.3.1'] : ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'],
    );
  }
});

test('certificates follow the namespace: those of another are issued anew, by the same CA', async () => {
  const store = new Store();
  await ensureTrust(store, START);
  const moved = new Store('elsewhere');
  for (const [name, secret] of store.secrets) moved.secrets.set(name, structuredClone(secret));
  const { bundle, serving } = await ensureTrust(moved, START);
  const cert = new X509Certificate(serving.cert);
  expect(cert.checkHost('shadow-webhook.elsewhere.svc')).toBeDefined();
  expect(cert.checkHost('shadow-webhook.shadow-system.svc')).toBeUndefined();
  expect(trusts(bundle, serving.cert, START)).toBe(true);
  expect(moved.secrets.get('shadow-webhook-tls')?.metadata?.namespace).toBe('elsewhere');
  expect(moved.text('shadow-agent-tls', 'tls.crt')).toBe(store.text('shadow-agent-tls', 'tls.crt'));
});

test('the bundle goes into every webhook that lacks it, once', () => {
  const config = {
    webhooks: [
      { name: 'a', clientConfig: {} },
      { name: 'b', clientConfig: { caBundle: 'b2xk' } },
    ],
  };
  const patch = bundlePatch(config, 'new');
  expect(patch.filter(({ op }) => op === 'test').map(({ value }) => value)).toEqual(['a', 'b']);
  const after = applyPatch(config, patch.filter(({ op }) => op !== 'test') as never) as typeof config;
  expect(after.webhooks.map(({ clientConfig }) => clientConfig.caBundle)).toEqual(['bmV3', 'bmV3']);
  expect(bundlePatch(after, 'new')).toEqual([]);
});
