/** Where a pod's spec names a broker: env, args and command, as literals. Secrets and ConfigMaps are never read. Pure. */
import { isIP } from 'node:net';
import type { V1Container, V1EnvVar } from '@kubernetes/client-node';
import { AMQP_PORT, BLIND_PORTS } from '../api/names.ts';

export interface Mention {
  /** Exactly as the app spells it, brackets of an IPv6 address left out. */
  host: string;
  port: number;
  tls: boolean;
  /** For messages: "env AMQP_URL of container app". */
  where: string;
}

/** A name that should tell but doesn't, one line. */
export interface Findings {
  mentions: Mention[];
  untold: string[];
}

const AMQPS_PORT = 5671;
/** Names that speak of RabbitMQ or AMQP, and those that may: the latter count with port 5672 (or none) alone. */
const SURE = 'amqps?|rabbit(?:_?mq)?|rmq';
const MAYBE = 'broker|mq|messaging';
const SUFFIX = 'host(?:s|_?names?)?|addr(?:ess(?:es)?)?|servers?|endpoints?|nodes?';
const HOST_NAME = new RegExp(`(?:^|[_.-])(?:(${SURE})|${MAYBE})(?:[_.-]+[a-z0-9]+)*[_.-]*(?:${SUFFIX})$`, 'i');
const OTHER_BROKERS = /kafka|mqtt|pulsar|nats|redis|activemq|artemis|sqs|zookeeper/i;
/** The authority of an AMQP URL, anywhere in a text. `)` stays in: user:$(PASSWORD)@host. */
const LITERAL = /(?<![a-z0-9+.-])(?:py)?(amqps?):\/\/([^\s'"`<>\\,;|/?#]*)/gi;
const HOST_PORT = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9_](?:[a-z0-9._-]*)))(?::(\d+))?/i;

interface HostPort {
  host: string;
  port: number | undefined;
}

/** `host`, `host:port`, `[v6]:port`, or a bare IPv6 address; undefined for anything else. */
export const hostPort = (text: string): HostPort | undefined => {
  if (isIP(text) === 6) return { host: text, port: undefined };
  const match = HOST_PORT.exec(text);
  if (!match || match[0].length !== text.length) return undefined;
  const port = match[3] === undefined ? undefined : Number(match[3]);
  return port !== undefined && (port < 1 || port > 65535) ? undefined : { host: (match[1] ?? match[2])!, port };
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

const inLiterals = (text: string, where: string): Findings => {
  const found: Findings = { mentions: [], untold: [] };
  for (const [, scheme, authority] of text.matchAll(LITERAL)) {
    const match = HOST_PORT.exec(authority!.slice(authority!.lastIndexOf('@') + 1));
    if (!match) {
      found.untold.push(`${where} holds an AMQP URL whose host is no literal`);
      continue;
    }
    const tls = scheme!.toLowerCase() === 'amqps';
    const port = match[3] === undefined ? (tls ? AMQPS_PORT : AMQP_PORT) : Number(match[3]);
    found.mentions.push({ host: (match[1] ?? match[2])!, port, tls: tls || port === AMQPS_PORT, where });
  }
  return found;
};

/** The number in the variable that goes with a host's: AMQP_HOST → AMQP_PORT, spring.rabbitmq.host → spring.rabbitmq.port. */
const siblingPort = (name: string, known: ReadonlyMap<string, string>): number | undefined => {
  const wanted = name.replace(new RegExp(`(?:${SUFFIX})$`, 'i'), 'port').toLowerCase();
  const value = [...known].find(([other]) => other.toLowerCase() === wanted)?.[1];
  return value !== undefined && /^\d{1,5}$/.test(value) ? Number(value) : undefined;
};

const inHostName = (name: string, text: string, known: ReadonlyMap<string, string>, where: string): Findings => {
  const found: Findings = { mentions: [], untold: [] };
  const sure = HOST_NAME.exec(name)?.[1] !== undefined;
  for (const part of text.split(/[\s,;]+/).filter((item) => item !== '')) {
    const parsed = hostPort(part);
    if (!parsed) {
      if (part.includes('$(')) found.untold.push(`${where} refers to a value that is no literal`);
      continue;
    }
    const port = parsed.port ?? siblingPort(name, known) ?? AMQP_PORT;
    // A host that is only known by its management, stream, MQTT or STOMP port is no AMQP broker of this pod.
    if (BLIND_PORTS.includes(port) || (!sure && port !== AMQP_PORT)) continue;
    found.mentions.push({ host: parsed.host, port, tls: port === AMQPS_PORT, where });
  }
  return found;
};

const merged = (findings: readonly Findings[]): Findings => ({
  mentions: findings.flatMap(({ mentions }) => mentions),
  untold: findings.flatMap(({ untold }) => untold),
});

export const isHostName = (name: string): boolean => HOST_NAME.test(name) && !OTHER_BROKERS.test(name);

const ofEnv = (entry: V1EnvVar, known: ReadonlyMap<string, string>, container: string): Findings => {
  const where = `env ${entry.name} of container ${container}`;
  if (entry.valueFrom) {
    const tells = isHostName(entry.name) || /amqp|rabbit/i.test(entry.name);
    const host = /(?:url|uri|dsn|host|hostname|addr|address|addresses)$/i.test(entry.name);
    return { mentions: [], untold: tells && host ? [`${where} is no literal (valueFrom)`] : [] };
  }
  const text = known.get(entry.name) ?? '';
  const urls = inLiterals(text, where);
  if (urls.mentions.length > 0 || urls.untold.length > 0 || !isHostName(entry.name)) return urls;
  return inHostName(entry.name, text, known, where);
};

export const mentionsOf = (containers: readonly V1Container[]): Findings =>
  merged(
    containers.flatMap((container) => {
      const known = literals(container.env ?? []);
      const texts = [...(container.command ?? []), ...(container.args ?? [])];
      return [
        ...(container.env ?? []).map((entry) => ofEnv(entry, known, container.name)),
        ...texts.map((text) => inLiterals(expand(text, known), `the command line of container ${container.name}`)),
      ];
    }),
  );

type Replacement = (host: string) => string | undefined;

const inText = (text: string, replace: Replacement): string =>
  text.replace(LITERAL, (all, _scheme, authority: string) => {
    const at = all.length - authority.length + authority.lastIndexOf('@') + 1;
    const match = HOST_PORT.exec(all.slice(at));
    const to = match && replace((match[1] ?? match[2])!);
    if (!to) return all;
    return all.slice(0, at) + to + (match[3] === undefined ? '' : `:${match[3]}`) + all.slice(at + match[0].length);
  });

const inHosts = (text: string, replace: Replacement): string =>
  text.replace(/[^\s,;]+/g, (part) => {
    const parsed = hostPort(part);
    const to = parsed && replace(parsed.host);
    return to ? to + (parsed.port === undefined ? '' : `:${parsed.port}`) : part;
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
