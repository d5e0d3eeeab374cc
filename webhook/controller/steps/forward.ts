/**
 * Whoever still sends to the source's address, because kube-proxy, a DNS cache or the like is behind the slices, is served by the
 * copy: the source's sidecar passes new connections on to it. Then nobody need be waited for. Nothing relies on it before it is
 * proven: the sidecar has reached every port of the copy that its app serves, and the agent's rules are in place.
 */
import type { V1Pod, V1Service } from '@kubernetes/client-node';
import type { AgentResponse } from '../../api/agent.ts';
import type { Forward } from '../../api/control.ts';
import { ShadowError } from '../../api/errors.ts';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import { PROTOCOL_OF_STAY } from '../../api/skew.ts';
import type { Context } from '../context.ts';
import { isOurSidecar, podId } from '../pods.ts';
import { once, remember, sinceRemembered } from './memory.ts';
import { uidOfRef } from './step.ts';

/** A connection to a neighbour that takes longer is as good as none. */
const DIAL_MS = 500;
/** From SIGTERM on: as long as kube-proxy may be behind (a second by default, and what it takes for its rules). */
const LINGER_MS = 3_000;
/** Grace of the pod's deletion: LINGER_MS, a second to close what is open, and some more. Seconds. */
export const LINGER_GRACE_S = 5;
/** From the first connection that is passed on, where the app had others then. */
const FINISH_MS = 200;

/**
 * UDP is not passed on; another's native sidecar (a mesh) has a say in who reaches the app; and a preStop hook by HTTP, which the
 * kubelet sends to a pod that is deleted, would be passed on, too: it would have the copy stop.
 */
export const isPossible = (source: V1Pod, services: readonly V1Service[]): boolean =>
  services.every(({ spec }) => (spec?.ports ?? []).every(({ protocol = 'TCP' }) => protocol === 'TCP')) &&
  (source.spec?.containers ?? []).every(({ lifecycle }) => lifecycle?.preStop?.httpGet === undefined) &&
  (source.spec?.initContainers ?? []).every((one) => isOurSidecar(one) || one.restartPolicy !== 'Always');

/** What the source can go without: where its agent could not, that is logged, and undefined. */
export const attempt = async <T>(
  ctx: Context,
  { claim }: Handoff,
  failure: string,
  call: () => Promise<T>,
): Promise<T | undefined> => {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof ShadowError)) throw error;
    ctx.log({ err: error, claim }, failure);
    return undefined;
  }
};

/** undefined: the agent could not. */
const turn = (
  ctx: Context,
  { metadata }: StatefulMigration,
  handoff: Handoff,
  forwards: readonly Forward[],
): Promise<AgentResponse<'forward'> | undefined> => {
  const { claim, source } = handoff;
  const pod = podId(metadata.namespace, source);
  return attempt(ctx, handoff, 'the connections of the source could not be turned', async () =>
    ctx.agents.of(source.node).forward({ claim, epoch: ctx.epoch, pod, forwards: [...forwards] }),
  );
};

/** Started anew, a sidecar passes nobody on. */
const passingAs = (process: string): string => `passed on by ${process}`;

/** The source is known to pass on who comes. */
export const passesOn = (ctx: Context, handoff: Handoff): boolean => {
  const { process } = ctx.sidecars.session(uidOfRef(handoff.source)) ?? {};
  return process !== undefined && sinceRemembered(ctx, handoff, passingAs(process)) !== undefined;
};

interface Begun {
  /** Passed on to; undefined: nobody is. */
  host: string | undefined;
  /** It does not retire yet. */
  stay: boolean;
}

/** Tells the source to retire, and to pass on if it can; after a change of leader again, which answers the same. */
const begin = async (ctx: Context, migration: StatefulMigration, handoff: Handoff, { host, stay }: Begun) => {
  const { claim, source } = handoff;
  // Of before: should it be another by the time it has answered, that is not known to pass on.
  const { process } = ctx.sidecars.session(uidOfRef(source)) ?? {};
  const forward = host === undefined ? {} : { forward: { host, dialMs: DIAL_MS, lingerMs: LINGER_MS } };
  const command = { type: 'retire', claim, ...forward, ...(stay ? { stay } : {}) } as const;
  const { forwards, why } = await ctx.sidecars.command(uidOfRef(source), command);
  if (why !== undefined) ctx.log({ claim, why }, 'the source cannot pass on: Services are waited for');
  const turned = forwards && (await turn(ctx, migration, handoff, forwards));
  if (turned === undefined) return;
  if (process !== undefined) remember(ctx, handoff, passingAs(process));
  if (turned.open !== 0) remember(ctx, handoff, 'finishing');
};

/** The sidecar was started anew since and passes nobody on: what comes is the app's again. */
export const passNobodyOn = (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<void> =>
  once(ctx, handoff, 'unforwarded', () => turn(ctx, migration, handoff, []));

/** What the app of the source has begun to answer it may end: milliseconds until it may be killed. */
export const unfinished = (ctx: Context, handoff: Handoff): number =>
  Math.max(0, FINISH_MS - (sinceRemembered(ctx, handoff, 'finishing') ?? FINISH_MS));

export interface Scene {
  source: V1Pod;
  copy: V1Pod;
  /** Those that select the source. */
  services: readonly V1Service[];
}

const hostOf = ({ source, copy, services }: Scene): string | undefined =>
  services.length > 0 && isPossible(source, services) ? copy.status?.podIP : undefined;

/** Ahead of its retirement, while it is waited for something else: what it takes to pass on. It stays in its Services. */
export const passOnAhead = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  scene: Scene,
): Promise<void> => {
  const { state, protocol = 1 } = ctx.sidecars.session(uidOfRef(handoff.source)) ?? {};
  const host = hostOf(scene);
  if (host === undefined || protocol < PROTOCOL_OF_STAY || (state !== 'superseded' && state !== 'closed')) return;
  await begin(ctx, migration, handoff, { host, stay: true });
};

/** Whether the source may go since it passes on who comes. One that did so ahead need not leave its Services first. */
export const passingOn = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  scene: Scene,
): Promise<boolean> => {
  if (passesOn(ctx, handoff)) return true;
  await once(ctx, handoff, 'retire', () => begin(ctx, migration, handoff, { host: hostOf(scene), stay: false }));
  return passesOn(ctx, handoff);
};
