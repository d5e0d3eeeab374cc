/** Env and arguments that lead the app to the sidecar where no alias can. Pure. */
import type { V1Container } from '@kubernetes/client-node';
import { AMQPS_PORT } from '../api/names.ts';
import { isHostName } from './mentions.ts';
import { type AmqpUrl, expand, hostPort, hostText, literals, type Scheme, withUrls } from './urls.ts';

/** Where a host is to be found instead; undefined: it stays. */
export type Replacement = (scheme: Scheme, host: string) => string | undefined;

/** The sidecar speaks TLS; the app, on loopback, does not. The port is AMQP's own over TLS, which amqp:// would not imply. */
const withoutTls = (url: AmqpUrl, replace: Replacement): AmqpUrl | undefined => {
  const hosts = url.hosts.map(({ host, port = AMQPS_PORT }) => ({ host: replace('amqps', host), port }));
  const led = hosts.flatMap(({ host, port }) => (host === undefined ? [] : [{ host, port }]));
  // Some hosts of it alone can't be: they share one scheme.
  if (led.length === 0 || led.length < hosts.length) return undefined;
  return { ...url, prefix: url.prefix.slice(0, -1), hosts: led };
};

const inText = (text: string, replace: Replacement): string =>
  withUrls(text, (url) => {
    if (url.scheme === 'amqps') return withoutTls(url, replace);
    if (!url.hosts.some(({ host }) => replace('amqp', host) !== undefined)) return undefined;
    return { ...url, hosts: url.hosts.map(({ host, port }) => ({ host: replace('amqp', host) ?? host, port })) };
  });

const inHosts = (text: string, replace: Replacement): string =>
  text.replace(/[^\s,;]+/g, (part) => {
    const parsed = hostPort(part);
    const to = parsed && replace('amqp', parsed.host);
    return to ? hostText({ host: to, port: parsed.port }) : part;
  });

/** The container with some hosts replaced wherever `mentionsOf` finds them; the very same object where it finds none. */
export const rewritten = (container: V1Container, replace: Replacement): V1Container => {
  const known = literals(container.env ?? []);
  const line = (text: string): string => {
    const full = expand(text, known);
    const after = inText(full, replace);
    return after === full ? text : after;
  };
  const env = container.env?.map((entry) => {
    if (entry.valueFrom) return entry;
    const full = known.get(entry.name) ?? '';
    const after = inText(full, replace);
    const value = after === full && isHostName(entry.name) ? inHosts(full, replace) : after;
    return value === full ? entry : { ...entry, value };
  });
  return {
    ...container,
    ...(env && { env }),
    ...(container.command && { command: container.command.map(line) }),
    ...(container.args && { args: container.args.map(line) }),
  };
};
