/** What preflight and a dry run look at: the pod's owner, the running pod, the nodes, the copy as the API server would take it. */
import type { V1Node, V1Pod } from '@kubernetes/client-node';
import packageJson from '../../../package.json' with { type: 'json' };
import { shadowPod } from '../../admission/restore.ts';
import type { AgentResponse } from '../../api/agent.ts';
import type { SessionReport } from '../../api/control.ts';
import { asShadowError, type ErrorCode, ShadowError } from '../../api/errors.ts';
import type { StatefulMigration } from '../../api/migration.ts';
import { claimOf, replicaName, shadowName } from '../../api/names.ts';
import { minorsAhead, skewOf } from '../../api/skew.ts';
import type { Context } from '../context.ts';
import { clonedContainers, podId, uidOf } from '../pods.ts';
import { checkDeployment, deploymentOf } from '../preflight/deployment.ts';
import { load, type NodeReport, unfitBetween, unfitFor } from '../preflight/node.ts';
import { controllerOf, type Owner, unowned } from '../preflight/owner.ts';
import { isInjected, pinnedImages } from '../preflight/pod.ts';
import { checkBusy, checkSet } from '../preflight/set.ts';
import { checkStrategy } from '../preflight/strategy.ts';
import { ApiError, apiFailure } from '../rest.ts';

const gone = (kind: string, name: string): ShadowError => unowned(`${kind} ${name} is gone`);

/** Throws SHADOW_E_UNOWNED. */
export const findOwner = async (ctx: Context, namespace: string, pod: V1Pod): Promise<Owner> => {
  const { kind, name } = controllerOf(pod);
  if (kind === 'StatefulSet') {
    const set = await ctx.cluster.statefulSet(namespace, name);
    if (set === undefined) throw gone(kind, name);
    return { kind, set };
  }
  const set = await ctx.cluster.replicaSet(namespace, name);
  if (set === undefined) throw gone(kind, name);
  const above = deploymentOf(set);
  if (above === undefined) throw unowned(`ReplicaSet ${name} belongs to no Deployment`);
  const deployment = await ctx.cluster.deployment(namespace, above);
  if (deployment === undefined) throw gone('Deployment', above);
  return { kind: 'Deployment', deployment, set };
};

/** Throws while the owner would not make, or keep, the very pod. */
export const checkOwner = async (
  ctx: Context,
  migration: StatefulMigration,
  pod: V1Pod,
  owner: Owner,
): Promise<void> => {
  if (owner.kind === 'Deployment') return checkDeployment(owner.deployment, owner.set, pod);
  checkBusy(migration, ctx.cluster.migrations(), pod.metadata?.name ?? '', owner.set);
  checkSet(owner.set, pod, await ctx.cluster.listPods(migration.metadata.namespace));
};

/** The owner, fit to be migrated from by the strategy that is asked for. */
export const fitOwner = async (ctx: Context, migration: StatefulMigration, pod: V1Pod): Promise<Owner> => {
  const owner = await findOwner(ctx, migration.metadata.namespace, pod);
  checkStrategy(migration.spec, owner.kind);
  await checkOwner(ctx, migration, pod, owner);
  return owner;
};

/** Throws SHADOW_E_SKEW for a sidecar of a version that this controller can't hand over; it is asked nothing. */
export const askSession = async (ctx: Context, pod: V1Pod): Promise<SessionReport> => {
  const session = ctx.sidecars.session(uidOf(pod));
  const skew = session && skewOf(session, packageJson.version);
  if (skew !== undefined) throw new ShadowError('SHADOW_E_SKEW', skew);
  return ctx.sidecars.command(uidOf(pod), { type: 'inspect', claim: '' });
};

/** One line about a sidecar that is older than the controller, and fits. */
export const olderSidecar = (ctx: Context, pod: V1Pod): string[] => {
  const { version } = ctx.sidecars.session(uidOf(pod)) ?? {};
  const own = packageJson.version;
  return version === undefined || (minorsAhead(version, own) ?? 0) < 1
    ? []
    : [`its sidecar is ${version}, the controller ${own}: renew the pod before the next upgrade`];
};

export const askProcesses = async (ctx: Context, namespace: string, pod: V1Pod): Promise<AgentResponse<'inspect'>> => {
  const node = pod.spec?.nodeName ?? '';
  return ctx.agents.of(node).inspect({
    pod: podId(namespace, { name: pod.metadata?.name ?? '', uid: uidOf(pod), node }),
    podIP: pod.status?.podIP ?? '',
    containers: clonedContainers(pod),
  });
};

export const brokersOf = (session: SessionReport): string[] => session.connections.map(({ broker }) => broker);

export const reportOf = async (ctx: Context, node: string): Promise<NodeReport> => ctx.agents.of(node).node({});

export interface Placing {
  pod: V1Pod;
  kind: Owner['kind'];
  /** Where it is. */
  sourceNode: string;
  nodes: readonly V1Node[];
  pods: readonly V1Pod[];
  source: NodeReport;
  estimatedBytes: number;
}

export const nameOf = (node: V1Node): string => node.metadata?.name ?? '';

export interface Fitness {
  /** All that speaks against the node; an agent that does not answer is one more thing. Empty: it is fit. */
  reasons: string[];
  /** What its agent says; undefined: it was not asked, or did not answer. */
  report?: NodeReport;
}

export const fitnessOf = async (ctx: Context, placing: Placing, node: V1Node): Promise<Fitness> => {
  const reasons = unfitFor(placing.pod, node, placing.pods, placing.kind === 'Deployment' ? 1 : 2);
  if (reasons.length > 0) return { reasons };
  try {
    const report = await reportOf(ctx, nameOf(node));
    return { reasons: unfitBetween(placing.source, report, placing.estimatedBytes), report };
  } catch (error) {
    return { reasons: [asShadowError(error).message] };
  }
};

/** The other nodes, the least requested first. */
export const othersOf = ({ nodes, pods, sourceNode }: Placing): V1Node[] =>
  nodes
    .filter((node) => nameOf(node) !== sourceNode)
    .sort((a, b) => load(a, pods) - load(b, pods) || nameOf(a).localeCompare(nameOf(b)));

/** The node that is asked for. Throws SHADOW_E_NODE_NOT_FOUND, SHADOW_E_SAME_NODE. */
export const nodeNamed = ({ nodes, sourceNode }: Placing, name: string): V1Node => {
  const node = nodes.find((one) => nameOf(one) === name);
  if (node === undefined) throw new ShadowError('SHADOW_E_NODE_NOT_FOUND', name);
  if (name === sourceNode) throw new ShadowError('SHADOW_E_SAME_NODE', name);
  return node;
};

/** What the copy is called: a Deployment's keeps that name. */
export const copyNameOf = (owner: Owner, pod: V1Pod, migrationUid: string): string =>
  owner.kind === 'StatefulSet'
    ? shadowName(pod.metadata?.name ?? '')
    : replicaName(owner.set.metadata?.name ?? '', migrationUid);

/** Quota, PodSecurity and every other admission have their say on the copy now, not in the middle. */
export const tryAdmission = async (
  ctx: Context,
  { metadata: { uid, namespace } }: StatefulMigration,
  pod: V1Pod,
  name: string,
  node: string,
): Promise<void> => {
  const images = Object.fromEntries(pinnedImages(pod).map((one) => [one.name, one.image]));
  const claim = claimOf(uid, 0);
  const shadow = shadowPod(pod, {
    ...{ name, claim, node, sidecarForm: 'container', images, migrationUid: uid },
    bare: !isInjected(pod),
  });
  try {
    const made = await ctx.cluster.createPod(
      { ...shadow, metadata: { ...shadow.metadata, namespace } },
      { dryRun: true },
    );
    if (made === undefined) throw new ShadowError('SHADOW_E_BUSY', `a pod ${name} exists already`);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status >= 500) throw error;
    const code: ErrorCode = error.status === 403 ? 'SHADOW_E_UNSUPPORTED' : 'SHADOW_E_API';
    throw new ShadowError(code, `the shadow pod would be refused: ${error.message}`, { cause: apiFailure(error) });
  }
};
