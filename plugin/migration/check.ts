/** What can be told before a migration is created. The controller checks all of it again, and more. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import { LABEL } from '../../webhook/api/names.ts';
import { type Api, ApiError, getOrNone } from '../api.ts';
import type { Meta, Pod } from '../kinds.ts';
import { listMigrations } from './find.ts';
import { podOf } from './model.ts';

export interface Wanted {
  namespace: string;
  pod: string;
  node?: string | undefined;
}

/** `may-not-see`: the caller has no right to read it; the controller, which has, will say. */
type Seen<T> = T | undefined | 'may-not-see';

export interface Found {
  migrations: StatefulMigration[] | 'may-not-see';
  pod: Pod | undefined;
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

/** Pure. Throws the first thing that is wrong, from the outside in. */
export const judge = ({ namespace, pod: name, node: wanted }: Wanted, { migrations, pod, node }: Found): void => {
  if (!pod) throw new ShadowError('SHADOW_E_POD_NOT_FOUND', `${name} in namespace ${namespace}`);
  if (pod.metadata.labels?.[LABEL.injected] !== 'true') throw new ShadowError('SHADOW_E_NOT_INJECTED', name);
  if (wanted !== undefined && node === undefined) throw new ShadowError('SHADOW_E_NODE_NOT_FOUND', wanted);
  if (wanted !== undefined && pod.spec.nodeName === wanted)
    throw new ShadowError('SHADOW_E_SAME_NODE', `${name} on ${wanted}`);
  const running =
    migrations === 'may-not-see'
      ? undefined
      : migrations.find((each) => podOf(each) === name && !isEnded(each) && !each.spec.dryRun);
  if (running) throw new ShadowError('SHADOW_E_BUSY', running.metadata.name);
  if (!isReady(pod)) {
    const state = pod.metadata.deletionTimestamp ? 'being deleted' : (pod.status?.phase ?? 'Unknown');
    throw new ShadowError('SHADOW_E_POD_NOT_RUNNING', `${name} is ${state === 'Running' ? 'not ready' : state}`);
  }
};

/** Throws the ShadowError of what is wrong. */
export const checkFirst = async (api: Api, wanted: Wanted): Promise<void> => {
  const { namespace, pod, node } = wanted;
  // Without the kind nothing else matters, and says so first.
  const migrations = await visible(listMigrations(api, namespace));
  const [foundPod, foundNode] = await Promise.all([
    getOrNone<Pod>(api, 'Pod', pod, namespace),
    node === undefined ? undefined : visible(getOrNone<{ metadata: Meta }>(api, 'Node', node)),
  ]);
  judge(wanted, { migrations, pod: foundPod, node: foundNode });
};
