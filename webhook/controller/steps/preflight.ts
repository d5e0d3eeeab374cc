/** Before anything is touched: everything that can be known to go wrong is refused, by name. */
import type { V1Node, V1Pod, V1StatefulSet } from '@kubernetes/client-node';
import { shadowPod } from '../../admission/restore.ts';
import { asShadowError, type ErrorCode, ShadowError } from '../../api/errors.ts';
import { IMPLEMENTED, type MigrationStatus, type StatefulMigration, type Strategy } from '../../api/migration.ts';
import { claimOf, shadowName } from '../../api/names.ts';
import type { Context } from '../context.ts';
import { appContainers, clonedContainers, podId, uidOf } from '../pods.ts';
import { load, type NodeReport, unfitBetween, unfitFor } from '../preflight/node.ts';
import { checkPod, pinnedImages } from '../preflight/pod.ts';
import { checkBusy, checkSet, ownerOf } from '../preflight/set.ts';
import { ApiError, apiFailure } from '../rest.ts';
import { firstAttempt } from '../transition.ts';

const REASON =
  'StopAndCopy is exact for every app; strategies that replay beside the serving source come in a later release';

const chooseStrategy = ({ spec }: StatefulMigration): { strategy: Strategy; strategyReason: string } => {
  const wanted = spec.migrationStrategy || 'Auto';
  if (!IMPLEMENTED.includes(wanted))
    throw new ShadowError(
      'SHADOW_E_UNSUPPORTED',
      `strategy ${wanted} is not implemented in this release; use StopAndCopy`,
    );
  return wanted === 'Auto'
    ? { strategy: 'StopAndCopy', strategyReason: REASON }
    : { strategy: wanted, strategyReason: 'asked for' };
};

interface Findings {
  pod: V1Pod;
  set: V1StatefulSet;
  sourceNode: string;
  nodes: V1Node[];
  pods: V1Pod[];
  source: NodeReport;
  estimatedBytes: number;
}

const findPodAndSet = async (ctx: Context, migration: StatefulMigration) => {
  const { namespace } = migration.metadata;
  const name = migration.spec.sourcePod ?? '';
  const pod = await ctx.cluster.readPod(namespace, name);
  if (pod === undefined) throw new ShadowError('SHADOW_E_POD_NOT_FOUND', `${namespace}/${name}`);
  checkBusy(migration, ctx.cluster.migrations(), name, undefined);
  checkPod(pod);
  const set = await ctx.cluster.statefulSet(namespace, ownerOf(pod));
  if (set === undefined) throw new ShadowError('SHADOW_E_UNOWNED', `StatefulSet ${ownerOf(pod)} is gone`);
  checkBusy(migration, ctx.cluster.migrations(), name, set);
  checkSet(set, pod, await ctx.cluster.listPods(namespace));
  return { pod, set };
};

/** What only the running pod can tell: its AMQP session, its processes. */
const inspect = async (ctx: Context, namespace: string, pod: V1Pod, node: string): Promise<number> => {
  const [session, processes] = await Promise.all([
    ctx.sidecars.command(uidOf(pod), { type: 'inspect', claim: '' }),
    ctx.agents.of(node).inspect({
      pod: podId(namespace, { name: pod.metadata?.name ?? '', uid: uidOf(pod), node }),
      podIP: pod.status?.podIP ?? '',
      containers: clonedContainers(pod),
    }),
  ]);
  if (session.hazards.length > 0) throw new ShadowError('SHADOW_E_SESSION', session.hazards.join('; '));
  if (processes.hazards.length > 0) throw new ShadowError('SHADOW_E_UNSUPPORTED', processes.hazards.join('; '));
  return processes.estimatedBytes;
};

const observe = async (ctx: Context, migration: StatefulMigration): Promise<Findings> => {
  const { pod, set } = await findPodAndSet(ctx, migration);
  const sourceNode = pod.spec?.nodeName ?? '';
  const [nodes, pods, source, estimatedBytes] = await Promise.all([
    ctx.cluster.nodes(),
    ctx.cluster.listAllPods(),
    reportOf(ctx, sourceNode),
    inspect(ctx, migration.metadata.namespace, pod, sourceNode),
  ]);
  return { pod, set, sourceNode, nodes, pods, source, estimatedBytes };
};

const reportOf = async (ctx: Context, node: string): Promise<NodeReport> => ctx.agents.of(node).node({});

/** All that speaks against a node; an agent that does not answer is one more thing. */
const against = async (ctx: Context, found: Findings, node: V1Node): Promise<string[]> => {
  const reasons = unfitFor(found.pod, node, found.pods);
  if (reasons.length > 0) return reasons;
  try {
    return unfitBetween(found.source, await reportOf(ctx, node.metadata?.name ?? ''), found.estimatedBytes);
  } catch (error) {
    return [asShadowError(error).message];
  }
};

const nameOf = (node: V1Node): string => node.metadata?.name ?? '';

const namedTarget = async (ctx: Context, found: Findings, name: string): Promise<string> => {
  const node = found.nodes.find((one) => nameOf(one) === name);
  if (node === undefined) throw new ShadowError('SHADOW_E_NODE_NOT_FOUND', name);
  if (name === found.sourceNode) throw new ShadowError('SHADOW_E_SAME_NODE', name);
  const reasons = await against(ctx, found, node);
  if (reasons.length > 0) throw new ShadowError('SHADOW_E_NODE_UNFIT', `${name}: ${reasons.join('; ')}`);
  return name;
};

/** The least requested of the fit ones. */
const chosenTarget = async (ctx: Context, found: Findings): Promise<string> => {
  const others = found.nodes
    .filter((node) => nameOf(node) !== found.sourceNode)
    .sort((a, b) => load(a, found.pods) - load(b, found.pods) || nameOf(a).localeCompare(nameOf(b)));
  const refused: string[] = [];
  for (const node of others) {
    const reasons = await against(ctx, found, node);
    if (reasons.length === 0) return nameOf(node);
    refused.push(`${nameOf(node)}: ${reasons.join(', ')}`);
  }
  throw new ShadowError('SHADOW_E_NO_NODE', refused.join('; ') || 'there is no other node');
};

/** Quota, PodSecurity and every other admission have their say now, not in the middle. */
const rehearse = async (ctx: Context, shadow: V1Pod): Promise<void> => {
  try {
    const made = await ctx.cluster.createPod(shadow, { dryRun: true });
    if (made === undefined) throw new ShadowError('SHADOW_E_BUSY', `a pod ${shadow.metadata?.name} exists already`);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status >= 500) throw error;
    const code: ErrorCode = error.status === 403 ? 'SHADOW_E_UNSUPPORTED' : 'SHADOW_E_API';
    throw new ShadowError(code, `the shadow pod would be refused: ${error.message}`, { cause: apiFailure(error) });
  }
};

/** What the record begins with. Throws the refusal. */
export const preflight = async (ctx: Context, migration: StatefulMigration): Promise<Partial<MigrationStatus>> => {
  const { namespace, uid } = migration.metadata;
  const chosen = chooseStrategy(migration);
  const found = await observe(ctx, migration);
  const { pod, set, sourceNode } = found;
  const wanted = migration.spec.targetNode;
  const targetNode = wanted ? await namedTarget(ctx, found, wanted) : await chosenTarget(ctx, found);
  const name = pod.metadata?.name ?? '';
  const images = pinnedImages(pod);
  const shadow = shadowPod(pod, {
    claim: claimOf(uid, 0),
    node: targetNode,
    sidecarForm: 'container',
    images: Object.fromEntries(images.map((one) => [one.name, one.image])),
    migrationUid: uid,
  });
  await rehearse(ctx, { ...shadow, metadata: { ...shadow.metadata, namespace } });
  const source = { name, uid: uidOf(pod), node: sourceNode, ip: pod.status?.podIP ?? '' };
  return {
    ...chosen,
    sourceNode,
    targetNode,
    targetPod: shadowName(name),
    containerName: migration.spec.containerName || (appContainers(pod)[0]?.name ?? ''),
    statefulSetName: set.metadata?.name ?? '',
    originalReplicas: set.spec?.replicas ?? 1,
    sourcePodLabels: pod.metadata?.labels ?? {},
    sourceContainers: images,
    handoffs: [firstAttempt(migration, 0, source, { name: shadowName(name), node: targetNode }, ctx.now())],
  };
};
