/**
 * The copy's pod comes up and waits in the runtime handler. Nothing of the source is touched yet; everything that can be
 * done before the pause is done here.
 */
import type { V1Pod } from '@kubernetes/client-node';
import { shadowPod } from '../../admission/restore.ts';
import { asShadowError, ShadowError } from '../../api/errors.ts';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import { ANNOTATION, LABEL } from '../../api/names.ts';
import type { Context } from '../context.ts';
import { worked } from '../ms2m/beside.ts';
import { isBare } from '../ms2m/scene.ts';
import { clonedContainers, imagesOf, isClonedWhole, isLeaving, isOver, podId, refOf, serves, uidOf } from '../pods.ts';
import { isFenced } from '../preflight/strategy.ts';
import { travelsBy } from '../preflight/transfer.ts';
import { proveRestoreWebhook } from '../restore-config.ts';
import { arm, enterCutting } from './cutting.ts';
import { proveForSuccessor } from './meanwhile.ts';
import { once, remember, sinceRemembered, sinceSeen } from './memory.ts';
import { isSettling } from './muting.ts';
import { all, enterStep, findPod, type StepFunction, type StepResult, wait } from './step.ts';

/** The handler's wait is asked for this often: what it waits for is a file on the node, no event tells. */
const POLL_MS = 40;

/** The target's agent makes room for the claim: before the copy's pod can reach the handler. */
const prepare = async (ctx: Context, migration: StatefulMigration, handoff: Handoff, copy: V1Pod): Promise<void> => {
  const { present } = await ctx.agents.of(handoff.copy.node).prepare({
    claim: handoff.claim,
    epoch: ctx.epoch,
    copy: { namespace: migration.metadata.namespace, name: handoff.copy.name },
    containers: clonedContainers(copy),
    images: imagesOf(copy),
    ...(handoff.source.ip !== undefined && isClonedWhole(copy) ? { oldIP: handoff.source.ip } : {}),
    // A copy without the sidecar catches up by its own connection.
    fence: handoff.queues === undefined && isFenced(copy, handoff),
  });
  if (present) remember(ctx, handoff, 'images');
};

/** Before the name is free, and until the successor is there: room for its checkpoint, and a webhook proven to catch it. */
export const readyForSuccessor = (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  shadow: V1Pod,
): Promise<void> =>
  all([
    once(ctx, handoff, 'room', () => prepare(ctx, migration, handoff, shadow)),
    proveForSuccessor(ctx, migration, handoff),
  ]);

const sourcePod = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<V1Pod> => {
  const source = await findPod(ctx, migration.metadata.namespace, handoff.source);
  if (!serves(source, handoff.source)) throw new ShadowError('SHADOW_E_SOURCE_LOST', handoff.source.name);
  return source;
};

const armAhead = (ctx: Context, migration: StatefulMigration, handoff: Handoff, source: V1Pod): Promise<void> =>
  once(ctx, handoff, 'arm', () => arm(ctx, migration, handoff, source));

/**
 * Beside a source that goes on the cut need not wait for the copy's pod, whose images are on its node: it is made, and moved, while
 * the kubelet makes the sandbox. A source that stands still is never cut before its copy waits. Restoring waits for the handler.
 */
const goesAhead = (ctx: Context, migration: StatefulMigration, handoff: Handoff): boolean =>
  handoff.mode === 'replay' &&
  handoff.queues === undefined &&
  travelsBy(migration.spec, handoff) === 'Agent' &&
  sinceRemembered(ctx, handoff, 'images') !== undefined;

const awaitHandler = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  copy: V1Pod,
): Promise<StepResult> => {
  if (isOver(copy) || isLeaving(copy))
    throw new ShadowError('SHADOW_E_RESTORE', `pod ${handoff.copy.name} ended before it was restored`);
  const waits = async () =>
    (await ctx.agents.of(handoff.copy.node).waiting({ claim: handoff.claim, epoch: ctx.epoch })).waiting;
  const ready = goesAhead(ctx, migration, handoff) || (await waits());
  // The kubelet tells the address of a shadow only some time after it serves, and the cut needs it.
  const pod = await sourcePod(ctx, migration, handoff);
  const source = refOf(pod, handoff.source);
  if (!ready || source.ip === undefined) {
    // Meanwhile: the cut finds it done.
    await armAhead(ctx, migration, handoff, pod);
    return wait(POLL_MS);
  }
  const refs = { source, copy: refOf(copy, handoff.copy) };
  // From Parking to Releasing it stands still: not before all else is ready.
  const working = await worked(ctx, migration, handoff, 'Releasing');
  if (working !== undefined) return working;
  if (handoff.mode !== 'replay') {
    // From the next step on its users wait.
    await arm(ctx, migration, { ...handoff, ...refs }, pod);
    return enterStep('Muting', refs);
  }
  return isSettling(ctx, migration, handoff) ? wait(POLL_MS) : enterCutting(ctx, handoff, refs);
};

export const shadowOf = (source: V1Pod, migration: StatefulMigration, handoff: Handoff): V1Pod =>
  shadowPod(source, {
    name: handoff.copy.name,
    node: handoff.copy.node,
    claim: handoff.claim,
    migrationUid: migration.metadata.uid,
    sidecarForm: handoff.sidecarForm ?? 'container',
    bare: isBare(migration),
    images: Object.fromEntries((migration.status?.sourceContainers ?? []).map(({ name, image }) => [name, image])),
  });

/** For so long a road between the nodes that is closed is tried again. */
const ROAD_MS = 20_000;

/**
 * Where the cut goes ahead, nobody waits while the checkpoint travels: as much as goes in the time that the kubelet takes to
 * make the sandbox is there sooner when it is not read and sent twice.
 */
const SENT_AHEAD_BYTES = 64 << 20;

/**
 * While the kubelet makes the sandbox the memory goes ahead. Until that has gone through once nobody is paused: the road between
 * the nodes may be closed. Nodes that share a registry need not reach each other; preflight has tried that road.
 */
const sendAhead = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  source: V1Pod,
): Promise<void> => {
  if (travelsBy(migration.spec, handoff) !== 'Agent') return;
  const begun = ctx.now() - sinceSeen(ctx, handoff, 'road');
  const call = () =>
    ctx.agents.of(handoff.source.node).precopy({
      ...{ claim: handoff.claim, epoch: ctx.epoch },
      target: { url: ctx.agents.url(handoff.copy.node), node: handoff.copy.node },
      pod: podId(migration.metadata.namespace, handoff.source),
      containers: clonedContainers(source),
      ...(goesAhead(ctx, migration, handoff) ? { atLeast: SENT_AHEAD_BYTES } : {}),
    });
  try {
    await once(ctx, handoff, 'precopy', call);
  } catch (error) {
    const { code, message, retryable } = asShadowError(error);
    throw new ShadowError(code, message, { cause: error, retryable: retryable && ctx.now() - begun < ROAD_MS });
  }
};

/** Handoff 0: the shadow is ours to create. The way back to the name is proven in the same breath, while nothing is touched. */
const warmShadow: StepFunction = async (ctx, migration, handoff) => {
  const { namespace, uid } = migration.metadata;
  const present = await findPod(ctx, namespace, handoff.copy);
  if (present !== undefined && present.metadata?.labels?.[LABEL.migration] !== uid)
    throw new ShadowError('SHADOW_E_BUSY', `a pod ${handoff.copy.name} of another migration exists`);
  const source = await sourcePod(ctx, migration, handoff);
  const getAhead = () => all([sendAhead(ctx, migration, handoff, source), armAhead(ctx, migration, handoff, source)]);
  const prove = () => once(ctx, handoff, 'way back', () => proveRestoreWebhook(ctx, migration));
  if (present !== undefined) {
    await prove();
    await getAhead();
    return awaitHandler(ctx, migration, handoff, present);
  }
  const shadow = shadowOf(source, migration, handoff);
  const begin = async (): Promise<void> => {
    await prepare(ctx, migration, handoff, shadow);
    await all([ctx.cluster.createPod(shadow), getAhead()]);
  };
  await all([begin(), prove()]);
  return wait(POLL_MS);
};

/** Handoff 1: the set's controller makes the successor, the restore webhook points it at our claim. */
const warmSuccessor: StepFunction = async (ctx, migration, handoff) => {
  const { namespace } = migration.metadata;
  const present = await findPod(ctx, namespace, handoff.copy);
  if (present?.metadata?.annotations?.[ANNOTATION.restore] === handoff.claim)
    return awaitHandler(ctx, migration, handoff, present);
  const shadow = await sourcePod(ctx, migration, handoff);
  // One of an earlier attempt, or (one voice) one that would run fresh beside the shadow: it goes, the set makes another.
  const stray = present !== undefined && !isLeaving(present) ? present : undefined;
  if (stray === undefined) await readyForSuccessor(ctx, migration, handoff, shadow);
  else {
    await all([prepare(ctx, migration, handoff, shadow), proveRestoreWebhook(ctx, migration)]);
    await ctx.cluster.deletePod(namespace, handoff.copy.name, uidOf(stray), 1);
  }
  return wait(200);
};

export const warming: StepFunction = (ctx, migration, handoff) =>
  handoff.index === 0 ? warmShadow(ctx, migration, handoff) : warmSuccessor(ctx, migration, handoff);
