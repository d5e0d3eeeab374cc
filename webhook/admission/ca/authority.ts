/** Certificates of our own CA. Keys come from node:crypto (fast), certificates from node-forge, which signs with RSA only. */
import { generateKeyPair, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import forge from 'node-forge';
import { AGENT, CONTROLLER, NAMESPACE, WEBHOOK } from '../../api/names.ts';

/** PEM, both. */
export interface KeyPair {
  cert: string;
  key: string;
}

const DAY = 24 * 3600 * 1000;
/** Lifetimes and margins, milliseconds. */
export const LIFE = {
  ca: 730 * DAY,
  leaf: 90 * DAY,
  /** A new CA is in every bundle for so long before anything is signed with it. */
  overlap: DAY,
  /** Nodes' clocks may be behind ours. */
  backdate: 5 * 60 * 1000,
} as const;

export type Role = 'webhook' | 'controller' | 'agent';
/** CN and DNS names: agents are dialled by IP and asked for as `shadow-agent`. */
export const ROLES: Record<Role, { name: string; dns: readonly string[]; client: boolean }> = {
  webhook: { name: WEBHOOK, dns: serviceNames(WEBHOOK), client: false },
  controller: { name: CONTROLLER, dns: serviceNames(CONTROLLER), client: true },
  agent: { name: AGENT, dns: [AGENT], client: true },
};

function serviceNames(service: string): string[] {
  const inNamespace = `${service}.${NAMESPACE}`;
  return [service, inNamespace, `${inNamespace}.svc`, `${inNamespace}.svc.cluster.local`];
}

const newKey = async (): Promise<string> => {
  const { privateKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  return privateKey;
};

/** 16 random bytes, positive: never the same twice, however many replicas issue. */
const serial = (): string => {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex');
};

const blank = (key: forge.pki.rsa.PrivateKey, now: number, life: number): forge.pki.Certificate => {
  const cert = forge.pki.createCertificate();
  cert.publicKey = forge.pki.setRsaPublicKey(key.n, key.e);
  cert.serialNumber = serial();
  cert.validity.notBefore = new Date(now - LIFE.backdate);
  cert.validity.notAfter = new Date(now + life);
  return cert;
};

const pem = (cert: forge.pki.Certificate): string => forge.pki.certificateToPem(cert).replaceAll('\r\n', '\n');

export const newCA = async (now: number): Promise<KeyPair> => {
  const key = await newKey();
  const privateKey = forge.pki.privateKeyFromPem(key);
  const cert = blank(privateKey, now, LIFE.ca);
  // The serial in the name: two CAs in one bundle are never taken for each other.
  const name = [{ name: 'commonName', value: `kubectl-shadow CA ${cert.serialNumber.slice(0, 8)}` }];
  cert.setSubject(name);
  cert.setIssuer(name);
  cert.setExtensions([
    { name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true },
    { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    { name: 'subjectKeyIdentifier' },
  ]);
  cert.sign(privateKey, forge.md.sha256.create());
  return { cert: pem(cert), key };
};

export const issue = async (ca: KeyPair, role: Role, now: number): Promise<KeyPair> => {
  const issuer = forge.pki.certificateFromPem(ca.cert);
  const key = await newKey();
  const cert = blank(forge.pki.privateKeyFromPem(key), now, LIFE.leaf);
  const { name, dns, client } = ROLES[role];
  cert.setSubject([{ name: 'commonName', value: name }]);
  cert.setIssuer(issuer.subject.attributes);
  cert.setExtensions([
    { name: 'basicConstraints', cA: false, critical: true },
    { name: 'keyUsage', digitalSignature: true, keyEncipherment: true, critical: true },
    { name: 'extKeyUsage', serverAuth: true, clientAuth: client },
    { name: 'subjectAltName', altNames: dns.map((value) => ({ type: 2, value })) },
    { name: 'subjectKeyIdentifier' },
    { name: 'authorityKeyIdentifier', keyIdentifier: issuer.generateSubjectKeyIdentifier().getBytes() },
  ]);
  cert.sign(forge.pki.privateKeyFromPem(ca.key), forge.md.sha256.create());
  return { cert: pem(cert), key };
};
