/** Which strategy moves this pod, and why. Pure. */
import type { V1Pod, V1Volume } from '@kubernetes/client-node';
import { ShadowError } from '../../api/errors.ts';
import type { Handoff, MigrationSpec, Strategy } from '../../api/migration.ts';
import { ANNOTATION } from '../../api/names.ts';
import { appContainers } from '../pods.ts';

export type OwnerKind = 'StatefulSet' | 'Deployment';

export interface Chosen {
  strategy: Strategy;
  /** One line, for people. */
  strategyReason: string;
}

/** What replays beside the serving source. */
const SHADOW: Record<OwnerKind, Strategy> = { StatefulSet: 'ShadowPodSwap', Deployment: 'ShadowPod' };
const OWNER: Partial<Record<Strategy, OwnerKind>> = { ShadowPodSwap: 'StatefulSet', ShadowPod: 'Deployment' };

export const modeOf = (strategy: Strategy): NonNullable<Handoff['mode']> =>
  OWNER[strategy] === undefined ? 'stop' : 'replay';

/**
 * The paper's strategies, asked for of a pod with the sidecar: it moves as they would have it moved, and nothing is lost.
 * `strategyReason` says so where it has another name.
 */
const asked = ({ migrationStrategy }: MigrationSpec, kind: OwnerKind): Chosen => {
  const wanted = migrationStrategy || 'Auto';
  if (wanted === 'Sequential')
    return {
      strategy: 'StopAndCopy',
      strategyReason: 'Sequential is asked for: with the sidecar that is StopAndCopy, exact and shorter',
    };
  if (wanted === 'ShadowPod' && kind === 'StatefulSet')
    return {
      strategy: 'ShadowPodSwap',
      strategyReason: 'ShadowPod is asked for: the pod of a StatefulSet gets its own name back as well',
    };
  return { strategy: wanted, strategyReason: 'asked for' };
};

/** Throws what this kind of owner does not allow. `Auto` passes. */
export const checkStrategy = (spec: MigrationSpec, kind: OwnerKind): void => {
  const wanted = asked(spec, kind).strategy;
  const owner = OWNER[wanted];
  if (owner !== undefined && owner !== kind)
    throw new ShadowError(
      'SHADOW_E_UNSUPPORTED',
      `strategy ${wanted} is for pods of a ${owner}, this one is of a ${kind}; use ${SHADOW[kind]}`,
    );
};

/** Volumes whose contents are the pod's own, or which nobody writes to. */
const PRIVATE: readonly (keyof V1Volume)[] = [
  'configMap',
  'downwardAPI',
  'emptyDir',
  'gitRepo',
  'image',
  'projected',
  'secret',
];

/** Volumes that others see and an app container may write to: what it writes there twice is there twice. */
export const sharedVolumes = (pod: V1Pod): string[] => {
  const written = new Set(
    appContainers(pod).flatMap(({ volumeMounts, volumeDevices }) => [
      ...(volumeMounts ?? []).filter(({ readOnly }) => readOnly !== true).map(({ name }) => name),
      ...(volumeDevices ?? []).map(({ name }) => name),
    ]),
  );
  return (pod.spec?.volumes ?? [])
    .filter((volume) => written.has(volume.name) && !PRIVATE.some((kind) => volume[kind] !== undefined))
    .map(({ name }) => name);
};

export interface Effects {
  /** TCP peers of the app containers, as the agent saw them. */
  peers: readonly string[];
  /** `host:port` of the brokers of its AMQP connections. */
  brokers: readonly string[];
}

const IDEMPOTENT = 'idempotent';
const DECLARED = ['messages', IDEMPOTENT];

/**
 * Whether copy and muted source are kept from the outside. Not where the app says that what it does there may be done twice:
 * its copy is to do all of it again, or it could not do as the source did. In mode stop nothing is done again.
 */
export const isFenced = (pod: V1Pod | undefined, { mode }: Pick<Handoff, 'mode'>): boolean =>
  mode !== 'replay' || pod?.metadata?.annotations?.[ANNOTATION.effects] !== IDEMPOTENT;

/** Peers that are no brokers: connections to them end with the move, whatever the strategy. */
export const otherPeers = ({ peers, brokers }: Effects): string[] => peers.filter((peer) => !brokers.includes(peer));

/** Why the app may have effects that a copy, doing all of it again, would repeat; undefined: none are to be seen. */
const otherEffects = (pod: V1Pod, effects: Effects): string | undefined => {
  const others = otherPeers(effects);
  if (others.length > 0) return `the app holds connections to other than its broker: ${others.slice(0, 5).join(', ')}`;
  const shared = sharedVolumes(pod);
  return shared.length > 0 ? `the app may write to shared volumes: ${shared.join(', ')}` : undefined;
};

const automatic = (pod: V1Pod, kind: OwnerKind, effects: Effects): Chosen => {
  const strategy = SHADOW[kind];
  const declared = pod.metadata?.annotations?.[ANNOTATION.effects];
  if (declared !== undefined && DECLARED.includes(declared))
    return { strategy, strategyReason: `the pod is annotated ${ANNOTATION.effects}: ${declared}` };
  const others = otherEffects(pod, effects);
  return others === undefined
    ? { strategy, strategyReason: 'the app is connected to nothing but its broker and writes to no shared volume' }
    : { strategy: 'StopAndCopy', strategyReason: `${others}; a copy beside it could repeat what it does there` };
};

/**
 * A fence keeps a copy from the network, not from a volume: what it writes there twice is there twice, and a rehearsal is not
 * worth that unless the app is declared to allow it. Throws SHADOW_E_REHEARSAL.
 */
export const checkRehearsal = (pod: V1Pod): void => {
  const declared = pod.metadata?.annotations?.[ANNOTATION.effects];
  const shared = sharedVolumes(pod);
  if (shared.length === 0 || (declared !== undefined && DECLARED.includes(declared))) return;
  throw new ShadowError(
    'SHADOW_E_REHEARSAL',
    `a copy that runs beside it could write to shared volumes a second time: ${shared.join(', ')}`,
  );
};

/** Of a strategy that is asked for: why Auto would take another one, which is exact where this is not. undefined: no doubt. */
export const doubtOf = (spec: MigrationSpec, pod: V1Pod, kind: OwnerKind, effects: Effects): Chosen | undefined => {
  const { strategy } = asked(spec, kind);
  if (modeOf(strategy) === 'stop') return undefined;
  const other = automatic(pod, kind, effects);
  return other.strategy === strategy ? undefined : other;
};

/** After checkStrategy. */
export const chooseStrategy = (spec: MigrationSpec, pod: V1Pod, kind: OwnerKind, effects: Effects): Chosen => {
  const wanted = asked(spec, kind);
  return wanted.strategy === 'Auto' ? automatic(pod, kind, effects) : wanted;
};
