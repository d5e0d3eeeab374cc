/**
 * A source without the sidecar has nobody in it who would pass on (forward.ts): the kernel of its own network does it. Its app
 * is then held still instead of being killed, for with the last container its network would go.
 */
import type { V1Pod, V1Service } from '@kubernetes/client-node';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { selecting } from '../endpoints.ts';
import { clonedContainers, podId, serves } from '../pods.ts';
import { attempt, isPossible, unfinished } from './forward.ts';
import { once, remember, sinceRemembered } from './memory.ts';
import { findPod, type StepResult, wait } from './step.ts';

/** Where the Services send to in that pod: ports by number, or by the name that a container of it gives them. */
export const targetPorts = (services: readonly V1Service[], pod: V1Pod): number[] => {
  const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  const named = containers.flatMap(({ ports }) => ports ?? []);
  const found = services
    .flatMap(({ spec }) => spec?.ports ?? [])
    .map(({ port, targetPort = port }) =>
      typeof targetPort === 'number' ? targetPort : named.find(({ name }) => name === targetPort)?.containerPort,
    );
  return [...new Set(found.filter((port) => port !== undefined))];
};

const addressesOf = ({ status }: V1Pod): string[] => {
  const all = (status?.podIPs ?? []).map(({ ip }) => ip);
  return all.length > 0 || status?.podIP === undefined ? all : [status.podIP];
};

/** Nothing relies on it before the agent has proven it. Where it can't be, the source goes as it is. */
const begin = async (ctx: Context, migration: StatefulMigration, handoff: Handoff, copy: V1Pod): Promise<void> => {
  const { claim, source } = handoff;
  const { namespace } = migration.metadata;
  const pod = await findPod(ctx, namespace, source);
  if (!serves(pod, source)) return;
  const services = selecting(await ctx.cluster.services(namespace), pod);
  const ports = targetPorts(services, pod);
  if (ports.length === 0 || !isPossible(pod, services)) return;
  const [at, to] = [addressesOf(pod), addressesOf(copy)];
  const done = await attempt(ctx, handoff, 'who still comes to the source is not sent on to its copy', async () =>
    ctx.agents.of(source.node).divert({ claim, epoch: ctx.epoch, pod: podId(namespace, source), at, to, ports }),
  );
  if (done !== undefined) remember(ctx, handoff, 'finishing');
};

export const divert = (ctx: Context, migration: StatefulMigration, handoff: Handoff, copy: V1Pod): Promise<void> =>
  once(ctx, handoff, 'divert', () => begin(ctx, migration, handoff, copy));

const hold = async (ctx: Context, migration: StatefulMigration, handoff: Handoff, pod: V1Pod): Promise<void> => {
  const { claim, source } = handoff;
  const answer = await attempt(ctx, handoff, 'the app of the source is not held still: it is killed', async () =>
    ctx.agents.of(source.node).still({
      ...{ claim, epoch: ctx.epoch, pod: podId(migration.metadata.namespace, source) },
      containers: clonedContainers(pod),
    }),
  );
  if (answer?.still) remember(ctx, handoff, 'stood');
};

/**
 * Before anybody deletes the pod, for with that the kubelet asks its app to end. A wait: what has begun to be answered may end.
 * Whether it is diverted the agent sees in the pod itself: a new leader finds it so.
 */
export const holding = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  pod: V1Pod,
): Promise<StepResult | undefined> => {
  const left = unfinished(ctx, handoff);
  if (left > 0) return wait(left);
  if (handoff.queues !== undefined) await once(ctx, handoff, 'still', () => hold(ctx, migration, handoff, pod));
  return undefined;
};

/** It will not act any more, and its network stays for as long as its deletion has grace. */
export const isHeld = (ctx: Context, handoff: Handoff): boolean => sinceRemembered(ctx, handoff, 'stood') !== undefined;
