/**
 * How a node goes to a registry: whose certificates count, and whether its administrator has said that there is no TLS. What the
 * node's runtime pulls by counts for us, but for `skip_verify`: memory is not sent to whoever answers.
 */
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { parse } from 'smol-toml';
import * as z from 'zod';
import type { Image } from '../../api/agent.ts';
import { ShadowError } from '../../api/errors.ts';
import { type Node, textOf } from '../node.ts';

/** Debian and Alpine; Fedora and its kin; SUSE. */
const BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
] as const;

/** containerd's registry configuration (docs/hosts.md there): a directory for each host. */
const HOSTS_DIRS = ['/etc/containerd/certs.d', '/etc/docker/certs.d'] as const;
const HOSTS_FILE = 'hosts.toml';

const Authorities = z.union([z.string(), z.array(z.string())]).optional();
const Hosts = z.object({
  server: z.string().optional(),
  ca: Authorities,
  host: z.record(z.string(), z.object({ ca: Authorities })).optional(),
});

const listOf = (given: string | string[] | undefined): string[] => (given === undefined ? [] : [given].flat());

const isAt = (url: string, host: string): boolean => URL.canParse(url) && new URL(url).host === host;

/** What a hosts.toml says of the very host; mirrors are not asked: a checkpoint is put where it was said to be put. Pure. */
export const hostsOf = (toml: string, host: string): { plain: boolean; authorities: string[] } => {
  const { server = '', ca, host: hosts = {} } = Hosts.parse(parse(toml));
  const own = Object.entries(hosts).filter(([url]) => isAt(url, host));
  const urls = [...(isAt(server, host) ? [server] : []), ...own.map(([url]) => url)];
  return {
    plain: urls.some((url) => url.startsWith('http://')),
    authorities: [...listOf(ca), ...own.flatMap(([, entry]) => listOf(entry.ca))],
  };
};

/** containerd looks for both spellings of a port. */
const spellings = (host: string): string[] => [host.replace(/:(\d+)$/, '_$1_'), host];

const configured = async (node: Node, host: string): Promise<{ plain: boolean; ca: string[] }> => {
  for (const directory of HOSTS_DIRS.flatMap((base) => spellings(host).map((name) => join(base, name)))) {
    const toml = await textOf(node.at(join(directory, HOSTS_FILE)));
    if (toml === undefined) continue;
    let told: ReturnType<typeof hostsOf>;
    try {
      told = hostsOf(toml, host);
    } catch (error) {
      throw new ShadowError('SHADOW_E_REGISTRY', `${join(directory, HOSTS_FILE)} of ${node.name} cannot be read`, {
        cause: error,
      });
    }
    const texts = await Promise.all(
      told.authorities.map((file) => textOf(node.at(file.startsWith('/') ? file : join(directory, file)))),
    );
    return { plain: told.plain, ca: texts.filter((text) => text !== undefined) };
  }
  return { plain: false, ca: [] };
};

const bundle = async (node: Node): Promise<string[]> => {
  for (const path of BUNDLES) {
    const text = await textOf(node.at(path));
    if (text !== undefined) return [text];
  }
  return [];
};

export interface Road {
  scheme: 'https' | 'http';
  /** PEM. */
  ca: string[];
}

export const roadTo = async (node: Node, { scheme, host, ca }: Image): Promise<Road> => {
  const [told, trusted] = await Promise.all([configured(node, host), bundle(node)]);
  return {
    scheme: scheme ?? (told.plain ? 'http' : 'https'),
    ca: [...rootCertificates, ...trusted, ...told.ca, ...(ca === undefined ? [] : [ca])],
  };
};
