/** What an upgrade says before it does it, and of the pods it leaves as they are. Pure. */
import { jumpOf, minorsAhead, skewOf } from '../../webhook/api/skew.ts';
import { columns } from '../format.ts';
import type { Meta, Pod } from '../kinds.ts';
import { counted, type Installed, sidecarVersionOf } from './installed.ts';
import type { Settings } from './settings.ts';

const versionsOf = ({ parts }: Installed): string[] => [
  ...new Set(parts.flatMap(({ version, running = {} }) => [version, ...Object.keys(running)])),
];

/** The oldest that is installed: an upgrade that was broken off leaves several. */
export const installedVersion = (installed: Installed): string =>
  versionsOf(installed).sort((a, b) => minorsAhead(b, a) ?? 0)[0] ?? '';

/** Why it can't be brought to version `to` in one step; undefined: it can. */
export const refusedJump = (installed: Installed, to: string): string | undefined =>
  versionsOf(installed)
    .map((from) => jumpOf(from, to))
    .find((why) => why !== undefined);

const shown = (counts: Readonly<Record<string, number>>, one: string, many: string): string =>
  Object.entries(counts)
    .map(([version, count]) => `${version} (${count} ${count === 1 ? one : many})`)
    .join(', ');

/** `pods`: the injected ones. */
export const planTable = (installed: Installed, wanted: Settings, to: string, pods: readonly Pod[]): string => {
  const will = (image: string | undefined): string[] => [to, image === undefined ? '-' : (wanted.image ?? image)];
  const rows = installed.parts.map(({ name, version, image, running = {} }) => [
    name,
    Object.keys(running).length > 0 ? shown(running, 'node', 'nodes') : version,
    image ?? '-',
    ...will(image),
  ]);
  const sidecars = counted(pods.map(({ metadata }) => sidecarVersionOf(metadata)));
  const stranded = pods.filter(({ metadata }) => skewOf({ version: sidecarVersionOf(metadata) }, to) !== undefined);
  const left = stranded.length > 0 ? ` (${stranded.length} too old to be migrated)` : '';
  const kept = ['sidecars', shown(sidecars, 'pod', 'pods') || 'none', '-', `as they are${left}`, '-'];
  return columns(['PART', 'INSTALLED', 'IMAGE', 'WILL BE', 'IMAGE'], [...rows, kept]);
};

/** The Deployment above a ReplicaSet, by the name that its controller gives one. */
const deploymentName = (replicaSet: string, { labels }: Meta): string => {
  const hash = labels?.['pod-template-hash'];
  return hash && replicaSet.endsWith(`-${hash}`) ? replicaSet.slice(0, -hash.length - 1) : replicaSet;
};

/** How the pod comes to have the sidecar of the installed version. */
const renewal = ({ metadata }: Pod): string => {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  const at = `-n ${metadata.namespace}`;
  if (owner?.kind === 'ReplicaSet')
    return `kubectl rollout restart deployment/${deploymentName(owner.name, metadata)} ${at}`;
  if (owner?.kind === 'StatefulSet' || owner?.kind === 'DaemonSet')
    return `kubectl rollout restart ${owner.kind.toLowerCase()}/${owner.name} ${at}`;
  return `make pod ${metadata.name} anew`;
};

/** Injected pods of an earlier (or later) minor version than `own`, with what that means; '': there is none. */
export const agedTable = (pods: readonly Pod[], own: string): string => {
  const rows = pods
    .filter(({ metadata }) => minorsAhead(sidecarVersionOf(metadata), own) !== 0)
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map((pod) => {
      const version = sidecarVersionOf(pod.metadata);
      const can = skewOf({ version }, own) === undefined ? 'yes' : 'no (SHADOW_E_SKEW)';
      return [pod.metadata.namespace ?? '', pod.metadata.name, version, can, renewal(pod)];
    })
    .sort((a, b) => `${a[0]}/${a[1]}`.localeCompare(`${b[0]}/${b[1]}`));
  return rows.length === 0 ? '' : columns(['NAMESPACE', 'POD', 'SIDECAR', 'CAN BE MIGRATED', 'TO RENEW IT'], rows);
};
