/** Pod templates within manifests: found by kind, and put back. Pure. */
import type { V1Pod } from '@kubernetes/client-node';

export interface Workload {
  kind: string;
  /** kubectl's: `statefulset.apps/consumer`. */
  name: string;
  /** As the manifest says; undefined: whatever it is applied to. */
  namespace: string | undefined;
  /** A pod, or the template of pods: metadata and spec. */
  template: V1Pod;
}

/** Group, kind → where its template is. */
const TEMPLATE: Record<string, readonly string[]> = {
  '/Pod': [],
  '/ReplicationController': ['spec', 'template'],
  'apps/Deployment': ['spec', 'template'],
  'apps/StatefulSet': ['spec', 'template'],
  'apps/DaemonSet': ['spec', 'template'],
  'apps/ReplicaSet': ['spec', 'template'],
  'batch/Job': ['spec', 'template'],
  'batch/CronJob': ['spec', 'jobTemplate', 'spec', 'template'],
};

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const at = (value: unknown, path: readonly string[]): unknown =>
  path.reduce((found, key) => (isObject(found) ? found[key] : undefined), value);

const replaced = (value: unknown, [key, ...rest]: readonly string[], leaf: unknown): unknown =>
  key === undefined ? leaf : { ...(value as Json), [key]: replaced((value as Json)[key], rest, leaf) };

const groupOf = (apiVersion: unknown): string =>
  typeof apiVersion === 'string' && apiVersion.includes('/') ? apiVersion.split('/')[0]! : '';

const nameOf = (group: string, kind: string, metadata: unknown): string => {
  const name = isObject(metadata) ? (metadata.name ?? metadata.generateName) : undefined;
  return `${kind.toLowerCase()}${group ? `.${group}` : ''}/${typeof name === 'string' ? name : '<unnamed>'}`;
};

/** `change` gives undefined for what stays. Lists are gone through; all other kinds are left as they are. */
export const withWorkloads = (value: unknown, change: (workload: Workload) => V1Pod | undefined): unknown => {
  if (!isObject(value) || typeof value.kind !== 'string') return value;
  const { kind, items, metadata } = value;
  if (kind.endsWith('List') && Array.isArray(items)) {
    return { ...value, items: items.map((item) => withWorkloads(item, change)) };
  }
  const group = groupOf(value.apiVersion);
  const path = TEMPLATE[`${group}/${kind}`];
  if (path === undefined) return value;
  const template = at(value, path);
  const namespace = isObject(metadata) && typeof metadata.namespace === 'string' ? metadata.namespace : undefined;
  const name = nameOf(group, kind, metadata);
  const after = change({ kind, name, namespace, template: (isObject(template) ? template : {}) as V1Pod });
  return after === undefined ? value : replaced(value, path, after);
};
