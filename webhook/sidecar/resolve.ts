/**
 * The broker's true address. hostAliases map its name to loopback for every container of the pod, ours included: so it is
 * asked of DNS itself, with the search list of resolv.conf, never of /etc/hosts.
 */
import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ResolvConf {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly ndots: number;
}

/** resolv.conf(5): the last `search` or `domain` counts; ndots is 1 unless set. */
export const parseResolvConf = (text: string): ResolvConf => {
  const servers: string[] = [];
  let search: string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && values[0]) servers.push(values[0]);
    else if (keyword === 'search' || keyword === 'domain') search = values;
    else if (keyword === 'options') {
      const found = values.map((each) => /^ndots:(\d+)$/.exec(each)?.[1]).find((each) => each !== undefined);
      if (found !== undefined) ndots = Math.min(Number(found), 15);
    }
  }
  return { servers, search, ndots };
};

/** Names to ask for, in order: a name with fewer dots than ndots is tried in the search list first. */
export const candidates = (name: string, { search, ndots }: ResolvConf): string[] => {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const searched = search.filter((domain) => domain !== '.').map((domain) => `${name}.${domain.replace(/\.$/, '')}`);
  const dots = name.split('.').length - 1;
  return dots >= ndots ? [name, ...searched] : [...searched, name];
};

/** Says "no such name or no such record": the next candidate may have it. Anything else is a failure to ask. */
const isAbsent = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOTFOUND' || error.code === 'ENODATA');

interface Answer {
  readonly addresses: readonly string[];
  /** Not that there are none, but that they could not be asked for. */
  readonly failure: unknown;
}

const answered = (asked: Promise<string[]>): Promise<Answer> =>
  asked.then(
    (addresses) => ({ addresses, failure: undefined }),
    (error: unknown) => ({ addresses: [], failure: isAbsent(error) ? undefined : error }),
  );

/** How long the addresses of one family wait for those of the other (RFC 8305, section 3). */
const RESOLUTION_DELAY_MS = 50;

/** Both families, always: a name may have addresses of one that leads nowhere from here. */
const addressesOf = async (resolver: Resolver, name: string): Promise<Answer> => {
  const six = answered(resolver.resolve6(name));
  const four = await answered(resolver.resolve4(name));
  if (four.addresses.length === 0) {
    const { addresses, failure } = await six;
    return { addresses, failure: four.failure ?? failure };
  }
  const late = sleep(RESOLUTION_DELAY_MS, { addresses: [], failure: undefined });
  const { addresses } = await Promise.race([six, late]);
  return { addresses: [...four.addresses, ...addresses], failure: undefined };
};

/** Addresses of a host, IPv4 first. Throws the first failure to ask, or that there is no such name. */
export const resolve = async (host: string, path = '/etc/resolv.conf'): Promise<string[]> => {
  if (net.isIP(host)) return [host];
  const conf = parseResolvConf(await readFile(path, 'utf8'));
  const resolver = new Resolver({ timeout: 1000, tries: 3 });
  if (conf.servers.length > 0) resolver.setServers(conf.servers);
  let cause: unknown;
  for (const name of candidates(host, conf)) {
    const { addresses, failure } = await addressesOf(resolver, name);
    if (addresses.length > 0) return [...addresses];
    cause ??= failure;
  }
  throw new Error(`cannot resolve ${host}`, { cause });
};
