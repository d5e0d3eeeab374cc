/** The CA and the certificates as Secrets. Two replicas do this at once: who writes second is refused by the API and reads again. */
import type { V1Secret } from '@kubernetes/client-node';
import { CA, TLS_SECRET } from '../../api/names.ts';
import { issue, type KeyPair, newCA, type Role } from './authority.ts';
import { bundleOf, type CARecord, caStep, type Leaf, leafStep, promoted, retired } from './rotation.ts';

/** undefined: no such Secret. create and update throw `Conflict` when another was first. */
export interface SecretsLike {
  /** Ours. */
  readonly namespace: string;
  read(name: string): Promise<V1Secret | undefined>;
  create(secret: V1Secret): Promise<V1Secret>;
  update(secret: V1Secret): Promise<V1Secret>;
}
export class Conflict extends Error {}

const text = (secret: V1Secret, key: string): string => Buffer.from(secret.data?.[key] ?? '', 'base64').toString();
const data = (entries: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(entries).map(([key, value]) => [key, Buffer.from(value).toString('base64')]));

interface Written {
  namespace: string;
  name: string;
  entries: Record<string, string>;
  /** What is replaced. */
  old: V1Secret | undefined;
}

const secret = ({ namespace, name, entries, old }: Written): V1Secret => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: {
    name,
    namespace,
    labels: { 'app.kubernetes.io/name': 'kubectl-shadow' },
    // With the version read: a write over somebody else's is refused.
    ...(old?.metadata?.resourceVersion !== undefined && { resourceVersion: old.metadata.resourceVersion }),
  },
  type: 'kubernetes.io/tls',
  data: data(entries),
});

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

const recordOf = (from: V1Secret): CARecord => {
  const next: KeyPair = { cert: text(from, 'next.crt'), key: text(from, 'next.key') };
  return {
    current: { cert: text(from, 'tls.crt'), key: text(from, 'tls.key') },
    ...(next.cert !== '' && { next }),
    old: [...text(from, 'old.crt').matchAll(CERTIFICATE)].map(([cert]) => cert),
  };
};
const caSecret = (namespace: string, { current, next, old }: CARecord, from: V1Secret | undefined): V1Secret =>
  secret({
    namespace,
    name: CA,
    entries: {
      'tls.crt': current.cert,
      'tls.key': current.key,
      ...(next && { 'next.crt': next.cert, 'next.key': next.key }),
      ...(old.length > 0 && { 'old.crt': old.map((cert) => `${cert.trim()}\n`).join('') }),
    },
    old: from,
  });

const turned = (record: CARecord, now: number): CARecord | undefined => {
  switch (caStep(record, now)) {
    case 'keep':
      return undefined;
    case 'introduce':
      return { ...record, next: newCA(now) };
    case 'promote':
      return promoted(record as CARecord & { next: KeyPair });
    case 'retire':
      return retired(record, now);
  }
};

const ensureCA = async (secrets: SecretsLike, now: number): Promise<CARecord> => {
  const found = await secrets.read(CA);
  if (!found) {
    const record: CARecord = { current: newCA(now), old: [] };
    await secrets.create(caSecret(secrets.namespace, record, undefined));
    return record;
  }
  const record = recordOf(found);
  const next = turned(record, now);
  if (!next) return record;
  await secrets.update(caSecret(secrets.namespace, next, found));
  return next;
};

const ensureLeaf = async (secrets: SecretsLike, role: Role, ca: CARecord, now: number): Promise<Leaf> => {
  const name = TLS_SECRET[role];
  const found = await secrets.read(name);
  const leaf = found && { cert: text(found, 'tls.crt'), key: text(found, 'tls.key'), bundle: text(found, 'ca.crt') };
  const step = leafStep(leaf, role, ca, now, secrets.namespace);
  if (leaf && step === 'keep') return leaf;
  const pair = leaf && step === 'bundle' ? leaf : issue(ca.current, role, now, secrets.namespace);
  const fresh: Leaf = { cert: pair.cert, key: pair.key, bundle: bundleOf(ca) };
  const entries = { 'tls.crt': fresh.cert, 'tls.key': fresh.key, 'ca.crt': fresh.bundle };
  const written = secret({ namespace: secrets.namespace, name, entries, old: found });
  await (found ? secrets.update(written) : secrets.create(written));
  return fresh;
};

export interface Trust {
  /** PEM of all CAs trusted. */
  bundle: string;
  /** The webhook's own certificate. */
  serving: KeyPair;
}

const settle = async (secrets: SecretsLike, now: number): Promise<Trust> => {
  const ca = await ensureCA(secrets, now);
  await ensureLeaf(secrets, 'controller', ca, now);
  await ensureLeaf(secrets, 'agent', ca, now);
  return { bundle: bundleOf(ca), serving: await ensureLeaf(secrets, 'webhook', ca, now) };
};

/** Everything as it should be at `now`; the loser of a race starts over from what the winner wrote. */
export const ensureTrust = async (secrets: SecretsLike, now: number, attempts = 8): Promise<Trust> => {
  try {
    return await settle(secrets, now);
  } catch (error) {
    if (!(error instanceof Conflict) || attempts <= 1) throw error;
    return ensureTrust(secrets, now, attempts - 1);
  }
};
