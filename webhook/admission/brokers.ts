/** Which brokers a pod dials, where the sidecar listens for each, and how the app is led there. Pure. */
import { isIP } from 'node:net';
import type { V1HostAlias, V1Pod } from '@kubernetes/client-node';
import { ShadowError } from '../api/errors.ts';
import { ANNOTATION } from '../api/names.ts';
import { fromAnnotation } from './annotated.ts';
import { type Findings, type Mention, mentionsOf } from './mentions.ts';
import { isNative } from './pods.ts';
import { checkTls, secretOf } from './tls.ts';
import type { Scheme } from './urls.ts';

interface Host {
  host: string;
  port: number;
}

/** One element of SHADOW_BROKERS; sidecar/doors.ts says what each field does. */
export interface Broker extends Host {
  /** Loopback address the sidecar listens on; one per broker host. */
  listen: string;
  listenToo?: string;
  tls?: true;
  others?: Host[];
}

export interface Plan {
  brokers: Broker[];
  aliases: V1HostAlias[];
  /** Hosts that no alias can catch (IP addresses, a trailing dot), and all of amqps URLs → where the sidecar listens. */
  rewrites: Record<Scheme, Map<string, string>>;
  /** What it trusts brokers by that are reached over TLS; undefined: the well-known CAs, or there are none. */
  secret: string | undefined;
}

export interface PlanOptions {
  namespace: string;
  /** Pods of this cluster may have IPv6 alone. */
  ipv6: boolean;
}

const isLoopback = (host: string): boolean => /^(localhost\.?|127\.\d+\.\d+\.\d+|::1|0\.0\.0\.0)$/i.test(host);
/** hostAliases take DNS-1123 subdomains only. */
const needsRewrite = (host: string): boolean => isIP(host) !== 0 || host.endsWith('.') || host.includes('_');

/** One key for all spellings of a Service: rabbitmq, rabbitmq.ns, rabbitmq.ns.svc, rabbitmq.ns.svc.cluster.local. */
export const serviceKey = (host: string, namespace: string): string => {
  const [name, space, svc] = host.toLowerCase().replace(/\.$/, '').split('.');
  if (isIP(host) !== 0) return host;
  if (space === undefined) return `${name}.${namespace}.svc`;
  if (svc === undefined && space === namespace) return `${name}.${namespace}.svc`;
  return svc === 'svc' ? `${name}.${space}.svc` : host.toLowerCase().replace(/\.$/, '');
};

const isTls = ({ scheme }: Mention): boolean => scheme === 'amqps';

/** The other members of the first cluster that names it, in the order in which they follow it, round the list. */
const othersOf = (one: Mention, clusters: readonly Mention[][], keyOf: (mention: Mention) => string): Host[] => {
  const id = (mention: Mention): string => `${keyOf(mention)} ${mention.port}`;
  const cluster = clusters.find((each) => each.some((member) => id(member) === id(one))) ?? [];
  const at = cluster.findIndex((member) => id(member) === id(one));
  const round = [...cluster.slice(at + 1), ...cluster.slice(0, Math.max(at, 0))];
  const seen = new Set([id(one)]);
  return round
    .filter((member) => !seen.has(id(member)) && seen.add(id(member)))
    .map(({ host, port }) => ({ host, port }));
};

/** `annotated`: what stands in URLs is not the whole of it, so the name itself must lead to the sidecar too. */
const assign = ({ mentions, clusters }: Findings, namespace: string, annotated: boolean): Omit<Plan, 'secret'> => {
  const listens = new Map<string, string>();
  const plan: Omit<Plan, 'secret'> = { brokers: [], aliases: [], rewrites: { amqp: new Map(), amqps: new Map() } };
  // The name is verified: over TLS each spelling is a broker of its own.
  const keyOf = (mention: Mention): string =>
    isTls(mention) && !annotated ? `amqps://${mention.host}` : serviceKey(mention.host, namespace);
  for (const mention of mentions) {
    const { host, port } = mention;
    const key = keyOf(mention);
    const listen = listens.get(key) ?? `127.0.0.${listens.size + 1}`;
    listens.set(key, listen);
    const known = plan.brokers.find((broker) => broker.listen === listen && broker.port === port);
    if (known && (known.tls === true) !== isTls(mention))
      throw new ShadowError('SHADOW_E_TLS', `${mention.where} names ${host}:${port} with TLS and without`);
    const others = othersOf(mention, clusters, keyOf);
    if (!known)
      plan.brokers.push({
        host,
        port,
        listen,
        ...(isTls(mention) && { tls: true }),
        ...(others.length > 0 && { others }),
      });
    if (isTls(mention)) plan.rewrites.amqps.set(host, listen);
    if (isTls(mention) && !annotated) continue;
    if (needsRewrite(host)) {
      plan.rewrites.amqp.set(host, listen);
      continue;
    }
    // hostAliases must be lower case; look-ups in /etc/hosts do not mind the case.
    const name = host.toLowerCase();
    const names = plan.aliases.find(({ ip }) => ip === listen)?.hostnames;
    if (!names) plan.aliases.push({ ip: listen, hostnames: [name] });
    else if (!names.includes(name)) names.push(name);
  }
  return plan;
};

/** lo has one address of IPv6, so one broker can have it: the first. */
const withIPv6 = (plan: Plan): Plan => {
  const first = '127.0.0.1';
  const alias = plan.aliases.find(({ ip }) => ip === first);
  return {
    ...plan,
    brokers: plan.brokers.map((broker) => (broker.listen === first ? { ...broker, listenToo: '::1' } : broker)),
    aliases: [...plan.aliases, ...(alias ? [{ ...alias, ip: '::1' }] : [])],
  };
};

const checkAliases = (pod: V1Pod, { aliases }: Plan): void => {
  const taken = (pod.spec!.hostAliases ?? []).flatMap(({ hostnames }) => hostnames ?? []);
  const clash = aliases.flatMap(({ hostnames }) => hostnames!).find((host) => taken.includes(host));
  if (clash) throw new ShadowError('SHADOW_E_INJECT', `hostAliases of the pod already name ${clash}`);
};

/**
 * The annotation, where there is one, is the whole truth. Throws SHADOW_E_NO_BROKER, or SHADOW_E_TLS and SHADOW_E_INJECT for
 * brokers that cannot be relayed.
 */
export const planBrokers = (pod: V1Pod, { namespace, ipv6 }: PlanOptions): Plan => {
  const spec = pod.spec!;
  const containers = [...spec.containers, ...(spec.initContainers ?? []).filter((container) => !isNative(container))];
  const seen = mentionsOf(containers);
  const named = pod.metadata?.annotations?.[ANNOTATION.brokers];
  const { mentions, clusters, untold } = named === undefined ? seen : fromAnnotation(named);
  const outside = mentions.filter(({ host }) => !isLoopback(host));
  if (outside.length === 0) {
    throw new ShadowError(
      'SHADOW_E_NO_BROKER',
      mentions[0] ? `${mentions[0].where} names the pod itself` : untold.join('; '),
    );
  }
  checkTls(pod, containers, outside, named !== undefined);
  const assigned = assign({ mentions: outside, clusters, untold }, namespace, named !== undefined);
  const plan: Plan = { ...assigned, secret: secretOf(pod, outside) };
  const lost = [...plan.rewrites.amqp.keys()].find((host) => !seen.mentions.some((mention) => mention.host === host));
  if (lost)
    throw new ShadowError(
      'SHADOW_E_INJECT',
      `broker ${lost} is named in no env or argument of the pod, so it cannot be replaced`,
    );
  checkAliases(pod, plan);
  return ipv6 || pod.metadata?.annotations?.[ANNOTATION.ipv6] === 'true' ? withIPv6(plan) : plan;
};
