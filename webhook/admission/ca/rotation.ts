/** When what is renewed. Pure; the clock is an argument. */
import { X509Certificate } from 'node:crypto';
import { dnsNames, type KeyPair, LIFE, type Role } from './authority.ts';

/** Content of Secret shadow-ca. */
export interface CARecord {
  /** Signs. */
  current: KeyPair;
  /** In the bundle already, signs after the overlap. */
  next?: KeyPair;
  /** Certificates of CAs that no longer sign but whose leaves may still be served. */
  old: string[];
}

export type CAStep = 'keep' | 'introduce' | 'promote' | 'retire';

interface Term {
  from: number;
  to: number;
}
const termOf = (cert: string): Term => {
  const { validFrom, validTo } = new X509Certificate(cert);
  return { from: Date.parse(validFrom), to: Date.parse(validTo) };
};
/** Two thirds of a life: what fails to renew has a third left to be noticed in. */
const isDue = ({ from, to }: Term, now: number): boolean => now >= from + ((to - from) * 2) / 3;

/**
 * introduce: make the next CA and publish it. promote: sign with it from now on (current → old). retire: drop expired ones.
 * A CA that is nearly gone (a cluster that slept) is followed at once.
 */
export const caStep = (record: CARecord, now: number): CAStep => {
  const current = termOf(record.current.cert);
  if (!record.next && isDue(current, now)) return 'introduce';
  if (record.next) {
    const published = now >= termOf(record.next.cert).from + LIFE.backdate + LIFE.overlap;
    if (published || now >= current.to - LIFE.overlap) return 'promote';
  }
  return record.old.some((cert) => now > termOf(cert).to) ? 'retire' : 'keep';
};

export const promoted = ({ current, next, old }: CARecord & { next: KeyPair }): CARecord => ({
  current: next,
  old: [current.cert, ...old],
});
export const retired = (record: CARecord, now: number): CARecord => ({
  ...record,
  old: record.old.filter((cert) => now <= termOf(cert).to),
});

/** What everyone trusts: PEM, the signing CA first. */
export const bundleOf = ({ current, next, old }: CARecord): string =>
  [current.cert, ...(next ? [next.cert] : []), ...old].map((cert) => `${cert.trim()}\n`).join('');

/** Content of a kubernetes.io/tls Secret. */
export interface Leaf extends KeyPair {
  bundle: string;
}
export type LeafStep = 'keep' | 'bundle' | 'issue';

const namesOf = (cert: X509Certificate): string[] =>
  (cert.subjectAltName ?? '')
    .split(', ')
    .map((name) => name.replace(/^DNS:/, ''))
    .sort();

const fits = (leaf: KeyPair, names: readonly string[], ca: KeyPair, now: number): boolean => {
  try {
    const cert = new X509Certificate(leaf.cert);
    const signed = cert.verify(new X509Certificate(ca.cert).publicKey);
    const named = namesOf(cert).join() === [...names].sort().join();
    return signed && named && !isDue(termOf(leaf.cert), now);
  } catch {
    return false; // No certificate at all: somebody edited the Secret.
  }
};

/** issue: a new certificate; bundle: the same one beside a newer bundle. */
export const leafStep = (
  leaf: Leaf | undefined,
  role: Role,
  record: CARecord,
  now: number,
  namespace: string,
): LeafStep => {
  if (!leaf || !fits(leaf, dnsNames(role, namespace), record.current, now)) return 'issue';
  return leaf.bundle === bundleOf(record) ? 'keep' : 'bundle';
};
