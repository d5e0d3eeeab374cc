/**
 * Undone: the source speaks again, the copy goes, nothing is left. The copy was fenced and consumed nothing, so the source
 * need not wait for its end (invariant 4).
 */
import type { V1Pod } from '@kubernetes/client-node';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import { ANNOTATION, claimOf, LABEL } from '../../api/names.ts';
import type { Context } from '../context.ts';
import { undone } from '../ms2m/beside.ts';
import { isBare } from '../ms2m/scene.ts';
import { broughtHome } from '../ms2m/sequence.ts';
import { clonedContainers, isLeaving, podId, serves, uidOf } from '../pods.ts';
import { writeRestoreConfig } from '../restore-config.ts';
import { isRehearsal, isUnreplayable, nextAttempt, touchedSource } from '../transition.ts';
import { removeImage } from './checkpoint-image.ts';
import { isCopyDead, tolerant } from './dead.ts';
import { clean } from './retiring.ts';
import { all, enterStep, findPod, type StepFunction, type StepResult, sinceEntered, uidOfRef, wait } from './step.ts';

/** Attempts of handoff 1 in quick succession; then one a minute: the shadow serves, the name comes home when it can. */
const QUICK_ATTEMPTS = 3;
const SOON_MS = 500;
const LATER_MS = 60_000;

const releaseSource = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  pod: V1Pod,
): Promise<void> => {
  if (!touchedSource(handoff)) return;
  const { claim, source } = handoff;
  if (handoff.entered.Cutting !== undefined)
    await ctx.agents.of(source.node).resume({
      claim,
      epoch: ctx.epoch,
      pod: podId(migration.metadata.namespace, source),
      containers: clonedContainers(pod),
    });
  if (!isBare(migration)) await ctx.sidecars.command(uidOfRef(source), { type: 'unmute', claim });
};

const isOurs = (migration: StatefulMigration, handoff: Handoff, pod: V1Pod): boolean =>
  handoff.index === 0
    ? pod.metadata?.labels?.[LABEL.migration] === migration.metadata.uid
    : (pod.metadata?.annotations?.[ANNOTATION.restore] ?? '').startsWith(claimOf(migration.metadata.uid, 1));

/** The pod of the copy, by its name: an abort may come before its uid is on record. */
const findCopy = async (ctx: Context, migration: StatefulMigration, handoff: Handoff) => {
  const { uid: _any, ...ref } = handoff.copy;
  const pod = await findPod(ctx, migration.metadata.namespace, ref);
  return pod !== undefined && isOurs(migration, handoff, pod) ? pod : undefined;
};

/** CANCEL first: the handler's wait ends, and the kubelet can let the pod go. */
const cancel = async (ctx: Context, handoff: Handoff): Promise<void> => {
  const call = async () => ctx.agents.of(handoff.copy.node).cancel({ claim: handoff.claim, epoch: ctx.epoch });
  await tolerant(ctx, handoff, handoff.copy, call());
};

const dropCopy = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<boolean> => {
  await cancel(ctx, handoff);
  const copy = await findCopy(ctx, migration, handoff);
  if (copy === undefined) return true;
  // On a dead node nobody confirms that it is gone; should it live on there, it is fenced and was never told to speak.
  const grace = isLeaving(copy) && (await isCopyDead(ctx, handoff)) ? 0 : 1;
  if (!isLeaving(copy) || grace === 0)
    await ctx.cluster.deletePod(migration.metadata.namespace, handoff.copy.name, uidOf(copy), grace);
  return false;
};

/** The line of state ended with the shadow: nothing is left to give back, the set's own fresh pod is the way on. */
const lost = (handoff: Handoff): StepResult =>
  enterStep(
    'Aborting',
    {},
    { status: { error: { code: 'SHADOW_E_SOURCE_LOST', message: `${handoff.source.name} was lost with its state` } } },
  );

/**
 * Auto took replaying for fit, and it was not: the same record goes on with the strategy that is exact for every app. What is
 * only rehearsed ends with that: nobody is stopped for it.
 */
const retriesByStop = ({ spec, status }: StatefulMigration, handoff: Handoff): boolean =>
  !isRehearsal({ spec, ...(status === undefined ? {} : { status }) }) &&
  (spec.migrationStrategy || 'Auto') === 'Auto' &&
  handoff.index === 0 &&
  status?.error === undefined &&
  isUnreplayable(handoff);

const stopInstead = (ctx: Context, migration: StatefulMigration, handoff: Handoff): StepResult => ({
  kind: 'replace',
  handoff: nextAttempt(migration, handoff, ctx.now()),
  status: {
    strategy: 'StopAndCopy',
    strategyReason: `${migration.status?.strategy} was tried first; ${handoff.decision?.message ?? ''}`,
  },
});

/** An app without the sidecar consumes from its own queue again; of the shadow, too, until its next attempt. */
const isHome = async (ctx: Context, migration: StatefulMigration, handoff: Handoff, alive: boolean): Promise<boolean> =>
  !isBare(migration) ||
  handoff.queues !== undefined ||
  !touchedSource(handoff) ||
  broughtHome(ctx, migration, handoff, { undoing: true, alone: !alive });

export const aborting: StepFunction = async (ctx, migration, handoff) => {
  const source = await findPod(ctx, migration.metadata.namespace, handoff.source);
  const alive = serves(source, handoff.source);
  const release = async () => (alive ? releaseSource(ctx, migration, handoff, source) : undefined);
  if (handoff.index === 1 && migration.status?.error === undefined) {
    if (!alive) return lost(handoff);
    // The successor stays until the next attempt has its claim on record: one made meanwhile would not be ours to restore.
    await all([cancel(ctx, handoff), release()]);
    if (handoff.queues !== undefined) {
      // Its copy consumes, too: it must not outlive what it consumes from.
      if (!(await dropCopy(ctx, migration, handoff))) return wait(200);
      const undoing = await undone(ctx, migration, handoff, false);
      if (undoing !== undefined) return undoing;
    }
    if (!(await isHome(ctx, migration, handoff, alive))) return wait(100);
    ctx.sidecars.unroute(handoff.claim);
    return enterStep('Aborted');
  }
  let gone = false;
  const drop = async () => {
    gone = await dropCopy(ctx, migration, handoff);
  };
  // The entry goes first: a pod made in place of the dropped one is to start as any other.
  await all([release(), writeRestoreConfig(ctx, migration).then(drop)]);
  if (!(await isHome(ctx, migration, handoff, alive))) return wait(100);
  if (!gone) return wait(500);
  const undoing = await undone(ctx, migration, handoff, !alive);
  if (undoing !== undefined) return undoing;
  const image = await removeImage(ctx, migration, handoff);
  await clean(ctx, migration, handoff);
  ctx.sidecars.unroute(handoff.claim);
  return retriesByStop(migration, handoff) ? stopInstead(ctx, migration, handoff) : enterStep('Aborted', image);
};

/** Handoff 1 between two attempts. */
export const aborted: StepFunction = async (ctx, migration, handoff) => {
  const source = await findPod(ctx, migration.metadata.namespace, handoff.source);
  if (!serves(source, handoff.source)) return lost(handoff);
  const pause = handoff.attempt < QUICK_ATTEMPTS ? SOON_MS : LATER_MS;
  const left = pause - sinceEntered(ctx, handoff);
  const { code, message } = handoff.decision ?? {};
  if (left > 0)
    return wait(left, {
      ...(code === undefined ? {} : { code }),
      message: `${handoff.source.name} serves; attempt ${handoff.attempt} to give it back its name failed: ${message ?? ''}`,
    });
  return { kind: 'replace', handoff: nextAttempt(migration, handoff, ctx.now()) };
};
