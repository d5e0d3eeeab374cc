/**
 * A broker's URL in a Secret, which is never read: an injected pod may take another key of it, by annotation, one that holds
 * the URL as amqp://. Without us (invariant 6) the pod has the key it always had. Pure.
 */
import type { V1Container, V1Pod } from '@kubernetes/client-node';
import { ShadowError } from '../api/errors.ts';
import { ANNOTATION } from '../api/names.ts';

/** Env name → key. */
export type Keys = ReadonlyMap<string, string>;

const refuse = (detail: string): never => {
  throw new ShadowError('SHADOW_E_INJECT', `annotation ${ANNOTATION.keys}: ${detail}`);
};

const comesFromKey = ({ env }: V1Container, name: string): boolean =>
  (env ?? []).some(
    (entry) => entry.name === name && (entry.valueFrom?.secretKeyRef ?? entry.valueFrom?.configMapKeyRef),
  );

/** `NAME=key[,NAME=key]`. Throws SHADOW_E_INJECT for what it can't read, or what no container has. */
export const keysOf = (pod: V1Pod, containers: readonly V1Container[]): Keys => {
  const keys = new Map<string, string>();
  for (const part of (pod.metadata?.annotations?.[ANNOTATION.keys] ?? '').split(',').map((each) => each.trim())) {
    if (part === '') continue;
    const [, name, key] = /^([^=\s]+)=([-._a-zA-Z0-9]+)$/.exec(part) ?? refuse(`"${part}" is no NAME=key`);
    if (!containers.some((container) => comesFromKey(container, name!)))
      refuse(`no container has env ${name} from a key of a Secret or ConfigMap`);
    keys.set(name!, key!);
  }
  return keys;
};

/** The very same object where none of its env is meant. */
export const withKeys = (container: V1Container, keys: Keys): V1Container => {
  if (![...keys.keys()].some((name) => comesFromKey(container, name))) return container;
  return {
    ...container,
    env: container.env!.map((entry) => {
      const key = keys.get(entry.name);
      const { secretKeyRef, configMapKeyRef } = entry.valueFrom ?? {};
      if (key === undefined || !entry.valueFrom) return entry;
      if (secretKeyRef) return { ...entry, valueFrom: { ...entry.valueFrom, secretKeyRef: { ...secretKeyRef, key } } };
      if (!configMapKeyRef) return entry;
      return { ...entry, valueFrom: { ...entry.valueFrom, configMapKeyRef: { ...configMapKeyRef, key } } };
    }),
  };
};
