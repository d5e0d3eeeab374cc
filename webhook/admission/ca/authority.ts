/**
 * Certificates of our own CA, ECDSA P-256. node-forge builds them but knows RSA keys only, so key and signature, from
 * node:crypto, are put in their places in what it builds (RFC 5280, section 4.1).
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import forge from 'node-forge';
import { AGENT, CONTROLLER, NAMESPACE, serviceHost, WEBHOOK } from '../../api/names.ts';

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
/** The name is the CN. */
export const ROLES: Record<Role, { name: string; service: boolean; client: boolean }> = {
  webhook: { name: WEBHOOK, service: true, client: false },
  controller: { name: CONTROLLER, service: true, client: true },
  agent: { name: AGENT, service: false, client: true },
};

/** DNS names: agents are dialled by IP and asked for as `shadow-agent`, the others by their Service in our `namespace`. */
export const dnsNames = (role: Role, namespace: string): string[] => {
  const { name, service } = ROLES[role];
  if (!service) return [name];
  const host = serviceHost(name, namespace);
  return [name, `${name}.${namespace}`, host, `${host}.cluster.local`];
};

/** 16 random bytes, positive: never the same twice, however many replicas issue. */
const serial = (): string => {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex');
};

const spki = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' });
/** Bytes of an uncompressed P-256 point: the end of its SubjectPublicKeyInfo. */
const POINT = 65;
/** SHA-1 of the key's bits: RFC 5280, section 4.2.1.2, method 1. */
const keyId = (key: KeyObject): string =>
  createHash('sha1').update(spki(key).subarray(-POINT)).digest().toString('binary');

const { asn1 } = forge;
const sequence = (value: forge.asn1.Asn1[]): forge.asn1.Asn1 =>
  asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, value);
const fromDer = (der: Buffer): forge.asn1.Asn1 => asn1.fromDer(der.toString('binary'));
const toDer = (value: forge.asn1.Asn1): Buffer => Buffer.from(asn1.toDer(value).getBytes(), 'binary');

const ecdsaWithSha256 = (): forge.asn1.Asn1 =>
  sequence([asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OID, false, asn1.oidToDer('1.2.840.10045.4.3.2').getBytes())]);
const bits = (value: Buffer): forge.asn1.Asn1 =>
  asn1.create(asn1.Class.UNIVERSAL, asn1.Type.BITSTRING, false, `\0${value.toString('binary')}`);

/** Positions in TBSCertificate. */
const SIGNATURE = 2;
const SUBJECT_KEY = 6;
// In node-forge's documented interface, not in its types.
const { getTBSCertificate } = forge.pki as unknown as {
  getTBSCertificate(cert: forge.pki.Certificate): forge.asn1.Asn1;
};
const anyKey = (): forge.pki.rsa.PublicKey =>
  forge.pki.setRsaPublicKey(new forge.jsbn.BigInteger('3'), new forge.jsbn.BigInteger('3'));

interface Wanted {
  name: string;
  issuer: string;
  signer: KeyObject;
  serial: string;
  now: number;
  life: number;
  extensions: object[];
}

const certify = (key: KeyObject, wanted: Wanted): string => {
  const cert = forge.pki.createCertificate();
  cert.serialNumber = wanted.serial;
  cert.validity.notBefore = new Date(wanted.now - LIFE.backdate);
  cert.validity.notAfter = new Date(wanted.now + wanted.life);
  cert.setSubject([{ name: 'commonName', value: wanted.name }]);
  cert.setIssuer([{ name: 'commonName', value: wanted.issuer }]);
  cert.setExtensions([
    ...wanted.extensions,
    { id: '2.5.29.14', value: asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OCTETSTRING, false, keyId(key)) },
    { name: 'authorityKeyIdentifier', keyIdentifier: keyId(createPublicKey(wanted.signer)) },
  ]);
  cert.publicKey = anyKey();
  cert.siginfo.algorithmOid = forge.pki.oids.sha256WithRSAEncryption!;
  const body = getTBSCertificate(cert);
  const fields = body.value as forge.asn1.Asn1[];
  fields[SIGNATURE] = ecdsaWithSha256();
  fields[SUBJECT_KEY] = fromDer(spki(key));
  const der = toDer(sequence([body, ecdsaWithSha256(), bits(sign('sha256', toDer(body), wanted.signer))]));
  return new X509Certificate(der).toString();
};

const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const pem = (key: KeyObject): string => key.export({ format: 'pem', type: 'pkcs8' }).toString();

export const newCA = (now: number): KeyPair => {
  const key = newKey();
  const id = serial();
  // The serial in the name: two CAs in one bundle are never taken for each other.
  const name = `kubectl-shadow CA ${id.slice(0, 8)}`;
  const cert = certify(createPublicKey(key), {
    name,
    issuer: name,
    signer: key,
    serial: id,
    now,
    life: LIFE.ca,
    extensions: [
      { name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  return { cert, key: pem(key) };
};

export const issue = (ca: KeyPair, role: Role, now: number, namespace: string = NAMESPACE): KeyPair => {
  const key = newKey();
  const { name, client } = ROLES[role];
  const cert = certify(createPublicKey(key), {
    name,
    issuer: new X509Certificate(ca.cert).subject.replace(/^CN=/, ''),
    signer: createPrivateKey(ca.key),
    serial: serial(),
    now,
    life: LIFE.leaf,
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true, clientAuth: client },
      { name: 'subjectAltName', altNames: dnsNames(role, namespace).map((value) => ({ type: 2, value })) },
    ],
  });
  return { cert, key: pem(key) };
};

/** A leaf that signs itself, for a peer that is given this very certificate to trust. `life` in milliseconds. */
export const selfSigned = (name: string, now: number, life: number): KeyPair => {
  const key = newKey();
  const cert = certify(createPublicKey(key), {
    name,
    issuer: name,
    signer: key,
    serial: serial(),
    now,
    life,
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
      { name: 'subjectAltName', altNames: [{ type: 2, value: name }] },
    ],
  });
  return { cert, key: pem(key) };
};
