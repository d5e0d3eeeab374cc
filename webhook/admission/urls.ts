/** AMQP URLs and hosts within texts: found, and put together again with other hosts. Pure. */
import { isIP } from 'node:net';
import type { V1EnvVar } from '@kubernetes/client-node';

export type Scheme = 'amqp' | 'amqps';

export interface HostPort {
  /** As the app spells it, brackets of an IPv6 address left out. */
  host: string;
  port: number | undefined;
}

export interface AmqpUrl {
  scheme: Scheme;
  /** Up to the colon, as spelled: amqp, amqps, pyamqp … */
  prefix: string;
  /** With its @; '' if there is none. */
  user: string;
  /** In the order of the URL, several where the client takes them (`amqp://h1,h2:5673/`); none: the host is no literal. */
  hosts: HostPort[];
  /** What follows the first host and is no port, e.g. a bracket. */
  rest: string;
  /** Path and query. */
  tail: string;
}

const HOST = '(?:\\[[0-9a-f:.]+\\]|[a-z0-9_][a-z0-9._-]*)';
const ENDS = '\\s\'"`<>\\\\,;|/?#';
/** `)` stays in the authority: user:$(PASSWORD)@host. A further host is followed by what ends one, or it is the next URL's scheme. */
const URL_TEXT = new RegExp(
  `(?<![a-z0-9+.-])((?:py)?(amqps?))://([^${ENDS}]*)((?:,${HOST}(?::\\d+)?(?=[${ENDS}]|$))*)([/?#][^\\s'"\`<>\\\\,;|]*)?`,
  'gi',
);
const HOST_PORT = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9_](?:[a-z0-9._-]*)))(?::(\d+))?/i;

const read = (match: RegExpExecArray): HostPort => ({
  host: (match[1] ?? match[2])!,
  port: match[3] === undefined ? undefined : Number(match[3]),
});

/** `host`, `host:port`, `[v6]:port`, or a bare IPv6 address; undefined for anything else. */
export const hostPort = (text: string): HostPort | undefined => {
  if (isIP(text) === 6) return { host: text, port: undefined };
  const match = HOST_PORT.exec(text);
  if (!match || match[0].length !== text.length) return undefined;
  const found = read(match);
  return found.port !== undefined && (found.port < 1 || found.port > 65535) ? undefined : found;
};

/** Of a URL or a list: an IPv6 address has brackets. */
export const hostText = ({ host, port }: HostPort): string =>
  (isIP(host) === 6 ? `[${host}]` : host) + (port === undefined ? '' : `:${port}`);

const parsed = ([, prefix, scheme, authority, more, tail]: readonly (string | undefined)[]): AmqpUrl => {
  const at = authority!.lastIndexOf('@') + 1;
  const first = HOST_PORT.exec(authority!.slice(at));
  const others = more!.split(',').slice(1).map(hostPort);
  return {
    scheme: scheme!.toLowerCase() as Scheme,
    prefix: prefix!,
    user: authority!.slice(0, at),
    hosts: first ? [read(first), ...others.filter((each) => each !== undefined)] : [],
    rest: authority!.slice(at + (first?.[0].length ?? 0)),
    tail: tail ?? '',
  };
};

export const urlsIn = (text: string): AmqpUrl[] => [...text.matchAll(URL_TEXT)].map(parsed);

/** `change` gives undefined for a URL that stays. */
export const withUrls = (text: string, change: (url: AmqpUrl) => AmqpUrl | undefined): string =>
  text.replace(URL_TEXT, (all, ...groups: (string | undefined)[]) => {
    const changed = change(parsed([all, ...groups]));
    if (!changed) return all;
    const { prefix, user, hosts, rest, tail } = changed;
    const [first, ...others] = hosts.map(hostText);
    return `${prefix}://${user}${first}${rest}${others.map((each) => `,${each}`).join('')}${tail}`;
  });

/** Nothing but URLs, as a list (`a,b`, `a b`, `["a","b"]`) that differ in their hosts alone: nodes of one cluster. */
export const isUrlList = (text: string): boolean => {
  const urls = urlsIn(text);
  const kinds = new Set(urls.map(({ scheme, user, tail }) => `${scheme} ${user} ${tail}`));
  return urls.length > 1 && kinds.size === 1 && /^[\s,;"'[\]]*$/.test(text.replace(URL_TEXT, ''));
};

/** Kubernetes' own expansion of $(NAME), as far as the values are literals; $$ stays for it to undo. */
export const expand = (text: string, known: ReadonlyMap<string, string>): string =>
  text.replace(/\$\$|\$\(([^)]+)\)/g, (all, name: string | undefined) =>
    name === undefined ? all : (known.get(name) ?? all),
  );

export const literals = (env: readonly V1EnvVar[]): Map<string, string> => {
  const known = new Map<string, string>();
  for (const { name, value, valueFrom } of env) if (!valueFrom) known.set(name, expand(value ?? '', known));
  return known;
};
