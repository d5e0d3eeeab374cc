/** Whose certificates of a registry count: the well-known CAs, those the node trusts, and the one the user names. */
import { rootCertificates } from 'node:tls';
import { type Node, textOf } from '../node.ts';

/** Debian and Alpine; Fedora and its kin; SUSE. What the node's own runtime pulls by. */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
] as const;

export const trusted = async (node: Node, own: string | undefined): Promise<string[]> => {
  for (const path of BUNDLES) {
    const bundle = await textOf(node.at(path));
    if (bundle !== undefined) return [...rootCertificates, bundle, ...(own === undefined ? [] : [own])];
  }
  return [...rootCertificates, ...(own === undefined ? [] : [own])];
};
