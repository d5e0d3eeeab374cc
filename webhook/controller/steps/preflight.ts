/** Before anything is touched: everything that can be known to go wrong is refused, by name. */
import type { V1Pod } from '@kubernetes/client-node';
import packageJson from '../../../package.json' with { type: 'json' };
import { ShadowError } from '../../api/errors.ts';
import type { MigrationStatus, StatefulMigration, Versions } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { begunQueues } from '../ms2m/beside.ts';
import { appContainers, uidOf } from '../pods.ts';
import { checkConfiguredQueue, chooseBare, isBareRequest } from '../preflight/ms2m.ts';
import type { NodeReport } from '../preflight/node.ts';
import type { Owner } from '../preflight/owner.ts';
import { checkContainerName, checkPod, pinnedImages } from '../preflight/pod.ts';
import { checkBusy } from '../preflight/set.ts';
import { checkRehearsal, chooseStrategy, type Effects, modeOf } from '../preflight/strategy.ts';
import { checkTransfer, roomFor, transferReason } from '../preflight/transfer.ts';
import { firstAttempt, isRehearsal } from '../transition.ts';
import { tryTransfer } from './checkpoint-image.ts';
import {
  askProcesses,
  askSession,
  brokersOf,
  copyNameOf,
  fitnessOf,
  fitOwner,
  nameOf,
  nodeNamed,
  othersOf,
  type Placing,
  reportOf,
  tryAdmission,
} from './inspection.ts';

interface Findings extends Placing {
  /** Without the sidecar: by the control protocol. */
  bare: boolean;
  owner: Owner;
  effects: Effects;
}

const findPodAndOwner = async (ctx: Context, migration: StatefulMigration) => {
  const { namespace } = migration.metadata;
  const name = migration.spec.sourcePod ?? '';
  const pod = await ctx.cluster.readPod(namespace, name);
  if (pod === undefined) throw new ShadowError('SHADOW_E_POD_NOT_FOUND', `${namespace}/${name}`);
  checkBusy(migration, ctx.cluster.migrations(), name, undefined);
  const bare = isBareRequest(migration.spec, pod);
  checkPod(pod, bare);
  checkContainerName(migration.spec, pod);
  return { pod, bare, owner: await fitOwner(ctx, migration, pod) };
};

/** What only the running pod can tell: its AMQP session, its processes. */
const inspect = async (
  ctx: Context,
  namespace: string,
  pod: V1Pod,
): Promise<{ estimatedBytes: number; effects: Effects }> => {
  const [session, processes] = await Promise.all([askSession(ctx, pod), askProcesses(ctx, namespace, pod)]);
  if (session.hazards.length > 0) throw new ShadowError('SHADOW_E_SESSION', session.hazards.join('; '));
  if (processes.hazards.length > 0) throw new ShadowError('SHADOW_E_UNSUPPORTED', processes.hazards.join('; '));
  return {
    estimatedBytes: processes.estimatedBytes,
    effects: { peers: processes.peers, brokers: brokersOf(session) },
  };
};

/** Of a pod without the sidecar: its processes, and the queue that the manifest names. */
const inspectBare = async (ctx: Context, { metadata, spec }: StatefulMigration, pod: V1Pod, kind: Owner['kind']) => {
  chooseBare(spec, pod, kind);
  const [processes] = await Promise.all([
    askProcesses(ctx, metadata.namespace, pod),
    checkConfiguredQueue(ctx.queueWork, spec),
  ]);
  if (processes.hazards.length > 0) throw new ShadowError('SHADOW_E_UNSUPPORTED', processes.hazards.join('; '));
  return { estimatedBytes: processes.estimatedBytes, effects: { peers: processes.peers, brokers: [] } };
};

const observe = async (ctx: Context, migration: StatefulMigration): Promise<Findings> => {
  const { pod, bare, owner } = await findPodAndOwner(ctx, migration);
  const sourceNode = pod.spec?.nodeName ?? '';
  const [nodes, pods, source, inside] = await Promise.all([
    ctx.cluster.nodes(),
    ctx.cluster.listAllPods(),
    reportOf(ctx, sourceNode),
    bare ? inspectBare(ctx, migration, pod, owner.kind) : inspect(ctx, migration.metadata.namespace, pod),
  ]);
  const estimatedBytes = roomFor(migration.spec, inside.estimatedBytes);
  return { pod, bare, owner, kind: owner.kind, sourceNode, nodes, pods, source, ...inside, estimatedBytes };
};

interface Target {
  name: string;
  report: NodeReport;
}

const namedTarget = async (ctx: Context, found: Findings, name: string): Promise<Target> => {
  const { reasons, report } = await fitnessOf(ctx, found, nodeNamed(found, name));
  if (reasons.length > 0 || !report) throw new ShadowError('SHADOW_E_NODE_UNFIT', `${name}: ${reasons.join('; ')}`);
  return { name, report };
};

/** The least requested of the fit ones. */
const chosenTarget = async (ctx: Context, found: Findings): Promise<Target> => {
  const refused: string[] = [];
  for (const node of othersOf(found)) {
    const { reasons, report } = await fitnessOf(ctx, found, node);
    if (reasons.length === 0 && report) return { name: nameOf(node), report };
    refused.push(`${nameOf(node)}: ${reasons.join(', ')}`);
  }
  throw new ShadowError('SHADOW_E_NO_NODE', refused.join('; ') || 'there is no other node');
};

/** What its owner is told to be. */
const recordOf = (owner: Owner): Partial<MigrationStatus> =>
  owner.kind === 'StatefulSet'
    ? { statefulSetName: owner.set.metadata?.name ?? '', originalReplicas: owner.set.spec?.replicas ?? 1 }
    : {
        deploymentName: owner.deployment.metadata?.name ?? '',
        originalReplicas: owner.deployment.spec?.replicas ?? 1,
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
  checkTransfer(migration.spec);
  const found = await observe(ctx, migration);
  const { pod, owner, sourceNode } = found;
  const chosen = found.bare
    ? chooseBare(migration.spec, pod, owner.kind)
    : chooseStrategy(migration.spec, pod, owner.kind, found.effects);
  const rehearsal = isRehearsal(migration);
  if (rehearsal && found.bare)
    throw new ShadowError('SHADOW_E_NOT_INJECTED', 'without the sidecar there is no record that a copy could play');
  if (rehearsal) checkRehearsal(pod);
  const wanted = migration.spec.targetNode;
  const target = wanted ? await namedTarget(ctx, found, wanted) : await chosenTarget(ctx, found);
  const targetNode = target.name;
  await tryTransfer(ctx, migration, sourceNode, targetNode);
  const copyName = copyNameOf(owner, pod, migration.metadata.uid);
  await tryAdmission(ctx, migration, pod, copyName, targetNode);
  const source = { name: pod.metadata?.name ?? '', uid: uidOf(pod), node: sourceNode, ip: pod.status?.podIP ?? '' };
  const copy = { name: copyName, node: targetNode };
  const transfer = transferReason(migration.spec, targetNode, target.report.containerd);
  // What would be stopped is rehearsed beside its serving source all the same: nobody is to wait for a rehearsal.
  const mode = rehearsal ? 'replay' : modeOf(chosen.strategy);
  const first = firstAttempt(migration, 0, source, copy, ctx.now(), mode);
  if (found.bare && mode === 'replay') first.queues = begunQueues(ctx.now());
  return {
    ...chosen,
    ...(transfer === undefined ? {} : { transferReason: transfer }),
    ...recordOf(owner),
    sourceNode,
    targetNode,
    targetPod: copyName,
    containerName: migration.spec.containerName || (appContainers(pod)[0]?.name ?? ''),
    sourcePodLabels: pod.metadata?.labels ?? {},
    sourceContainers: pinnedImages(pod),
    versions: versionsOf(ctx, found, target),
    handoffs: [first],
  };
};
