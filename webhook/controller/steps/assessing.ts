/**
 * A dry run: the same looks and judgements as preflight, but all of them, whatever the first ones say; nothing is touched. It
 * ends with them written down.
 */
import type { V1Pod } from '@kubernetes/client-node';
import type { AgentResponse } from '../../api/agent.ts';
import type { SessionReport } from '../../api/control.ts';
import { ShadowError } from '../../api/errors.ts';
import type { Aspect, AspectName, MigrationStatus, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { isLeaving } from '../pods.ts';
import { checkConfiguredQueue, chooseBare, isBareRequest } from '../preflight/ms2m.ts';
import type { Owner } from '../preflight/owner.ts';
import { checkContainerName, cutShort, isInjected, stateRefusals, unsupported } from '../preflight/pod.ts';
import { checkBusy } from '../preflight/set.ts';
import { checkStrategy, chooseStrategy, doubtOf, otherPeers } from '../preflight/strategy.ts';
import { roomFor } from '../preflight/transfer.ts';
import { apiFailure } from '../rest.ts';
import { stamp } from '../transition.ts';
import {
  askProcesses,
  askSession,
  brokersOf,
  checkOwner,
  copyNameOf,
  findOwner,
  fitnessOf,
  nameOf,
  nodeNamed,
  olderSidecar,
  othersOf,
  type Placing,
  reportOf,
  tryAdmission,
} from './inspection.ts';
import { transferAspects } from './transfer-aspect.ts';

type Looked<T> = { value: T; error?: undefined } | { value?: undefined; error: ShadowError };
/** Throws what may be otherwise the next time, while there is time for one. */
type Look = <T>(look: () => T | Promise<T>) => Promise<Looked<T>>;

const lookWhile =
  (patient: boolean): Look =>
  async (look) => {
    try {
      return { value: await look() };
    } catch (thrown) {
      const error = apiFailure(thrown);
      if (patient && error.retryable) throw error;
      return { error };
    }
  };

/** As many, and as long, as the schema takes. */
const findings = (lines: readonly string[]): string[] => lines.slice(0, 100).map((line) => line.slice(0, 1_000));

const fine = (aspect: AspectName, lines: readonly string[] = []): Aspect => ({
  aspect,
  verdict: 'Fit',
  findings: findings(lines),
});
const unknown = (aspect: AspectName, why: string): Aspect => ({ aspect, verdict: 'Unknown', findings: [why] });
const warning = (aspect: AspectName, lines: readonly string[]): Aspect => ({
  ...fine(aspect, lines),
  verdict: 'Warning',
});
const unfit = (aspect: AspectName, errors: readonly ShadowError[]): Aspect => ({
  aspect,
  verdict: 'Unfit',
  ...(errors[0] === undefined ? {} : { code: errors[0].code }),
  findings: findings(errors.map(({ message }) => message)),
});
/** Each hazard is a line of its own. */
const hazardous = (
  aspect: AspectName,
  code: 'SHADOW_E_SESSION' | 'SHADOW_E_UNSUPPORTED',
  hazards: readonly string[],
): Aspect => ({ aspect, verdict: 'Unfit', code, findings: findings(hazards) });

/** Nothing, or the refusal, as a list. */
const thrownBy = (check: () => void): ShadowError[] => {
  try {
    check();
    return [];
  } catch (error) {
    return [apiFailure(error)];
  }
};

const podAspect = (ctx: Context, migration: StatefulMigration, pod: V1Pod, bare: boolean): Aspect => {
  const name = pod.metadata?.name ?? '';
  const refusals = [
    ...stateRefusals(pod, bare),
    ...thrownBy(() => checkBusy(migration, ctx.cluster.migrations(), name, undefined)),
  ];
  return refusals.length > 0 ? unfit('Pod', refusals) : fine('Pod', [`runs on ${pod.spec?.nodeName ?? ''}`]);
};

const specAspect = ({ spec }: StatefulMigration, pod: V1Pod): Aspect => {
  const misnamed = thrownBy(() => checkContainerName(spec, pod));
  if (misnamed.length > 0) return unfit('Spec', misnamed);
  const [refused, told] = [unsupported(pod), cutShort(pod)];
  if (refused.length > 0) return hazardous('Spec', 'SHADOW_E_UNSUPPORTED', [...refused, ...told]);
  return told.length > 0 ? warning('Spec', told) : fine('Spec');
};

const ownerName = (owner: Owner): string =>
  owner.kind === 'StatefulSet'
    ? `StatefulSet ${owner.set.metadata?.name ?? ''}`
    : `Deployment ${owner.deployment.metadata?.name ?? ''}`;

const ownerAspect = async (
  ctx: Context,
  migration: StatefulMigration,
  pod: V1Pod,
  { value: owner, error }: Looked<Owner>,
  look: Look,
): Promise<Aspect> => {
  if (owner === undefined) return unfit('Owner', [error]);
  const checked = await look(() => checkOwner(ctx, migration, pod, owner));
  return checked.error === undefined ? fine('Owner', [ownerName(owner)]) : unfit('Owner', [checked.error]);
};

type Session = Looked<SessionReport> | undefined;
type Processes = Looked<AgentResponse<'inspect'>> | undefined;

/** `told`: what else there is to say of the sidecar. */
const sessionAspect = (session: Session, told: readonly string[]): Aspect => {
  if (session === undefined) return unknown('Session', 'the pod has no sidecar that runs');
  if (session.value === undefined) return unfit('Session', [session.error]);
  const { hazards, connections } = session.value;
  if (hazards.length > 0) return hazardous('Session', 'SHADOW_E_SESSION', hazards);
  const channels = connections.flatMap((connection) => connection.channels);
  const consumers = channels.reduce((sum, channel) => sum + channel.consumers.length, 0);
  const seen = `connections: ${connections.length}, channels: ${channels.length}, consumers: ${consumers}`;
  return told.length > 0 ? warning('Session', [seen, ...told]) : fine('Session', [seen]);
};

/** Of an app without the sidecar: the queue it works off. */
const queueAspect = ({ error }: Looked<unknown>, { spec }: StatefulMigration): Aspect =>
  error === undefined
    ? fine('Session', [`no sidecar; the only consumer of ${spec.messageQueueConfig?.queueName}`])
    : unfit('Session', [error]);

/** `session`: of an app without one it is not known which of its peers is the broker. */
const processesAspect = (processes: Processes, session: Session): Aspect => {
  if (processes === undefined) return unknown('Processes', 'the pod does not run');
  if (processes.value === undefined) return unfit('Processes', [processes.error]);
  const { hazards, peers, estimatedBytes } = processes.value;
  if (hazards.length > 0) return hazardous('Processes', 'SHADOW_E_UNSUPPORTED', hazards);
  const others = session?.value === undefined ? [] : otherPeers({ peers, brokers: brokersOf(session.value) });
  return others.length > 0
    ? warning('Processes', [`connections to other than the broker, which end with a move: ${others.join(', ')}`])
    : fine('Processes', [`about ${Math.ceil(estimatedBytes / 2 ** 20)} MiB to move`]);
};

interface Strategic {
  aspect: Aspect;
  chosen?: Pick<MigrationStatus, 'strategy' | 'strategyReason'>;
}

const strategic = (
  migration: StatefulMigration,
  pod: V1Pod,
  owner: Owner | undefined,
  session: Session,
  processes: Processes,
): Strategic => {
  if (owner === undefined) return { aspect: unknown('Strategy', 'it depends on what owns the pod') };
  const { spec } = migration;
  if (isBareRequest(spec, pod)) {
    const refused = thrownBy(() => chooseBare(spec, pod, owner.kind));
    if (refused.length > 0) return { aspect: unfit('Strategy', refused) };
    const bare = chooseBare(spec, pod, owner.kind);
    return { aspect: fine('Strategy', [`${bare.strategy}: ${bare.strategyReason}`]), chosen: bare };
  }
  const refusals = thrownBy(() => checkStrategy(spec, owner.kind));
  if (refusals.length > 0) return { aspect: unfit('Strategy', refusals) };
  if (session?.value === undefined || processes?.value === undefined)
    return { aspect: unknown('Strategy', 'it depends on the connections of the app, which are not known') };
  const effects = { peers: processes.value.peers, brokers: brokersOf(session.value) };
  const chosen = chooseStrategy(spec, pod, owner.kind, effects);
  const doubt = doubtOf(spec, pod, owner.kind, effects);
  const aspect =
    doubt === undefined
      ? fine('Strategy', [`${chosen.strategy}: ${chosen.strategyReason}`])
      : warning('Strategy', [
          `${chosen.strategy} is asked for, Auto would take ${doubt.strategy}: ${doubt.strategyReason}`,
        ]);
  return { aspect, chosen };
};

interface Placed {
  aspect: Aspect;
  /** The first is the one that would be taken. */
  fitNodes: string[];
}

const placed = async (ctx: Context, wanted: string | undefined, placing: Placing, look: Look): Promise<Placed> => {
  const named = wanted ? await look(() => [nodeNamed(placing, wanted)]) : { value: othersOf(placing) };
  if (named.value === undefined) return { aspect: unfit('Nodes', [named.error]), fitNodes: [] };
  const judged = await Promise.all(
    named.value.map(async (node) => ({ name: nameOf(node), ...(await fitnessOf(ctx, placing, node)) })),
  );
  const fitNodes = judged.filter(({ reasons }) => reasons.length === 0).map(({ name }) => name);
  const refused = judged
    .filter(({ reasons }) => reasons.length > 0)
    .map(({ name, reasons }) => `${name}: ${reasons.join('; ')}`);
  if (fitNodes.length > 0) return { aspect: fine('Nodes', refused), fitNodes };
  const code = wanted ? 'SHADOW_E_NODE_UNFIT' : 'SHADOW_E_NO_NODE';
  const why = refused.length > 0 ? refused : ['there is no other node'];
  return { aspect: { aspect: 'Nodes', verdict: 'Unfit', code, findings: findings(why) }, fitNodes };
};

const place = async (
  ctx: Context,
  migration: StatefulMigration,
  pod: V1Pod,
  owner: Owner | undefined,
  estimatedBytes: number,
  look: Look,
): Promise<Placed> => {
  const none = (why: string): Placed => ({ aspect: unknown('Nodes', why), fitNodes: [] });
  const sourceNode = pod.spec?.nodeName ?? '';
  if (owner === undefined || sourceNode === '') return none('the pod has no owner, or no node, to go on from');
  const [nodes, pods, source] = await Promise.all([
    ctx.cluster.nodes(),
    ctx.cluster.listAllPods(),
    look(() => reportOf(ctx, sourceNode)),
  ]);
  if (source.value === undefined) return none(source.error.message);
  const placing = { pod, kind: owner.kind, sourceNode, nodes, pods, source: source.value, estimatedBytes };
  return placed(ctx, migration.spec.targetNode, placing, look);
};

/** Asked only of a copy that could be made: of another the answer would mean nothing. */
const admissionAspect = async (
  ctx: Context,
  migration: StatefulMigration,
  pod: V1Pod,
  owner: Owner | undefined,
  node: string | undefined,
  look: Look,
): Promise<Aspect> => {
  if (owner === undefined || node === undefined || !(isInjected(pod) || isBareRequest(migration.spec, pod)))
    return unknown('Admission', 'no copy of the pod could be made yet');
  const name = copyNameOf(owner, pod, migration.metadata.uid);
  const { error } = await look(() => tryAdmission(ctx, migration, pod, name, node));
  return error === undefined ? fine('Admission') : unfit('Admission', [error]);
};

const ended = (ctx: Context, assessment: Aspect[], rest: Partial<MigrationStatus> = {}): Partial<MigrationStatus> => {
  const refused = assessment.find(({ verdict }) => verdict === 'Unfit');
  const message = refused?.findings.join('; ').slice(0, 1_000) ?? '';
  return {
    ...rest,
    assessment,
    ...(refused?.code === undefined ? {} : { error: { code: refused.code, message } }),
    completionTime: stamp(ctx.now()),
  };
};

/**
 * What the status of a dry run ends with. Throws, retryable, what may be otherwise the next time, while it is `patient`; what
 * the API server fails in it throws in any case.
 */
export const assess = async (
  ctx: Context,
  migration: StatefulMigration,
  patient: boolean,
): Promise<Partial<MigrationStatus>> => {
  const { namespace } = migration.metadata;
  const name = migration.spec.sourcePod ?? '';
  const pod = await ctx.cluster.readPod(namespace, name);
  if (pod === undefined)
    return ended(ctx, [unfit('Pod', [new ShadowError('SHADOW_E_POD_NOT_FOUND', `${namespace}/${name}`)])]);
  const look = lookWhile(patient);
  const runs = pod.status?.phase === 'Running' && !isLeaving(pod);
  const bare = isBareRequest(migration.spec, pod);
  const [queue, owned, session, processes] = await Promise.all([
    bare ? look(() => checkConfiguredQueue(ctx.queueWork, migration.spec)) : undefined,
    look(() => findOwner(ctx, namespace, pod)),
    runs && isInjected(pod) ? look(() => askSession(ctx, pod)) : undefined,
    runs ? look(() => askProcesses(ctx, namespace, pod)) : undefined,
  ]);
  const owner = owned.value;
  const { aspect: nodes, fitNodes } = await place(
    ctx,
    migration,
    pod,
    owner,
    roomFor(migration.spec, processes?.value?.estimatedBytes ?? 0),
    look,
  );
  const [targetNode] = fitNodes;
  const { aspect: strategy, chosen = {} } = strategic(migration, pod, owner, session, processes);
  return ended(
    ctx,
    [
      podAspect(ctx, migration, pod, bare),
      specAspect(migration, pod),
      await ownerAspect(ctx, migration, pod, owned, look),
      queue === undefined ? sessionAspect(session, olderSidecar(ctx, pod)) : queueAspect(queue, migration),
      processesAspect(processes, session),
      strategy,
      nodes,
      ...(await transferAspects(ctx, migration, { source: pod.spec?.nodeName ?? '', target: targetNode }, patient)),
      await admissionAspect(ctx, migration, pod, owner, targetNode, look),
    ],
    { ...chosen, sourceNode: pod.spec?.nodeName ?? '', ...(targetNode === undefined ? {} : { targetNode }), fitNodes },
  );
};
