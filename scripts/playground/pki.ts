/** The cluster's certificates, made anew at every `up` from nothing; they live in the run directory. */
import { generateKeyPair, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import forge from 'node-forge';
import { ADDRESS, API_SERVICE, API_URL, NODES, nodeAddress } from './layout.ts';

const YEARS = 5;

export interface Issuer {
  readonly key: forge.pki.rsa.PrivateKey;
  readonly cert: forge.pki.Certificate;
}

export interface Pair {
  readonly key: string;
  readonly cert: string;
}

export interface Subject {
  readonly cn: string;
  readonly o?: string;
  readonly dns?: readonly string[];
  readonly ip?: readonly string[];
}

/** Who gets a certificate. Each may serve and call: the Kubernetes parts do both with one. */
export const subjects = (): Readonly<Record<string, Subject>> => ({
  apiserver: {
    cn: 'kube-apiserver',
    dns: [
      'kubernetes',
      'kubernetes.default',
      'kubernetes.default.svc',
      'kubernetes.default.svc.cluster.local',
      'localhost',
    ],
    ip: ['127.0.0.1', ADDRESS.control, API_SERVICE],
  },
  'kubelet-client': { cn: 'kube-apiserver-kubelet-client', o: 'system:masters' },
  admin: { cn: 'playground-admin', o: 'system:masters' },
  'controller-manager': { cn: 'system:kube-controller-manager' },
  scheduler: { cn: 'system:kube-scheduler' },
  proxy: { cn: 'system:kube-proxy' },
  coredns: { cn: 'system:coredns' },
  rabbitmq: {
    cn: 'rabbitmq',
    dns: ['rabbitmq.rabbitmq', 'rabbitmq.rabbitmq.svc', 'rabbitmq.rabbitmq.svc.cluster.local'],
    ip: [ADDRESS.broker],
  },
  ...Object.fromEntries(
    NODES.map((node) => [node, { cn: `system:node:${node}`, o: 'system:nodes', dns: [node], ip: [nodeAddress(node)] }]),
  ),
});

/** Those of subjects() that call the API, and so get a kubeconfig. */
const CALLERS = ['admin', 'controller-manager', 'scheduler', 'proxy', 'coredns', ...NODES];

/** OpenSSL's generator, in threads: forge's own is JavaScript and takes a second a key. */
const newPair = async (): Promise<{ privateKey: string; publicKey: string }> =>
  promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });

const newKey = async (): Promise<forge.pki.rsa.PrivateKey> => forge.pki.privateKeyFromPem((await newPair()).privateKey);

const blank = (key: forge.pki.rsa.PrivateKey, subject: Subject): forge.pki.Certificate => {
  const cert = forge.pki.createCertificate();
  cert.publicKey = forge.pki.setRsaPublicKey(key.n, key.e);
  // A leading 00 keeps the serial positive, as RFC 5280 wants it.
  cert.serialNumber = `00${randomBytes(15).toString('hex')}`;
  cert.validity.notBefore = new Date(Date.now() - 3_600_000);
  cert.validity.notAfter = new Date(Date.now() + YEARS * 365 * 86_400_000);
  cert.setSubject([
    { name: 'commonName', value: subject.cn },
    ...(subject.o === undefined ? [] : [{ name: 'organizationName', value: subject.o }]),
  ]);
  return cert;
};

/** A CA that has signed itself. */
export const authority = async (cn: string): Promise<Issuer> => {
  const key = await newKey();
  const cert = blank(key, { cn });
  cert.setIssuer(cert.subject.attributes);
  cert.setExtensions([
    { name: 'basicConstraints', critical: true, cA: true },
    { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true, digitalSignature: true },
    { name: 'subjectKeyIdentifier' },
  ]);
  cert.sign(key, forge.md.sha256.create());
  return { key, cert };
};

/** A certificate of `subject` and its key, signed by `issuer`, as PEM. Without names it is a client's only. */
export const issue = async (issuer: Issuer, subject: Subject): Promise<Pair> => {
  const key = await newKey();
  const cert = blank(key, subject);
  cert.setIssuer(issuer.cert.subject.attributes);
  const names = [
    ...(subject.dns ?? []).map((value) => ({ type: 2, value })),
    ...(subject.ip ?? []).map((ip) => ({ type: 7, ip })),
  ];
  cert.setExtensions([
    { name: 'basicConstraints', critical: true, cA: false },
    { name: 'keyUsage', critical: true, digitalSignature: true, keyEncipherment: true },
    { name: 'extKeyUsage', serverAuth: names.length > 0, clientAuth: true },
    ...(names.length > 0 ? [{ name: 'subjectAltName', altNames: names }] : []),
  ]);
  cert.sign(issuer.key, forge.md.sha256.create());
  return { key: forge.pki.privateKeyToPem(key), cert: forge.pki.certificateToPem(cert) };
};

export const pemOf = ({ cert }: Issuer): string => forge.pki.certificateToPem(cert);

const base64 = (text: string): string => Buffer.from(text).toString('base64');

const kubeconfig = (ca: string, { key, cert }: Pair): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'playground', cluster: { server: API_URL, 'certificate-authority-data': base64(ca) } }],
    users: [{ name: 'me', user: { 'client-certificate-data': base64(cert), 'client-key-data': base64(key) } }],
    contexts: [{ name: 'playground', context: { cluster: 'playground', user: 'me' } }],
    'current-context': 'playground',
  });

/** Writes `<name>.crt`, `<name>.key` for all subjects, `<name>.conf` for the callers, `ca.crt` and the token key `sa`. */
export const writePki = async (dir: string): Promise<void> => {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const put = (name: string, text: string): void => writeFileSync(join(dir, name), text, { mode: 0o600 });
  const ca = await authority('playground-ca');
  const caCert = pemOf(ca);
  put('ca.crt', caCert);
  put('ca.key', forge.pki.privateKeyToPem(ca.key));
  await Promise.all(
    Object.entries(subjects()).map(async ([name, subject]) => {
      const pair = await issue(ca, subject);
      put(`${name}.crt`, pair.cert);
      put(`${name}.key`, pair.key);
      if (CALLERS.includes(name)) put(`${name}.conf`, kubeconfig(caCert, pair));
    }),
  );
  const tokens = await newPair();
  put('sa.key', tokens.privateKey);
  put('sa.pub', tokens.publicKey);
};
