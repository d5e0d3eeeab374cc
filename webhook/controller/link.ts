/** Certificates for the direct way of a record, source to copy: made for one handoff, never stored. */
import { selfSigned } from '../admission/ca/authority.ts';
import type { LinkTls } from '../api/control.ts';

/** Longer than any handoff may replay. */
const LIFE_MS = 60 * 60 * 1000;
/** CN and DNS name of the source's certificate; the copy dials an address and trusts the certificate itself. */
export const LINK_NAME = { source: 'shadow-source', copy: 'shadow-copy' } as const;

export const linkPair = (now: number): { source: LinkTls; copy: LinkTls } => {
  const source = selfSigned(LINK_NAME.source, now, LIFE_MS);
  const copy = selfSigned(LINK_NAME.copy, now, LIFE_MS);
  return { source: { ...source, peer: copy.cert }, copy: { ...copy, peer: source.cert } };
};
