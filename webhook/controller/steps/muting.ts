/**
 * The source's sidecar stops talking for the app (invariant 4). Mode stop: the pause begins. Mode replay: the source ends its
 * record; what the copy has to play from here on is what users wait for.
 */
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { isBare } from '../ms2m/scene.ts';
import { parked } from '../ms2m/sequence.ts';
import { enterCutting } from './cutting.ts';
import { fenceSource } from './replayed.ts';
import { answerForGone, enterStep, type StepFunction, uidOfRef, wait } from './step.ts';

const MUTE_MS = 8_000;

/** The shadow still settles what it brought along: its own handoff waits until the first one is all over. */
export const isSettling = (ctx: Context, migration: StatefulMigration, handoff: Handoff): boolean => {
  if (handoff.index !== 1 || ctx.sidecars.session(uidOfRef(handoff.source))?.state !== 'live') return false;
  const first = migration.status?.handoffs?.[0];
  if (first !== undefined) answerForGone(ctx, first);
  return true;
};

export const muting: StepFunction = async (ctx, migration, handoff) => {
  if (isBare(migration)) return (await parked(ctx, migration, handoff)) ? enterCutting(ctx, handoff) : wait(50);
  const { claim, source, mode } = handoff;
  // The fence takes longer than the mute: first, so that users do not wait for it.
  if (mode === 'replay') await fenceSource(ctx, migration, handoff);
  else if (isSettling(ctx, migration, handoff)) return wait(20);
  const { carried } = await ctx.sidecars.command(uidOfRef(source), { type: 'mute', claim, timeoutMs: MUTE_MS });
  return mode === 'replay' ? enterStep('Attaching', { carried }) : enterCutting(ctx, handoff, { carried });
};
