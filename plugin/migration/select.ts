/** Which pods `migrate` moves, and in which order. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { LABEL } from '../../webhook/api/names.ts';
import { type Api, ApiError, getOrNone, listAll } from '../api.ts';
import type { Meta, Pod } from '../kinds.ts';
import { usage } from '../options.ts';
import { didYouMean } from '../suggest.ts';
import type { Target, TargetKind, Wanted } from './targets.ts';

export interface Selection {
  /** Names, in the order in which they move. */
  pods: string[];
  /** Why others of the set, or of the selector, stay; one line each. */
  staying: string[];
}

type Owned = { metadata: Meta };

const controllerOf = ({ metadata }: Owned) => metadata.ownerReferences?.find(({ controller }) => controller === true);

const ordinalOf = (pod: Pod): number =>
  controllerOf(pod)?.kind === 'StatefulSet' ? Number(/-(\d+)$/.exec(pod.metadata.name)?.[1] ?? -1) : -1;

/**
 * A set's highest ordinal first, as the set's own controller takes them when it rolls out or scales down: ordinal 0, on which
 * apps lean most often, moves last, and an ordered set, which makes a pod only while all lower ones are ready, has them ready.
 */
export const inOrder = (pods: readonly Pod[]): Pod[] => {
  const setOf = (pod: Pod): string => (ordinalOf(pod) < 0 ? pod.metadata.name : (controllerOf(pod)?.name ?? ''));
  return [...pods].sort((a, b) => {
    const [left, right] = [setOf(a), setOf(b)];
    if (left !== right) return left < right ? -1 : 1;
    return ordinalOf(b) - ordinalOf(a);
  });
};

/** undefined: it can be asked to move. */
const stays = ({ metadata, spec, status }: Pod, { fromNode, to }: Wanted): string | undefined => {
  if (metadata.labels?.[LABEL.migration] !== undefined) return 'is the copy of a migration';
  if (metadata.deletionTimestamp !== undefined) return 'is being deleted';
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return `is ${status.phase}`;
  if (to !== undefined && spec.nodeName === to) return `runs on ${to} already`;
  if (fromNode !== undefined && spec.nodeName !== fromNode) return `runs on ${spec.nodeName ?? 'no node yet'}`;
  return undefined;
};

/** Pure. */
export const chosenOf = (found: readonly Pod[], wanted: Wanted): Selection => {
  const pods: string[] = [];
  const staying: string[] = [];
  for (const pod of inOrder(found)) {
    const why = stays(pod, wanted);
    if (why === undefined) pods.push(pod.metadata.name);
    else staying.push(`pod/${pod.metadata.name} stays: it ${why}`);
  }
  return { pods, staying };
};

const OWNERS: Record<Exclude<TargetKind, 'Pod'>, string> = { StatefulSet: 'sts', Deployment: 'deploy' };

const none = (detail: string, hint: string): ShadowError =>
  new ShadowError('SHADOW_E_OWNER_NOT_FOUND', detail, hint ? { hint } : {});

/** What makes pods of the target's: the set itself, or the ReplicaSets of a Deployment. */
const makersOf = async (api: Api, namespace: string, { kind, name }: Target): Promise<Set<string | undefined>> => {
  if (kind === 'Pod') return new Set();
  const owner = await getOrNone<Owned>(api, kind, name, namespace);
  if (!owner) {
    const others = await listAll<Owned>(api, { kind, namespace });
    const names = others.map(({ metadata }) => `${OWNERS[kind]}/${metadata.name}`);
    throw none(`${kind} ${name} in namespace ${namespace}`, didYouMean(`${OWNERS[kind]}/${name}`, names));
  }
  if (kind === 'StatefulSet') return new Set([owner.metadata.uid]);
  const sets = await listAll<Owned>(api, { kind: 'ReplicaSet', namespace });
  return new Set(
    sets.filter((set) => controllerOf(set)?.uid === owner.metadata.uid).map(({ metadata }) => metadata.uid),
  );
};

const selected = async (api: Api, namespace: string, { selector }: Wanted): Promise<Pod[]> => {
  try {
    const query = selector === undefined ? {} : { query: { labelSelector: selector } };
    return await listAll<Pod>(api, { kind: 'Pod', namespace, ...query });
  } catch (error) {
    if (error instanceof ApiError && error.status === 400) throw usage(`-l "${selector}": ${error.message}`);
    throw error;
  }
};

const nothing = (what: string, namespace: string): ShadowError =>
  new ShadowError('SHADOW_E_POD_NOT_FOUND', `${what} in namespace ${namespace}`);

const bySelector = async (api: Api, namespace: string, wanted: Wanted): Promise<Selection> => {
  const { selector, fromNode } = wanted;
  const found = await selected(api, namespace, wanted);
  if (selector !== undefined) {
    if (found.length === 0) throw nothing(`none matches -l ${selector}`, namespace);
    return chosenOf(found, wanted);
  }
  // A node is emptied of what can move; all else there is none of our business.
  const there = found.filter(
    ({ metadata, spec }) => spec.nodeName === fromNode && metadata.labels?.[LABEL.injected] === 'true',
  );
  if (there.length === 0) throw nothing(`no injected one on node ${fromNode}`, namespace);
  return chosenOf(there, wanted);
};

const named = (name: string): Selection => ({ pods: [name], staying: [] });

/**
 * Pods that are named are taken as they are: the checks say what is wrong with them. Throws SHADOW_E_OWNER_NOT_FOUND, and
 * SHADOW_E_POD_NOT_FOUND for a set without pods and for a selector that matches none.
 */
export const select = async (api: Api, namespace: string, wanted: Wanted): Promise<Selection> => {
  const { targets, fromNode } = wanted;
  if (targets.length === 0) return bySelector(api, namespace, wanted);
  if (targets.every(({ kind }) => kind === 'Pod') && fromNode === undefined) {
    return { pods: targets.map(({ name }) => name), staying: [] };
  }
  const all = await listAll<Pod>(api, { kind: 'Pod', namespace });
  const pods: string[] = [];
  const staying: string[] = [];
  for (const target of targets) {
    const makers = await makersOf(api, namespace, target);
    const own = all.filter((pod) =>
      target.kind === 'Pod' ? pod.metadata.name === target.name : makers.has(controllerOf(pod)?.uid),
    );
    // Of a pod that is named the checks say what is wrong with it, its absence too; here its node alone can pass it over.
    const isPod = target.kind === 'Pod';
    if (own.length === 0 && !isPod) throw nothing(`${target.kind} ${target.name} has none`, namespace);
    const chosen = own.length === 0 ? named(target.name) : chosenOf(own, isPod ? { ...wanted, to: undefined } : wanted);
    pods.push(...chosen.pods.filter((pod) => !pods.includes(pod)));
    staying.push(...chosen.staying);
  }
  return { pods, staying };
};
