/** What can be told before a migration is created. The controller checks all of it again, and more. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import { ANNOTATION, LABEL } from '../../webhook/api/names.ts';
import { type Api, ApiError, getOrNone, listAll } from '../api.ts';
import type { Meta, Pod } from '../kinds.ts';
import { didYouMean } from '../suggest.ts';
import { listMigrations } from './find.ts';
import { isRehearsal, podOf } from './model.ts';

export interface Wanted {
  namespace: string;
  pod: string;
  node?: string | undefined;
}

/** `may-not-see`: the caller has no right to read it; the controller, which has, will say. */
type Seen<T> = T | undefined | 'may-not-see';

export interface Found {
  migrations: StatefulMigration[] | 'may-not-see';
  pod: Seen<Pod>;
  node: Seen<{ metadata: Meta }>;
}

const visible = async <T>(reading: Promise<T>): Promise<T | 'may-not-see'> => {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof ApiError && error.status === 403) return 'may-not-see';
    throw error;
  }
};

const isReady = (pod: Pod): boolean =>
  pod.metadata.deletionTimestamp === undefined &&
  (pod.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');

/** The webhook's own word for passing it over, where there is one. */
const whyNot = ({ metadata }: Pod): string => {
  const told = metadata.annotations?.[ANNOTATION.status];
  return told === undefined ? '' : ` (${told})`;
};

const judgePod = (pod: Pod, wanted: string | undefined): void => {
  const { name, labels, deletionTimestamp } = pod.metadata;
  if (labels?.[LABEL.injected] !== 'true') throw new ShadowError('SHADOW_E_NOT_INJECTED', `${name}${whyNot(pod)}`);
  if (wanted !== undefined && pod.spec.nodeName === wanted)
    throw new ShadowError('SHADOW_E_SAME_NODE', `${name} on ${wanted}`);
  if (isReady(pod)) return;
  const state = deletionTimestamp ? 'being deleted' : (pod.status?.phase ?? 'Unknown');
  throw new ShadowError('SHADOW_E_POD_NOT_RUNNING', `${name} is ${state === 'Running' ? 'not ready' : state}`);
};

/** Pure. Throws the first thing that is wrong, from the outside in. */
export const judge = ({ namespace, pod: name, node: wanted }: Wanted, { migrations, pod, node }: Found): void => {
  if (!pod) throw new ShadowError('SHADOW_E_POD_NOT_FOUND', `${name} in namespace ${namespace}`);
  if (wanted !== undefined && node === undefined) throw new ShadowError('SHADOW_E_NODE_NOT_FOUND', wanted);
  const running =
    migrations === 'may-not-see'
      ? undefined
      : migrations.find((each) => podOf(each) === name && !isEnded(each) && !each.spec.dryRun);
  if (running)
    throw new ShadowError(
      'SHADOW_E_BUSY',
      `${running.metadata.name} ${isRehearsal(running) ? 'rehearses' : 'moves'} ${name}`,
    );
  if (pod !== 'may-not-see') judgePod(pod, wanted);
};

/** Nothing is suggested where the caller may not look. */
const looked = <T>(reading: Promise<T[]>): Promise<T[]> => reading.catch(() => []);

/** A pod of another name, the set it is meant of, or the same name in another namespace. */
const noSuchPod = async (api: Api, { namespace, pod }: Wanted): Promise<ShadowError> => {
  const [here, elsewhere] = await Promise.all([
    looked(listAll<Pod>(api, { kind: 'Pod', namespace })),
    looked(listAll<Pod>(api, { kind: 'Pod', query: { fieldSelector: `metadata.name=${pod}` } })),
  ]);
  const set = here
    .flatMap(({ metadata }) => metadata.ownerReferences ?? [])
    .find(({ kind, name }) => kind === 'StatefulSet' && name === pod);
  const others = elsewhere.map(({ metadata }) => metadata.namespace).filter((each) => each !== namespace);
  const hint =
    (set ? `sts/${pod} is a StatefulSet; for all its pods name that; ` : '') +
      (didYouMean(
        pod,
        here.map(({ metadata }) => metadata.name),
      ) || (others.length > 0 ? `there is one in namespace ${others.join(', ')} (-n)` : '')) || undefined;
  return new ShadowError('SHADOW_E_POD_NOT_FOUND', `${pod} in namespace ${namespace}`, hint ? { hint } : {});
};

const noSuchNode = async (api: Api, node: string): Promise<ShadowError> => {
  const nodes = await looked(listAll<{ metadata: Meta }>(api, { kind: 'Node' }));
  const names = nodes.map(({ metadata }) => metadata.name);
  const hint =
    didYouMean(node, names) || (names.length > 0 && names.length < 10 ? `there are ${names.join(', ')}` : '');
  return new ShadowError('SHADOW_E_NODE_NOT_FOUND', node, hint ? { hint } : {});
};

export interface Checked {
  namespace: string;
  pods: readonly string[];
  node?: string | undefined;
}

/** Throws the ShadowError of the first pod that something is wrong with. Returns when each was created, where that is seen. */
export const checkFirst = async (api: Api, { namespace, pods, node }: Checked): Promise<Map<string, number>> => {
  // Without the kind nothing else matters, and says so first.
  const migrations = await visible(listMigrations(api, namespace));
  const foundNode = node === undefined ? undefined : await visible(getOrNone<{ metadata: Meta }>(api, 'Node', node));
  const born = new Map<string, number>();
  for (const name of pods) {
    const wanted: Wanted = { namespace, pod: name, node };
    const pod = await visible(getOrNone<Pod>(api, 'Pod', name, namespace));
    if (pod === undefined) throw await noSuchPod(api, wanted);
    if (node !== undefined && foundNode === undefined) throw await noSuchNode(api, node);
    judge(wanted, { migrations, pod, node: foundNode });
    if (pod !== 'may-not-see') born.set(name, Date.parse(pod.metadata.creationTimestamp ?? ''));
  }
  return born;
};
