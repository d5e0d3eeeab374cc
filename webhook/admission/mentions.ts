/** Where a pod's spec names a broker: env, args and command, as literals. Secrets and ConfigMaps are never read. Pure. */
import type { V1Container, V1EnvVar } from '@kubernetes/client-node';
import { AMQP_PORT, AMQPS_PORT, BLIND_PORTS, BLIND_TLS_PORTS } from '../api/names.ts';
import { type AmqpUrl, expand, hostPort, isUrlList, literals, type Scheme, urlsIn } from './urls.ts';

export interface Mention {
  /** Exactly as the app spells it, brackets of an IPv6 address left out. */
  host: string;
  port: number;
  /** Of a URL. */
  scheme: Scheme | undefined;
  /** For messages: "env AMQP_URL of container app". */
  where: string;
  /** A parameter of the URL by which the client speaks TLS whatever the scheme. */
  tlsOption?: string;
  /** The URL has parameters of a client certificate, or of SASL EXTERNAL, which is nothing without one. */
  asksForClient?: true;
}

export interface Findings {
  mentions: Mention[];
  /** Those that are named together: nodes of one cluster. */
  clusters: Mention[][];
  /** A name that should tell but doesn't, one line. */
  untold: string[];
}

/** Names that speak of RabbitMQ or AMQP, and those that may: the latter count with port 5672 (or none) alone. */
const SURE = 'amqps?|rabbit(?:_?mq)?|rmq';
const MAYBE = 'broker|mq|messaging';
const SUFFIX = 'host(?:s|_?names?)?|addr(?:ess(?:es)?)?|servers?|endpoints?|nodes?';
const HOST_NAME = new RegExp(`(?:^|[_.-])(?:(${SURE})|${MAYBE})(?:[_.-]+[a-z0-9]+)*[_.-]*(?:${SUFFIX})$`, 'i');
export const OTHER_BROKERS = /kafka|mqtt|pulsar|nats|redis|activemq|artemis|sqs|zookeeper/i;
const TLS_OPTION = /[?&]((?:ssl|tls)[a-z_]*)=/i;
/** RabbitMQ's URI query parameters (https://www.rabbitmq.com/docs/uri-query-parameters). */
const CLIENT_OPTION = /[?&](?:certfile=|keyfile=|auth_mechanism=external)/i;
/** A host that is known by one of these alone is no AMQP broker of this pod. */
const OTHER_PORTS = [...BLIND_PORTS, ...BLIND_TLS_PORTS].filter((port) => port !== AMQPS_PORT);

const ofUrl = ({ scheme, hosts, tail }: AmqpUrl, where: string): Mention[] => {
  const tlsOption = TLS_OPTION.exec(tail)?.[1];
  return hosts.map(({ host, port = scheme === 'amqps' ? AMQPS_PORT : AMQP_PORT }) => ({
    host,
    port,
    scheme,
    where,
    ...(tlsOption !== undefined && { tlsOption }),
    ...(CLIENT_OPTION.test(tail) && { asksForClient: true as const }),
  }));
};

const inLiterals = (text: string, where: string): Findings => {
  const urls = urlsIn(text);
  const found = urls.map((url) => ofUrl(url, where));
  return {
    mentions: found.flat(),
    clusters: isUrlList(text) ? [found.flat()] : found.filter((hosts) => hosts.length > 1),
    untold: urls
      .filter(({ hosts }) => hosts.length === 0)
      .map(() => `${where} holds an AMQP URL whose host is no literal`),
  };
};

/** The number in the variable that goes with a host's: AMQP_HOST → AMQP_PORT, spring.rabbitmq.host → spring.rabbitmq.port. */
const siblingPort = (name: string, known: ReadonlyMap<string, string>): number | undefined => {
  const wanted = name.replace(new RegExp(`(?:${SUFFIX})$`, 'i'), 'port').toLowerCase();
  const value = [...known].find(([other]) => other.toLowerCase() === wanted)?.[1];
  return value !== undefined && /^\d{1,5}$/.test(value) ? Number(value) : undefined;
};

const inHostName = (name: string, text: string, known: ReadonlyMap<string, string>, where: string): Findings => {
  const mentions: Mention[] = [];
  const untold: string[] = [];
  const sure = HOST_NAME.exec(name)?.[1] !== undefined;
  for (const part of text.split(/[\s,;]+/).filter((item) => item !== '')) {
    const parsed = hostPort(part);
    if (!parsed) {
      if (part.includes('$(')) untold.push(`${where} refers to a value that is no literal`);
      continue;
    }
    const port = parsed.port ?? siblingPort(name, known) ?? AMQP_PORT;
    if (OTHER_PORTS.includes(port) || (!sure && port !== AMQP_PORT)) continue;
    mentions.push({ host: parsed.host, port, scheme: undefined, where });
  }
  return { mentions, clusters: mentions.length > 1 ? [mentions] : [], untold };
};

const merged = (findings: readonly Findings[]): Findings => ({
  mentions: findings.flatMap(({ mentions }) => mentions),
  clusters: findings.flatMap(({ clusters }) => clusters),
  untold: findings.flatMap(({ untold }) => untold),
});

export const isHostName = (name: string): boolean => HOST_NAME.test(name) && !OTHER_BROKERS.test(name);

const ofEnv = (entry: V1EnvVar, known: ReadonlyMap<string, string>, container: string): Findings => {
  const where = `env ${entry.name} of container ${container}`;
  if (entry.valueFrom) {
    const tells = isHostName(entry.name) || /amqp|rabbit/i.test(entry.name);
    const host = /(?:url|uri|dsn|host|hostname|addr|address|addresses)$/i.test(entry.name);
    return { mentions: [], clusters: [], untold: tells && host ? [`${where} is no literal (valueFrom)`] : [] };
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
