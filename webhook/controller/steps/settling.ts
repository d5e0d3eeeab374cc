/** The app's settlements of carried deliveries travel back; the source goes only when the broker has them all. */
import { serves } from '../pods.ts';
import { afterCopyLost } from './committed.ts';
import { retire } from './retire.ts';
import { answerForGone, enterStep, findPod, type StepFunction, sinceEntered, uidOfRef, wait } from './step.ts';

const TELL_AFTER_MS = 30_000;

export const settling: StepFunction = async (ctx, migration, handoff) => {
  const { namespace } = migration.metadata;
  const { claim, source, copy } = handoff;
  const [sourcePod, copyPod] = [await findPod(ctx, namespace, source), await findPod(ctx, namespace, copy)];
  if (!serves(copyPod, copy)) return afterCopyLost(handoff);
  if (serves(sourcePod, source)) {
    ctx.sidecars.route(claim, uidOfRef(source), uidOfRef(copy));
    const { outstanding } = await ctx.sidecars.command(uidOfRef(source), { type: 'settleStatus', claim });
    const slow = sinceEntered(ctx, handoff) > TELL_AFTER_MS;
    if (outstanding > 0)
      return wait(1_000, slow ? { message: 'the app has not settled all deliveries it brought along yet' } : undefined);
  } else {
    ctx.log({ claim, source }, 'the source was lost while settling: the broker requeues what was left');
    answerForGone(ctx, handoff);
  }
  return handoff.mode === 'replay' ? enterStep('Switching') : retire(ctx, migration);
};
