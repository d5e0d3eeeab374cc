/** The source goes: deleted, its app killed (a superseded copy runs no shutdown code), its traces removed. */
import type { V1Pod } from '@kubernetes/client-node';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import { claimOf } from '../../api/names.ts';
import type { Context } from '../context.ts';
import { undone, worked } from '../ms2m/beside.ts';
import { isBare } from '../ms2m/scene.ts';
import { broughtHome } from '../ms2m/sequence.ts';
import { attemptsOf, clonedContainers, isLeaving, podId, uidOf } from '../pods.ts';
import { writeRestoreConfig } from '../restore-config.ts';
import { stamp } from '../transition.ts';
import { adopting } from './adopting.ts';
import { removeImage } from './checkpoint-image.ts';
import { isSourceDead, tolerant } from './dead.ts';
import { holding, isHeld } from './divert.ts';
import { LINGER_GRACE_S } from './forward.ts';
import { forget, once } from './memory.ts';
import { all, enterStep, findPod, type StepFunction, type StepResult, wait } from './step.ts';
import { readyForSuccessor } from './warming.ts';

const TELL_AFTER_MS = 30_000;

/** Every file, rule and address of every attempt, on both nodes. */
export const clean = (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<void> => {
  const { source, copy } = handoff;
  const places = source.node === copy.node ? [source] : [source, copy];
  const claims = attemptsOf(handoff).map((attempt) => claimOf(migration.metadata.uid, handoff.index, attempt));
  const call = async (node: string, claim: string) => ctx.agents.of(node).clean({ claim, epoch: ctx.epoch });
  forget(ctx, claims);
  return all(places.flatMap((place) => claims.map((claim) => tolerant(ctx, handoff, place, call(place.node, claim)))));
};

const makeReady = async (ctx: Context, migration: StatefulMigration, next: Handoff): Promise<void> => {
  const shadow = await findPod(ctx, migration.metadata.namespace, next.source);
  if (shadow !== undefined) await readyForSuccessor(ctx, migration, next, shadow);
};

const sendAway = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  pod: V1Pod,
): Promise<StepResult> => {
  const { namespace } = migration.metadata;
  const { claim, source } = handoff;
  const grace = handoff.mode === 'replay' ? LINGER_GRACE_S : 1;
  const held = isHeld(ctx, handoff);
  // A ReplicaSet gives it the grace of its template, which is longer.
  if (!isLeaving(pod) || held) await ctx.cluster.deletePod(namespace, source.name, uidOf(pod), grace);
  const kill = () =>
    once(ctx, handoff, 'kill', async () =>
      ctx.agents
        .of(source.node)
        .kill({ claim, epoch: ctx.epoch, pod: podId(namespace, source), containers: clonedContainers(pod) }),
    );
  const killed = held || (await tolerant(ctx, handoff, source, kill()));
  // Its agent has killed the app (or holds it still), its sidecar is closed: nothing in it can act any more. The name is free at
  // once; the kubelet removes the rest at its own pace, which the successor need not wait for.
  // On a dead node there is nobody to confirm anything; should it live cut off from us, the source is mute and fenced there.
  if (killed || (await isSourceDead(ctx, handoff))) await ctx.cluster.deletePod(namespace, source.name, uidOf(pod), 0);
  const since = ctx.now() - Date.parse(handoff.entered.Retiring ?? '');
  return wait(
    1_000,
    since > TELL_AFTER_MS
      ? { message: `pod ${source.name} is being deleted, its node does not confirm it` }
      : undefined,
  );
};

/** The set deletes the source by itself: what has to be before that is done before. */
const adopted = async (ctx: Context, migration: StatefulMigration, handoff: Handoff, pod: V1Pod | undefined) => {
  const early = pod !== undefined && handoff.queues !== undefined;
  const waiting = early ? await holding(ctx, migration, handoff, pod) : undefined;
  return waiting ?? adopting(ctx, migration, handoff);
};

export const retiring: StepFunction = async (ctx, migration, handoff) => {
  const pod = await findPod(ctx, migration.metadata.namespace, handoff.source);
  const next = migration.status?.handoffs?.find(({ index }) => index === handoff.index + 1);
  const lost = migration.status?.error !== undefined;
  if (!lost && migration.status?.deploymentName !== undefined) {
    const waiting = await adopted(ctx, migration, handoff, pod);
    if (waiting !== undefined) return waiting;
  }
  if (pod !== undefined && !isLeaving(pod)) {
    if (next !== undefined && !lost) await makeReady(ctx, migration, next);
    // Nobody is to be restored any more: from here on the set's pod starts as any other.
    else await writeRestoreConfig(ctx, migration);
  }
  if (pod !== undefined) return (await holding(ctx, migration, handoff, pod)) ?? sendAway(ctx, migration, handoff, pod);
  // The source may have been lost before it could be sent away, and what follows takes its time: the set does not wait.
  if (handoff.queues !== undefined && next !== undefined && !lost) await makeReady(ctx, migration, next);
  // The copy takes over its source's queue; lost, it leaves that to the pod that comes in its place.
  const working = lost ? await undone(ctx, migration, handoff, true) : await worked(ctx, migration, handoff);
  if (working !== undefined) return working;
  if (lost && isBare(migration)) await broughtHome(ctx, migration, handoff, { undoing: true, alone: true });
  const image = await removeImage(ctx, migration, handoff);
  await clean(ctx, migration, handoff);
  // Its bound counts from when the name is free.
  const others = next === undefined ? [] : [{ ...next, entered: { Warming: stamp(ctx.now()) } }];
  return enterStep('Done', image, { others });
};
