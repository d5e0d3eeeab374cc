/**
 * Mode replay, where the source's app still answers: Services turn to the copy before they turn away from the source, so that
 * no request finds nobody. First the copy is ready in every Service that selects it, then the source is told to be unready and
 * to pass on to the copy whoever still comes, and it goes. Where it cannot pass on, it goes when no Service sends anything to
 * it any more. Without the sidecar its own kernel passes on, or it just goes.
 */
import type { V1Pod, V1Service } from '@kubernetes/client-node';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import { ANNOTATION } from '../../api/names.ts';
import type { Context } from '../context.ts';
import { isReadyIn, publishesAlways, selecting } from '../endpoints.ts';
import { isKnownToRun, isReady, serves } from '../pods.ts';
import { stamp } from '../transition.ts';
import { afterCopyLost } from './committed.ts';
import { isSourceDead } from './dead.ts';
import { divert } from './divert.ts';
import { passesOn, passingOn, passNobodyOn } from './forward.ts';
import { meanwhile } from './meanwhile.ts';
import { every, sinceSeen } from './memory.ts';
import { retire } from './retire.ts';
import { findPod, type StepFunction, type StepResult, sinceEntered, uidOfRef, wait } from './step.ts';

const POLL_MS = 50;
/** Whether a node is dead takes a list of all. */
const SILENT_POLL_MS = 500;
const TELL_AFTER_MS = 5_000;
/** So often the kubelet is asked to look, for as long as nobody need be told anything. */
const LOOK_MS = 250;
/** An app that never becomes ready again must not keep the source for ever. */
const READY_WITHIN_MS = 60_000;
/** The kubelet looks once a second; the slices follow within moments. */
const UNREADY_WITHIN_MS = 10_000;
/**
 * What kube-proxy takes from a slice to its rules; and how long after its last change it may wait with the next one (its
 * --*-min-sync-period, a second by default): the last one was the copy's.
 */
const PROXY_MS = 500;
const PROXY_PERIOD_MS = 1_500;

/**
 * At the first look at a container that runs the kubelet may ask its own record of the pod too early, and asks again only when the
 * probe's period is over. A pod that is changed it looks at anew, and probes what is not ready.
 */
const haveProbed = (ctx: Context, handoff: Handoff, { metadata }: V1Pod): Promise<void> =>
  every(ctx, handoff, 'look', LOOK_MS, () =>
    ctx.cluster.patchPod(metadata?.namespace ?? '', metadata?.name ?? '', {
      annotations: { [ANNOTATION.look]: stamp(ctx.now()) },
    }),
  );

/**
 * Where the source passes on already, the slices need not be seen to change: who makes them learns from one stream that the copy is
 * ready before it learns that the source is going.
 */
const awaitReady = async (ctx: Context, handoff: Handoff, copy: V1Pod): Promise<StepResult | undefined> => {
  const since = sinceEntered(ctx, handoff);
  if (since > READY_WITHIN_MS) return undefined;
  const note = (what: string) =>
    wait(POLL_MS, since > TELL_AFTER_MS ? { message: `${handoff.copy.name} serves and ${what}` } : undefined);
  if (!isReady(copy)) {
    if (isKnownToRun(copy) && since < TELL_AFTER_MS) await haveProbed(ctx, handoff, copy);
    return note('is not Ready yet');
  }
  if (passesOn(ctx, handoff)) return undefined;
  const namespace = copy.metadata?.namespace ?? '';
  const services = selecting(await ctx.cluster.services(namespace), copy);
  if (services.length === 0) return undefined;
  const slices = await ctx.cluster.endpointSlices(namespace);
  const missing = services.find((service) => !isReadyIn(slices, service, copy));
  return missing === undefined ? undefined : note(`is not ready in Service ${missing.metadata?.name} yet`);
};

/** undefined: no Service sends to it any more, and kube-proxy has had its moment. */
const awaitUnready = async (
  ctx: Context,
  handoff: Handoff,
  source: V1Pod,
  selected: readonly V1Service[],
): Promise<StepResult | undefined> => {
  const services = selected.filter((one) => !publishesAlways(one));
  if (services.length === 0) return undefined;
  const slices = await ctx.cluster.endpointSlices(source.metadata?.namespace ?? '');
  const sent = services.some((service) => isReadyIn(slices, service, source));
  if (sent && sinceSeen(ctx, handoff, 'retired') < UNREADY_WITHIN_MS) return wait(POLL_MS);
  const left = Math.max(
    PROXY_MS - sinceSeen(ctx, handoff, 'unready'),
    PROXY_PERIOD_MS - sinceSeen(ctx, handoff, 'ready'),
  );
  return left > 0 ? wait(left) : undefined;
};

const turnAway = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  copy: V1Pod,
): Promise<StepResult | undefined> => {
  const source = await findPod(ctx, migration.metadata.namespace, handoff.source);
  if (!serves(source, handoff.source)) return undefined;
  // A source nobody reaches leaves the Services with its pod.
  const session = ctx.sidecars.session(uidOfRef(handoff.source));
  if (session === undefined)
    return sinceSeen(ctx, handoff, 'silent') < UNREADY_WITHIN_MS && !(await isSourceDead(ctx, handoff))
      ? wait(SILENT_POLL_MS)
      : undefined;
  const services = selecting(await ctx.cluster.services(migration.metadata.namespace), source);
  // Started anew since, its sidecar is mute: unready already, and it knows of nothing to retire from or to pass on.
  if (session.state === 'mute') {
    await passNobodyOn(ctx, migration, handoff);
    return awaitUnready(ctx, handoff, source, services);
  }
  const passed = await passingOn(ctx, migration, handoff, { source, copy, services });
  return passed ? undefined : awaitUnready(ctx, handoff, source, services);
};

export const switching: StepFunction = async (ctx, migration, handoff) => {
  const copy = await findPod(ctx, migration.metadata.namespace, handoff.copy);
  if (!serves(copy, handoff.copy)) return afterCopyLost(handoff);
  const waiting = await awaitReady(ctx, handoff, copy);
  if (waiting !== undefined) return (await meanwhile(ctx, migration, handoff, copy)) ? wait(0) : waiting;
  sinceSeen(ctx, handoff, 'ready');
  if (handoff.queues !== undefined) {
    await divert(ctx, migration, handoff, copy);
    return retire(ctx, migration);
  }
  const turning = await turnAway(ctx, migration, handoff, copy);
  return turning ?? retire(ctx, migration);
};
