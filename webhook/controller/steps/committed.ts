/** Decided: from here on everything only goes forward. The copy goes live, the source is superseded. */

import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import { ANNOTATION } from '../../api/names.ts';
import type { Context } from '../context.ts';
import { isBare } from '../ms2m/scene.ts';
import { serves } from '../pods.ts';
import { unlessDead } from './dead.ts';
import { all, enterStep, findPod, type StepFunction, type StepResult, uidOfRef } from './step.ts';

/** The line of state ended with the copy: the source must not speak again (it is behind), so it is retired all the same. */
export const afterCopyLost = (handoff: Handoff): StepResult =>
  enterStep(
    'Retiring',
    {},
    {
      status: {
        error: {
          code: 'SHADOW_E_COPY_LOST',
          message: `${handoff.copy.name} on ${handoff.copy.node} was lost after handoff ${handoff.index}`,
        },
      },
    },
  );

/** A copy that has been live, or whose sidecar was started anew since, needs no command: it serves. */
const goLive = async (ctx: Context, migration: StatefulMigration, handoff: Handoff, copyUid: string): Promise<void> => {
  if (isBare(migration)) return;
  const state = ctx.sidecars.session(copyUid)?.state;
  if (state === 'live' || state === 'idle') return;
  await ctx.sidecars.command(copyUid, { type: 'live', claim: handoff.claim });
};

const supersede = async (ctx: Context, migration: StatefulMigration, handoff: Handoff): Promise<void> => {
  if (isBare(migration)) return;
  const source = await findPod(ctx, migration.metadata.namespace, handoff.source);
  // Lost after the commit: its unsettled deliveries went back to the broker, as after any crash.
  if (!serves(source, handoff.source)) return;
  const { claim } = handoff;
  await unlessDead(ctx, handoff, ctx.sidecars.command(uidOfRef(handoff.source), { type: 'supersede', claim }));
};

export const committed: StepFunction = async (ctx, migration, handoff) => {
  const { namespace } = migration.metadata;
  const { claim, source, copy } = handoff;
  const pod = await findPod(ctx, namespace, copy);
  if (!serves(pod, copy)) return afterCopyLost(handoff);
  ctx.sidecars.route(claim, uidOfRef(source), uidOfRef(copy));
  // The kubelet looks at a changed pod at once, and asks a container that is not ready whether it is by now: so only when it is.
  const serving = goLive(ctx, migration, handoff, uidOfRef(copy)).then(() =>
    ctx.cluster.patchPod(namespace, copy.name, {
      annotations: { [ANNOTATION.commit]: JSON.stringify(handoff.decision) },
    }),
  );
  const unfence = ctx.agents
    .of(copy.node)
    .unfence({ claim, epoch: ctx.epoch, pod: { namespace, name: copy.name, uid: uidOfRef(copy) } });
  await all([serving, unfence, supersede(ctx, migration, handoff)]);
  return enterStep('Settling');
};
