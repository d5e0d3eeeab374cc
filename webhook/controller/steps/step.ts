/** What a step is: it looks, acts idempotently through the context, and says where the record goes next. */
import type { V1Pod } from '@kubernetes/client-node';
import { ShadowError } from '../../api/errors.ts';
import type { Handoff, MigrationStatus, PodRef, StatefulMigration, Step } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import type { Note } from '../derive.ts';
import { uidOf } from '../pods.ts';

export type StepResult =
  /** One status write, then on. `others`: handoffs that change in the same write. */
  | {
      kind: 'enter';
      step: Step;
      patch?: Partial<Handoff>;
      status?: Partial<MigrationStatus>;
      others?: readonly Handoff[];
    }
  /** Undo or go on by a new record of this handoff. */
  | { kind: 'replace'; handoff: Handoff; status?: Partial<MigrationStatus> }
  /**
   * Nothing to do until something is seen; look again after ms at the latest. `note` is told as a condition, `seen` goes
   * into the handoff's record: each costs a status write.
   */
  | { kind: 'wait'; ms: number; note?: Note; seen?: Partial<Handoff> };

/**
 * Before the commit a step that throws a ShadowError which is not retryable aborts the handoff; after it everything is
 * tried again. Restartable at any line: the process may die between any two calls and the record alone is left.
 */
export type StepFunction = (ctx: Context, migration: StatefulMigration, handoff: Handoff) => Promise<StepResult>;

export const enterStep = (
  step: Step,
  patch: Partial<Handoff> = {},
  rest: { status?: Partial<MigrationStatus>; others?: readonly Handoff[] } = {},
): StepResult => ({ kind: 'enter', step, patch, ...rest });

export const wait = (ms: number, note?: Note, seen?: Partial<Handoff>): StepResult => ({
  kind: 'wait',
  ms,
  ...(note === undefined ? {} : { note }),
  ...(seen === undefined ? {} : { seen }),
});

export const sinceEntered = (ctx: Context, handoff: Handoff): number =>
  ctx.now() - Date.parse(handoff.entered[handoff.step] ?? new Date(ctx.now()).toISOString());

/** The pod meant, or undefined once it is truly gone: absence in the mirror is proven by a read. */
export const findPod = async (ctx: Context, namespace: string, ref: PodRef): Promise<V1Pod | undefined> => {
  const seen = ctx.cluster.pod(namespace, ref.name);
  if (seen !== undefined && (ref.uid === undefined || uidOf(seen) === ref.uid)) return seen;
  const live = await ctx.cluster.readPod(namespace, ref.name);
  return live !== undefined && (ref.uid === undefined || uidOf(live) === ref.uid) ? live : undefined;
};

export const uidOfRef = (ref: PodRef): string => {
  if (ref.uid === undefined) throw new ShadowError('SHADOW_E_INTERNAL', `the uid of ${ref.name} is not in the record`);
  return ref.uid;
};

/** All of them are begun and awaited, whatever fails: nothing goes on behind the back of the next step. */
export const all = async (calls: readonly Promise<unknown>[]): Promise<void> => {
  const failed = (await Promise.allSettled(calls)).find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
};

/**
 * A copy that is still `live` waits for an answer to settlements whose source is gone by now (a leader that took over has no
 * route any more): nobody else will give it.
 */
export const answerForGone = (ctx: Context, { claim, source, copy }: Handoff): void => {
  ctx.sidecars.route(claim, uidOfRef(source), uidOfRef(copy));
  ctx.sidecars.abandon(claim);
};
