/** Is a node fit to take the pod? All that speaks against it, in words. Pure. */
import type { V1Node, V1NodeSelectorRequirement, V1Pod, V1Taint, V1Toleration } from '@kubernetes/client-node';
import type { AgentResponse } from '../../api/agent.ts';
import { lacking, quantity, type Requests, requestsOf, sumOf } from './quantity.ts';

export type NodeReport = AgentResponse<'node'>;

const tolerates = (taint: V1Taint, toleration: V1Toleration): boolean =>
  (!toleration.effect || toleration.effect === taint.effect) &&
  (!toleration.key || toleration.key === taint.key) &&
  (toleration.operator === 'Exists' ||
    (toleration.key !== undefined && (toleration.value ?? '') === (taint.value ?? '')));

const meets = (labels: Record<string, string>, { key, operator, values = [] }: V1NodeSelectorRequirement): boolean => {
  const value = labels[key];
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return Number(value) > Number(values[0]);
    case 'Lt':
      return Number(value) < Number(values[0]);
    default:
      return false;
  }
};

const selects = (pod: V1Pod, node: V1Node): boolean => {
  const labels = node.metadata?.labels ?? {};
  const simple = Object.entries(pod.spec?.nodeSelector ?? {}).every(([key, value]) => labels[key] === value);
  const terms =
    pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? undefined;
  const fields = { 'metadata.name': node.metadata?.name ?? '' };
  const affine =
    terms === undefined ||
    terms.some(
      ({ matchExpressions = [], matchFields = [] }) =>
        matchExpressions.length + matchFields.length > 0 &&
        matchExpressions.every((one) => meets(labels, one)) &&
        matchFields.every((one) => meets(fields, one)),
    );
  return simple && affine;
};

export const allocatable = (node: V1Node): Requests =>
  Object.fromEntries(Object.entries(node.status?.allocatable ?? {}).map(([name, text]) => [name, quantity(text)]));

export const roomOn = (node: V1Node, pods: readonly V1Pod[]): Requests => {
  const taken = sumOf(pods.filter(({ spec }) => spec?.nodeName === node.metadata?.name));
  return Object.fromEntries(Object.entries(allocatable(node)).map(([name, all]) => [name, all - (taken[name] ?? 0)]));
};

/** How many copies stand side by side for a while: shadow and successor, or a Deployment's one copy. */
export type Copies = 1 | 2;

export const isNodeReady = ({ status }: V1Node): boolean =>
  status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false;

/** What the Kubernetes objects say against it. */
export const unfitFor = (pod: V1Pod, node: V1Node, pods: readonly V1Pod[], copies: Copies = 2): string[] => {
  const taint = (node.spec?.taints ?? []).find(
    (one) =>
      one.effect !== 'PreferNoSchedule' &&
      !(pod.spec?.tolerations ?? []).some((toleration) => tolerates(one, toleration)),
  );
  const short = lacking(roomOn(node, pods), requestsOf(pod), copies);
  return [
    ...(isNodeReady(node) ? [] : ['it is not Ready']),
    ...(node.spec?.unschedulable ? ['it is cordoned'] : []),
    ...(taint === undefined ? [] : [`the pod does not tolerate its taint ${taint.key}:${taint.effect}`]),
    ...(selects(pod, node) ? [] : ["the pod's nodeSelector or node affinity excludes it"]),
    ...(short.length === 0
      ? []
      : [`it has no room for ${copies === 1 ? 'a copy' : 'two copies'} of the pod: ${short.join(', ')}`]),
  ];
};

const version = (text: string): number[] => (/(\d+(?:\.\d+)*)/.exec(text)?.[1] ?? '0').split('.').map(Number);

/** "v1.7.22" is older than "2.0". What is no version is older than any. */
export const older = (text: string, than: string): boolean => {
  const [a, b] = [version(text), version(than)];
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
};

const SPARE_BYTES = 64 * 2 ** 20;
export const LEAST = { runc: '1.2', containerd: '2.0' } as const;

/** What the agents say against going from one node to the other. CRIU reads images of its own and older versions. */
export const unfitBetween = (source: NodeReport, target: NodeReport, estimatedBytes: number): string[] => {
  const flags = new Set(target.cpuFlags);
  const missing = source.cpuFlags.filter((flag) => !flags.has(flag));
  const wanted = 2 * estimatedBytes + SPARE_BYTES;
  return [
    ...(target.handlerInstalled ? [] : ['the runtime handler is not installed there']),
    ...(source.arch === target.arch ? [] : [`it is ${target.arch}, the source ${source.arch}`]),
    ...(missing.length === 0 ? [] : [`its CPU lacks ${missing.slice(0, 8).join(' ')}`]),
    ...(older(target.criu, source.criu) ? [`its CRIU ${target.criu} is older than the source's ${source.criu}`] : []),
    ...(older(target.runc, LEAST.runc) ? [`its runc ${target.runc} is older than ${LEAST.runc}`] : []),
    ...(older(target.containerd, LEAST.containerd)
      ? [`its containerd ${target.containerd} is older than ${LEAST.containerd}`]
      : []),
    ...(target.freeBytes < wanted ? [`it has ${target.freeBytes} of ${wanted} bytes free`] : []),
    ...(source.freeBytes < wanted ? [`the source's node has ${source.freeBytes} of ${wanted} bytes free`] : []),
  ];
};

/** The share of the room that is taken, for the choice of the least requested one: 0 to 1. */
export const load = (node: V1Node, pods: readonly V1Pod[]): number => {
  const [all, room] = [allocatable(node), roomOn(node, pods)];
  const share = (name: string) => 1 - (room[name] ?? 0) / (all[name] || 1);
  return (share('cpu') + share('memory')) / 2;
};
