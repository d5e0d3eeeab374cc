/**
 * Checkpoints as OCI images: where they are put and what they are called. As the reference names them,
 * `<checkpointImageRepository>/<pod>:checkpoint`.
 */
import { ShadowError } from './errors.ts';

export interface Repository {
  /** As far as the repository says it. A checkpoint is memory: it never goes in the clear unless somebody has said so. */
  scheme?: 'https' | 'http';
  /** With the port, if one is named. */
  host: string;
  path: string;
}

export const CHECKPOINT_TAG = 'checkpoint';

/** By which containerd and CRI-O know a checkpoint from an image; the value is the container's name. */
export const CHECKPOINT_ANNOTATIONS = [
  'org.criu.checkpoint.container.name',
  'io.kubernetes.cri-o.annotations.checkpoint.name',
] as const;

/** OCI distribution specification 1.1, "Pulling manifests": the grammar of <name>. */
const NAME = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;
const HOST =
  /^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])(:\d{1,5})?$/;
/** Clients refuse longer ones. */
const NAME_LIMIT = 255;

/** The first part is a host, and no part of the path, by Docker's rule. */
const isHost = (text: string): boolean => HOST.test(text) && (/[.:[]/.test(text) || text === 'localhost');

const HUB = 'docker.io';
/** Where Docker Hub's registry answers; its credentials are filed under another name yet (dockerconfigjson). */
const HUB_HOST = 'registry-1.docker.io';

/** Throws SHADOW_E_REPOSITORY. */
export const parseRepository = (text: string | undefined): Repository => {
  const refused = (why: string) => new ShadowError('SHADOW_E_REPOSITORY', why);
  if (!text) throw refused('it is empty, and transferMode Registry needs it');
  const [, scheme, rest = ''] = /^(?:(https?):\/\/)?(.*?)\/*$/s.exec(text) ?? [];
  const slash = rest.indexOf('/');
  const [host, path] = slash < 0 ? [rest, ''] : [rest.slice(0, slash), rest.slice(slash + 1)];
  if (!isHost(host)) throw refused(`"${text}" begins with no host`);
  if (path === '') throw refused(`"${text}" has no path behind the host`);
  if (!NAME.test(path)) throw refused(`"${path}" is no path of a repository (lower case, no tag, no digest)`);
  return {
    ...(scheme === 'http' || scheme === 'https' ? { scheme } : {}),
    host: host === HUB ? HUB_HOST : host,
    path,
  };
};

/** The repository of one pod's checkpoints. Throws SHADOW_E_REPOSITORY. */
export const imageName = ({ path }: Repository, pod: string): string => {
  const name = `${path}/${pod}`;
  if (name.length > NAME_LIMIT) throw new ShadowError('SHADOW_E_REPOSITORY', `${name} is longer than ${NAME_LIMIT}`);
  return name;
};

interface Entry {
  auth?: unknown;
  username?: unknown;
  password?: unknown;
  identitytoken?: unknown;
}

export interface Login {
  username: string;
  password: string;
}

/** `https://index.docker.io/v1/` → `registry-1.docker.io`; `https://host:5000/team` → `host:5000/team`. */
const keyed = (key: string): string => {
  const bare = key.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  const [host = '', ...path] = bare.split('/');
  if (['index.docker.io', HUB, HUB_HOST].includes(host)) return HUB_HOST;
  return [host, ...(/^v[12]$/.test(path[0] ?? '') && path.length === 1 ? [] : path)].join('/');
};

const covers = (key: string, place: string): boolean => place === key || place.startsWith(`${key}/`);

const loginOf = ({ auth, username, password }: Entry): Login | undefined => {
  if (typeof username === 'string' && typeof password === 'string' && username !== '') return { username, password };
  if (typeof auth !== 'string' || auth === '') return undefined;
  const [, name = '', secret] = /^([^:]*):(.*)$/s.exec(Buffer.from(auth, 'base64').toString()) ?? [];
  return secret === undefined || name === '' ? undefined : { username: name, password: secret };
};

/**
 * What a `.dockerconfigjson` has for the repository: the entry of its host, or of the longest path above it; undefined: none.
 * Throws SHADOW_E_REGISTRY_ACCESS when it is unreadable, or the entry is of a kind that is not supported.
 */
export const loginFor = (dockerConfig: string, { host, path }: Repository): Login | undefined => {
  const refused = (why: string) => new ShadowError('SHADOW_E_REGISTRY_ACCESS', why);
  let auths: Record<string, Entry>;
  try {
    auths = (JSON.parse(dockerConfig) as { auths?: Record<string, Entry> }).auths ?? {};
  } catch {
    // What it says is a secret: no part of it goes into a message.
    throw refused('the .dockerconfigjson of the Secret is not JSON');
  }
  const [best] = Object.keys(auths)
    .filter((key) => covers(keyed(key), `${host}/${path}`))
    .sort((a, b) => keyed(b).length - keyed(a).length);
  if (best === undefined) return undefined;
  const entry = auths[best] ?? {};
  const login = loginOf(entry);
  if (login === undefined)
    throw refused(
      `the entry ${best} of the Secret has no user name and password${entry.identitytoken ? ' (an identity token is not supported)' : ''}`,
    );
  return login;
};
