/** The agent's certificate: server and client at once. Read again when its files change (the Secret is rotated under us). */
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { join } from 'node:path';

export interface Credentials {
  cert: string;
  key: string;
  ca: string;
}

export const CALLERS = ['shadow-controller', 'shadow-agent'] as const;

const FILES = { cert: 'tls.crt', key: 'tls.key', ca: 'ca.crt' } as const;

const read = (directory: string): Credentials => ({
  cert: readFileSync(join(directory, FILES.cert), 'utf8'),
  key: readFileSync(join(directory, FILES.key), 'utf8'),
  ca: readFileSync(join(directory, FILES.ca), 'utf8'),
});

const POLL_MS = 5000;

export interface CredentialStore {
  current: () => Credentials;
  close: () => void;
}

/** `changed` is called after each successful read; a half-written set keeps the old one. */
export const watchCredentials = (
  directory: string,
  changed: (credentials: Credentials) => void,
  failed: (error: unknown) => void,
): CredentialStore => {
  let credentials = read(directory);
  const reload = (): void => {
    try {
      credentials = read(directory);
      changed(credentials);
    } catch (error) {
      failed(error);
    }
  };
  const files = Object.values(FILES).map((file) => join(directory, file));
  for (const file of files) watchFile(file, { interval: POLL_MS, persistent: false }, reload);
  return {
    current: () => credentials,
    close: () => {
      for (const file of files) unwatchFile(file, reload);
    },
  };
};
