/** TLS between app and broker: when the sidecar can take it over, and what it trusts the broker by. Pure. */
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { ShadowError } from '../api/errors.ts';
import { AMQPS_PORT, ANNOTATION, PUBLIC_CAS } from '../api/names.ts';
import { type Mention, OTHER_BROKERS } from './mentions.ts';
import { literals } from './urls.ts';

/** A setting that has the client speak TLS whatever its URL says. */
const TLS_SETTING = /(?:amqp|rabbit|rmq|broker)[a-z0-9_.-]*(?:ssl|tls)(?:[_.-]*enabled?)?$/i;
const ON = /^(?:1|true|yes|on|enabled?)$/i;
/** DNS-1123 subdomain: the name of a Secret. */
const SECRET_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

const refuse = (detail: string, hint?: string): never => {
  throw new ShadowError('SHADOW_E_TLS', detail, hint === undefined ? {} : { hint });
};

const plainly = (host: string): string =>
  `let it speak amqp:// there, and annotate its pod template ${ANNOTATION.brokers}=amqps://${host}`;

const checkSettings = (containers: readonly V1Container[], host: string): void => {
  for (const { name, env } of containers)
    for (const [variable, value] of literals(env ?? []))
      if (TLS_SETTING.test(variable) && !OTHER_BROKERS.test(variable) && ON.test(value.trim()))
        refuse(`env ${variable} of container ${name} has the app speak TLS whatever its URL says`, plainly(host));
};

/**
 * Throws SHADOW_E_TLS where an app would go on speaking TLS, so that the sidecar could read nothing, and where nothing says by
 * what a broker is to be trusted.
 */
export const checkTls = (
  pod: V1Pod,
  containers: readonly V1Container[],
  mentions: readonly Mention[],
  annotated: boolean,
): void => {
  for (const { scheme, port, host, where } of mentions)
    if (scheme !== 'amqps' && port === AMQPS_PORT)
      refuse(`${where} names ${host} with port ${port}, but that the app speaks TLS is told elsewhere`, plainly(host));
  const first = mentions.find(({ scheme }) => scheme === 'amqps');
  if (!first) return;
  const option = mentions.find(({ scheme, tlsOption }) => scheme === 'amqps' && tlsOption !== undefined);
  if (option)
    refuse(
      `the URL in ${option.where} holds ${option.tlsOption}, which stands for TLS by itself`,
      plainly(option.host),
    );
  // Who names the broker by annotation has seen to it; a setting may be about another port of it.
  if (!annotated) checkSettings(containers, first.host);
  const named = pod.metadata?.annotations?.[ANNOTATION.brokerTls];
  const client = mentions.find(({ scheme, asksForClient }) => scheme === 'amqps' && asksForClient);
  if (client && named === PUBLIC_CAS)
    refuse(
      `the URL in ${client.where} stands for a client certificate, and ${ANNOTATION.brokerTls}: ${PUBLIC_CAS} holds none`,
      `put the certificate (tls.crt, tls.key) into a Secret, and annotate the pod template ${ANNOTATION.brokerTls}=SECRET`,
    );
  if (named === undefined) refuse(`${first.where} names amqps://${first.host}, and no CA to trust it by`);
  else if (named !== PUBLIC_CAS && !SECRET_NAME.test(named))
    refuse(`annotation ${ANNOTATION.brokerTls}: "${named}" is no name of a Secret, and not ${PUBLIC_CAS}`);
};

/** The Secret to mount; undefined: the well-known CAs count, or nobody speaks TLS. After checkTls. */
export const secretOf = (pod: V1Pod, mentions: readonly Mention[]): string | undefined => {
  const named = pod.metadata?.annotations?.[ANNOTATION.brokerTls];
  return named !== PUBLIC_CAS && mentions.some(({ scheme }) => scheme === 'amqps') ? named : undefined;
};
