/** The annotation that names a pod's brokers: `[scheme://]host[:port]`, between commas; nodes of one cluster between `|`. Pure. */
import { ShadowError } from '../api/errors.ts';
import { AMQP_PORT, AMQPS_PORT, ANNOTATION } from '../api/names.ts';
import type { Findings, Mention } from './mentions.ts';
import { hostPort, type Scheme } from './urls.ts';

const where = `annotation ${ANNOTATION.brokers}`;

const mentioned = (text: string): Mention => {
  const [, scheme, rest] = /^(?:(amqps?):\/\/)?(.*)$/.exec(text)!;
  const found = hostPort(rest!);
  if (!found) throw new ShadowError('SHADOW_E_INJECT', `${where}: "${text}" is no [scheme://]host[:port]`);
  const { host, port = scheme === 'amqps' ? AMQPS_PORT : AMQP_PORT } = found;
  return { host, port, scheme: scheme as Scheme | undefined, where };
};

const parts = (text: string, separator: string): string[] =>
  text
    .split(separator)
    .map((part) => part.trim())
    .filter((part) => part !== '');

/** Throws SHADOW_E_INJECT for what it can't read. */
export const fromAnnotation = (text: string): Findings => {
  const all = parts(text, ',').map((cluster) => parts(cluster, '|').map(mentioned));
  const mixed = all.find((cluster) => new Set(cluster.map(({ scheme }) => scheme === 'amqps')).size > 1);
  if (mixed)
    throw new ShadowError(
      'SHADOW_E_INJECT',
      `${where}: ${mixed.map(({ host }) => host).join('|')} are reached over TLS in part`,
    );
  return { mentions: all.flat(), clusters: all.filter((cluster) => cluster.length > 1), untold: [] };
};
