/** The app's settlements of carried deliveries travel back; the source goes only when the broker has them all. */
import type { V1Pod } from '@kubernetes/client-node';
import type { Handoff } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { isBare } from '../ms2m/scene.ts';
import { serves } from '../pods.ts';
import { afterCopyLost } from './committed.ts';
import { unlessDead } from './dead.ts';
import { meanwhile } from './meanwhile.ts';
import { retire } from './retire.ts';
import { answerForGone, enterStep, findPod, type StepFunction, sinceEntered, uidOfRef, wait } from './step.ts';

const TELL_AFTER_MS = 30_000;

/** Deliveries that are going to be settled through the source. undefined: it is gone, or its node is. */
const outstandingAt = async (ctx: Context, handoff: Handoff, source: V1Pod | undefined): Promise<number | undefined> =>
  serves(source, handoff.source) ? unlessDead(ctx, handoff, askOutstanding(ctx, handoff)) : undefined;

const askOutstanding = async (ctx: Context, { claim, source, copy }: Handoff): Promise<number> => {
  const uid = uidOfRef(source);
  // Started anew since, its sidecar is mute and knows of no commit; what it held is the broker's again.
  const type = ctx.sidecars.session(uid)?.state === 'mute' ? 'supersede' : 'settleStatus';
  const { outstanding } = await ctx.sidecars.command(uid, { type, claim });
  // A copy that is idle settles none of them any more: its sidecar was started anew, and its app with new connections. The
  // broker hands them out again, as after any crash, once the source is gone.
  return ctx.sidecars.session(uidOfRef(copy))?.state === 'idle' ? 0 : outstanding;
};

export const settling: StepFunction = async (ctx, migration, handoff) => {
  const { namespace } = migration.metadata;
  const { claim, source, copy } = handoff;
  const [sourcePod, copyPod] = [await findPod(ctx, namespace, source), await findPod(ctx, namespace, copy)];
  if (!serves(copyPod, copy)) return afterCopyLost(handoff);
  // What its source held unsettled goes back to the broker when that is stopped: a parked app holds nothing.
  if (isBare(migration)) return handoff.mode === 'replay' ? enterStep('Switching') : retire(ctx, migration);
  ctx.sidecars.route(claim, uidOfRef(source), uidOfRef(copy));
  const outstanding = await outstandingAt(ctx, handoff, sourcePod);
  const slow = sinceEntered(ctx, handoff) > TELL_AFTER_MS;
  if (outstanding === undefined) {
    ctx.log({ claim, source }, 'the source was lost while settling: the broker requeues what was left');
    answerForGone(ctx, handoff);
  } else if (outstanding > 0)
    return wait(
      (await meanwhile(ctx, migration, handoff, copyPod)) ? 0 : 1_000,
      slow ? { message: 'the app has not settled all deliveries it brought along yet' } : undefined,
    );
  return handoff.mode === 'replay' ? enterStep('Switching') : retire(ctx, migration);
};
