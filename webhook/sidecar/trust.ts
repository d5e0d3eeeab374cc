/** What the sidecar shows and trusts where it speaks TLS to a broker: the Secret mounted in it, or the well-known CAs. */
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { TLS_FILE } from '../api/names.ts';

/** PEM. */
export interface Trust {
  /** undefined: the well-known CAs. */
  readonly ca: string | undefined;
  /** The client's. */
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

const readOptional = async (path: string): Promise<string | undefined> => {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
};

/** Read afresh for each connection: certificates are renewed while we run. No such directory: the well-known CAs. */
export const readTrust = async (dir: string): Promise<Trust> => {
  const [ca, cert, key] = await Promise.all(
    [TLS_FILE.ca, TLS_FILE.cert, TLS_FILE.key].map((file) => readOptional(join(dir, file))),
  );
  if ((cert === undefined) !== (key === undefined))
    throw new Error(
      `the Secret of the broker's TLS holds one of ${TLS_FILE.cert} and ${TLS_FILE.key} without the other`,
    );
  return { ca, cert, key };
};

/** The name is verified as the app would have done it: it is what stood in the URL, not the address it led to. Pure. */
export const tlsOptions = (host: string, { ca, cert, key }: Trust): ConnectionOptions => {
  const name = host.replace(/\.$/, '');
  return {
    // SNI carries names only (RFC 6066, section 3); an address is verified as the peer's own.
    servername: isIP(host) === 0 ? name : '',
    rejectUnauthorized: true,
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
};
