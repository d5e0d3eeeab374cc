/** Which brokers a pod dials, where the sidecar listens for each, and how the app is led there. Pure. */
import { isIP } from 'node:net';
import type { V1HostAlias, V1Pod } from '@kubernetes/client-node';
import { ShadowError } from '../api/errors.ts';
import { AMQP_PORT, ANNOTATION } from '../api/names.ts';
import { type Findings, hostPort, type Mention, mentionsOf } from './mentions.ts';
import { isNative } from './pods.ts';

export interface Broker {
  host: string;
  port: number;
  /** Loopback address the sidecar listens on; one per broker host. */
  listen: string;
}

export interface Plan {
  brokers: Broker[];
  aliases: V1HostAlias[];
  /** Hosts that no alias can catch (IP addresses, a trailing dot) → where the sidecar listens. */
  rewrites: Map<string, string>;
}

const fromAnnotation = (text: string): Findings => ({
  mentions: text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part): Mention => {
      const parsed = hostPort(part);
      if (!parsed)
        throw new ShadowError('SHADOW_E_INJECT', `annotation ${ANNOTATION.brokers}: "${part}" is no host[:port]`);
      const port = parsed.port ?? AMQP_PORT;
      return { host: parsed.host, port, tls: port === 5671, where: `annotation ${ANNOTATION.brokers}` };
    }),
  untold: [],
});

const isLoopback = (host: string): boolean => /^(localhost\.?|127\.\d+\.\d+\.\d+|::1|0\.0\.0\.0)$/i.test(host);
const needsRewrite = (host: string): boolean => isIP(host) !== 0 || host.endsWith('.');

/** One key for all spellings of a Service: rabbitmq, rabbitmq.ns, rabbitmq.ns.svc, rabbitmq.ns.svc.cluster.local. */
export const serviceKey = (host: string, namespace: string): string => {
  const [name, space, svc] = host.toLowerCase().replace(/\.$/, '').split('.');
  if (isIP(host) !== 0) return host;
  if (space === undefined) return `${name}.${namespace}.svc`;
  if (svc === undefined && space === namespace) return `${name}.${namespace}.svc`;
  return svc === 'svc' ? `${name}.${space}.svc` : host.toLowerCase().replace(/\.$/, '');
};

const assign = (mentions: readonly Mention[], namespace: string): Plan => {
  const listens = new Map<string, string>();
  const plan: Plan = { brokers: [], aliases: [], rewrites: new Map() };
  for (const { host, port } of mentions) {
    const key = serviceKey(host, namespace);
    const listen = listens.get(key) ?? `127.0.0.${listens.size + 1}`;
    if (!listens.has(key)) listens.set(key, listen);
    if (!plan.brokers.some((broker) => broker.listen === listen && broker.port === port)) {
      plan.brokers.push({ host, port, listen });
    }
    if (needsRewrite(host)) {
      plan.rewrites.set(host, listen);
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

/**
 * The annotation, where there is one, is the whole truth. Throws SHADOW_E_NO_BROKER, or SHADOW_E_INJECT for brokers that
 * cannot be relayed.
 */
export const planBrokers = (pod: V1Pod, namespace: string): Plan => {
  const spec = pod.spec!;
  const ordinary = (spec.initContainers ?? []).filter((container) => !isNative(container));
  const seen = mentionsOf([...spec.containers, ...ordinary]);
  const named = pod.metadata?.annotations?.[ANNOTATION.brokers];
  const { mentions, untold } = named === undefined ? seen : fromAnnotation(named);
  const outside = mentions.filter(({ host }) => !isLoopback(host));
  if (outside.length === 0) {
    throw new ShadowError(
      'SHADOW_E_NO_BROKER',
      mentions[0] ? `${mentions[0].where} names the pod itself` : untold.join('; '),
    );
  }
  const tls = outside.find((mention) => mention.tls);
  if (tls)
    throw new ShadowError('SHADOW_E_INJECT', `${tls.where} uses amqps://${tls.host}, which this release cannot relay`);
  const plan = assign(outside, namespace);
  const lost = [...plan.rewrites.keys()].find((host) => !seen.mentions.some((mention) => mention.host === host));
  if (lost)
    throw new ShadowError(
      'SHADOW_E_INJECT',
      `broker ${lost} is named in no env or argument of the pod, so it cannot be replaced`,
    );
  const taken = (spec.hostAliases ?? []).flatMap(({ hostnames }) => hostnames ?? []);
  const clash = plan.aliases.flatMap(({ hostnames }) => hostnames!).find((host) => taken.includes(host));
  if (clash) throw new ShadowError('SHADOW_E_INJECT', `hostAliases of the pod already name ${clash}`);
  return plan;
};
