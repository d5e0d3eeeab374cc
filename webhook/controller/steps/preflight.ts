/** Before anything is touched: everything that can be known to go wrong is refused, by name. */
import type { V1Node, V1Pod } from '@kubernetes/client-node';
import packageJson from '../../../package.json' with { type: 'json' };
import { shadowPod } from '../../admission/restore.ts';
import { asShadowError, type ErrorCode, ShadowError } from '../../api/errors.ts';
import type { MigrationStatus, StatefulMigration, Versions } from '../../api/migration.ts';
import { claimOf, replicaName, shadowName } from '../../api/names.ts';
import type { Context } from '../context.ts';
import { appContainers, clonedContainers, podId, uidOf } from '../pods.ts';
import { checkDeployment, deploymentOf } from '../preflight/deployment.ts';
import { load, type NodeReport, unfitBetween, unfitFor } from '../preflight/node.ts';
import { controllerOf, type Owner, unowned } from '../preflight/owner.ts';
import { checkPod, pinnedImages } from '../preflight/pod.ts';
import { checkBusy, checkSet } from '../preflight/set.ts';
import { checkStrategy, chooseStrategy, type Effects, modeOf } from '../preflight/strategy.ts';
import { ApiError, apiFailure } from '../rest.ts';
import { firstAttempt } from '../transition.ts';

interface Findings {
  pod: V1Pod;
  owner: Owner;
  sourceNode: string;
  nodes: V1Node[];
  pods: V1Pod[];
  source: NodeReport;
  estimatedBytes: number;
  effects: Effects;
}

const gone = (kind: string, name: string): ShadowError => unowned(`${kind} ${name} is gone`);

const findOwner = async (ctx: Context, migration: StatefulMigration, pod: V1Pod): Promise<Owner> => {
  const { namespace } = migration.metadata;
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

const findPodAndOwner = async (ctx: Context, migration: StatefulMigration) => {
  const { namespace } = migration.metadata;
  const name = migration.spec.sourcePod ?? '';
  const pod = await ctx.cluster.readPod(namespace, name);
  if (pod === undefined) throw new ShadowError('SHADOW_E_POD_NOT_FOUND', `${namespace}/${name}`);
  checkBusy(migration, ctx.cluster.migrations(), name, undefined);
  checkPod(pod);
  const owner = await findOwner(ctx, migration, pod);
  checkStrategy(migration.spec, owner.kind);
  if (owner.kind === 'Deployment') checkDeployment(owner.deployment, owner.set, pod);
  else {
    checkBusy(migration, ctx.cluster.migrations(), name, owner.set);
    checkSet(owner.set, pod, await ctx.cluster.listPods(namespace));
  }
  return { pod, owner };
};

/** What only the running pod can tell: its AMQP session, its processes. */
const inspect = async (
  ctx: Context,
  namespace: string,
  pod: V1Pod,
  node: string,
): Promise<{ estimatedBytes: number; effects: Effects }> => {
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
  const brokers = session.connections.map(({ broker }) => broker);
  return { estimatedBytes: processes.estimatedBytes, effects: { peers: processes.peers, brokers } };
};

const observe = async (ctx: Context, migration: StatefulMigration): Promise<Findings> => {
  const { pod, owner } = await findPodAndOwner(ctx, migration);
  const sourceNode = pod.spec?.nodeName ?? '';
  const [nodes, pods, source, inside] = await Promise.all([
    ctx.cluster.nodes(),
    ctx.cluster.listAllPods(),
    reportOf(ctx, sourceNode),
    inspect(ctx, migration.metadata.namespace, pod, sourceNode),
  ]);
  return { pod, owner, sourceNode, nodes, pods, source, ...inside };
};

const reportOf = async (ctx: Context, node: string): Promise<NodeReport> => ctx.agents.of(node).node({});

/** All that speaks against a node, or what its agent says; one that does not answer is one more thing. */
const against = async (ctx: Context, found: Findings, node: V1Node): Promise<string[] | NodeReport> => {
  const reasons = unfitFor(found.pod, node, found.pods, found.owner.kind === 'Deployment' ? 1 : 2);
  if (reasons.length > 0) return reasons;
  try {
    const report = await reportOf(ctx, node.metadata?.name ?? '');
    const between = unfitBetween(found.source, report, found.estimatedBytes);
    return between.length > 0 ? between : report;
  } catch (error) {
    return [asShadowError(error).message];
  }
};

const nameOf = (node: V1Node): string => node.metadata?.name ?? '';

interface Target {
  name: string;
  report: NodeReport;
}

const namedTarget = async (ctx: Context, found: Findings, name: string): Promise<Target> => {
  const node = found.nodes.find((one) => nameOf(one) === name);
  if (node === undefined) throw new ShadowError('SHADOW_E_NODE_NOT_FOUND', name);
  if (name === found.sourceNode) throw new ShadowError('SHADOW_E_SAME_NODE', name);
  const report = await against(ctx, found, node);
  if (Array.isArray(report)) throw new ShadowError('SHADOW_E_NODE_UNFIT', `${name}: ${report.join('; ')}`);
  return { name, report };
};

/** The least requested of the fit ones. */
const chosenTarget = async (ctx: Context, found: Findings): Promise<Target> => {
  const others = found.nodes
    .filter((node) => nameOf(node) !== found.sourceNode)
    .sort((a, b) => load(a, found.pods) - load(b, found.pods) || nameOf(a).localeCompare(nameOf(b)));
  const refused: string[] = [];
  for (const node of others) {
    const report = await against(ctx, found, node);
    if (!Array.isArray(report)) return { name: nameOf(node), report };
    refused.push(`${nameOf(node)}: ${report.join(', ')}`);
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

/** What the copy is called, and what its owner is told to be. */
const ownedBy = (owner: Owner, pod: string, migrationUid: string) =>
  owner.kind === 'StatefulSet'
    ? {
        copyName: shadowName(pod),
        record: { statefulSetName: owner.set.metadata?.name ?? '', originalReplicas: owner.set.spec?.replicas ?? 1 },
      }
    : {
        copyName: replicaName(owner.set.metadata?.name ?? '', migrationUid),
        record: {
          deploymentName: owner.deployment.metadata?.name ?? '',
          originalReplicas: owner.deployment.spec?.replicas ?? 1,
        },
      };

/** For whoever reads the record later. */
const versionsOf = (ctx: Context, { pod, sourceNode, source }: Findings, target: Target): Versions => {
  const sidecar = ctx.sidecars.session(uidOf(pod))?.version;
  const nodeOf = (name: string, { kernel, containerd, runc, criu }: NodeReport) => ({
    name,
    kernel,
    containerd,
    runc,
    criu,
  });
  return {
    controller: packageJson.version,
    ...(sidecar === undefined ? {} : { sidecar }),
    nodes: [nodeOf(sourceNode, source), nodeOf(target.name, target.report)],
  };
};

/** What the record begins with. Throws the refusal. */
export const preflight = async (ctx: Context, migration: StatefulMigration): Promise<Partial<MigrationStatus>> => {
  const { namespace, uid } = migration.metadata;
  const found = await observe(ctx, migration);
  const { pod, owner, sourceNode } = found;
  const chosen = chooseStrategy(migration.spec, pod, owner.kind, found.effects);
  const wanted = migration.spec.targetNode;
  const target = wanted ? await namedTarget(ctx, found, wanted) : await chosenTarget(ctx, found);
  const targetNode = target.name;
  const name = pod.metadata?.name ?? '';
  const { copyName, record } = ownedBy(owner, name, uid);
  const images = pinnedImages(pod);
  const shadow = shadowPod(pod, {
    name: copyName,
    claim: claimOf(uid, 0),
    node: targetNode,
    sidecarForm: 'container',
    images: Object.fromEntries(images.map((one) => [one.name, one.image])),
    migrationUid: uid,
  });
  await rehearse(ctx, { ...shadow, metadata: { ...shadow.metadata, namespace } });
  const source = { name, uid: uidOf(pod), node: sourceNode, ip: pod.status?.podIP ?? '' };
  const copy = { name: copyName, node: targetNode };
  return {
    ...chosen,
    ...record,
    sourceNode,
    targetNode,
    targetPod: copyName,
    containerName: migration.spec.containerName || (appContainers(pod)[0]?.name ?? ''),
    sourcePodLabels: pod.metadata?.labels ?? {},
    sourceContainers: images,
    versions: versionsOf(ctx, found, target),
    handoffs: [firstAttempt(migration, 0, source, copy, ctx.now(), modeOf(chosen.strategy))],
  };
};
