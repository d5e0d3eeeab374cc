/**
 * The broker's true address. hostAliases map its name to loopback for every container of the pod, ours included: so it is
 * asked of DNS itself, with the search list of resolv.conf, never of /etc/hosts.
 */
import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import net from 'node:net';

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

/** Addresses of a host, IPv4 first. Throws the first failure to ask, or that there is no such name. */
export const resolve = async (host: string, path = '/etc/resolv.conf'): Promise<string[]> => {
  if (net.isIP(host)) return [host];
  const conf = parseResolvConf(await readFile(path, 'utf8'));
  const resolver = new Resolver({ timeout: 1000, tries: 3 });
  if (conf.servers.length > 0) resolver.setServers(conf.servers);
  let failure: unknown;
  for (const name of candidates(host, conf)) {
    for (const ask of [() => resolver.resolve4(name), () => resolver.resolve6(name)]) {
      try {
        const addresses = await ask();
        if (addresses.length > 0) return addresses;
      } catch (error) {
        if (!isAbsent(error)) failure ??= error;
      }
    }
  }
  throw new Error(`cannot resolve ${host}`, { cause: failure });
};
