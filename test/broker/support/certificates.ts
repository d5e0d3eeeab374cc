/** A CA of the test's own, and what it signs. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import forge from 'node-forge';

/** PEM, both. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

export interface Authority {
  readonly cert: string;
  /** `names`: DNS names and IP addresses, in the order of SAN; none: a client's. */
  issue(commonName: string, names?: { dns?: readonly string[]; ip?: readonly string[] }): Issued;
}

const DNS = 2;
const IP = 7;
const HOUR = 3_600_000;

const keys = (): { key: string; public: forge.pki.rsa.PublicKey } => {
  const pair = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return { key: pair.privateKey, public: forge.pki.publicKeyFromPem(pair.publicKey) };
};

const unsigned = (commonName: string, publicKey: forge.pki.rsa.PublicKey): forge.pki.Certificate => {
  const cert = forge.pki.createCertificate();
  cert.serialNumber = `01${randomBytes(15).toString('hex')}`;
  cert.validity.notBefore = new Date(Date.now() - HOUR);
  cert.validity.notAfter = new Date(Date.now() + 24 * HOUR);
  cert.publicKey = publicKey;
  cert.setSubject([{ name: 'commonName', value: commonName }]);
  return cert;
};

export const newAuthority = (commonName: string): Authority => {
  const own = keys();
  const signer = forge.pki.privateKeyFromPem(own.key);
  const ca = unsigned(commonName, own.public);
  ca.setIssuer(ca.subject.attributes);
  ca.setExtensions([
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    { name: 'subjectKeyIdentifier' },
  ]);
  ca.sign(signer, forge.md.sha256.create());
  return {
    cert: forge.pki.certificateToPem(ca),
    issue: (name, { dns = [], ip = [] } = {}) => {
      const pair = keys();
      const cert = unsigned(name, pair.public);
      const altNames = [...dns.map((value) => ({ type: DNS, value })), ...ip.map((each) => ({ type: IP, ip: each }))];
      cert.setIssuer(ca.subject.attributes);
      cert.setExtensions([
        { name: 'basicConstraints', cA: false },
        { name: 'keyUsage', digitalSignature: true, keyEncipherment: true },
        altNames.length > 0 ? { name: 'extKeyUsage', serverAuth: true } : { name: 'extKeyUsage', clientAuth: true },
        ...(altNames.length > 0 ? [{ name: 'subjectAltName', altNames }] : []),
      ]);
      cert.sign(signer, forge.md.sha256.create());
      return { cert: forge.pki.certificateToPem(cert), key: pair.key };
    },
  };
};
