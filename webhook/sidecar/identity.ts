/**
 * Who this process is. Read afresh at each use, never cached or held open: a process restored from a checkpoint finds
 * another pod's files at the same paths.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SIDECAR } from '../api/names.ts';

export interface Paths {
  readonly idDir: string;
  readonly runDir: string;
}

/** SHADOW_ID_DIR and SHADOW_RUN_DIR are for tests; in a pod the mounts are where the webhook puts them. */
export const pathsOf = (env: NodeJS.ProcessEnv): Paths => ({
  idDir: env.SHADOW_ID_DIR ?? SIDECAR.idDir,
  runDir: env.SHADOW_RUN_DIR ?? SIDECAR.runDir,
});

export interface Identity {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
}

const read = (dir: string, file: string): string => readFileSync(join(dir, file), 'utf8').trim();

/** Throws when the file is missing or empty. */
export const readUid = (idDir: string): string => {
  const uid = read(idDir, 'uid');
  if (uid === '') throw new Error(`${join(idDir, 'uid')} is empty`);
  return uid;
};

export const readIdentity = (idDir: string): Identity => ({
  uid: readUid(idDir),
  name: read(idDir, 'name'),
  namespace: read(idDir, 'namespace'),
});

export interface Credentials {
  /** The pod's projected token, of our audience. */
  readonly token: string;
  /** PEM. */
  readonly ca: string;
}

/** undefined while one of them is not there: the CA's ConfigMap is mounted optional and may come later. */
export const readCredentials = (idDir: string): Credentials | undefined => {
  try {
    return { token: read(idDir, 'token'), ca: read(idDir, 'ca.crt') };
  } catch {
    return undefined;
  }
};
