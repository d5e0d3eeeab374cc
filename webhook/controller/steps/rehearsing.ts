/**
 * A rehearsal plays the record for a while instead of being decided upon, and is undone then by the way every abort takes.
 * It ends when the copy has caught up, stayed so for a while and made something that could be compared; or when its time is
 * over.
 */
import type { Handoff, Replay, StatefulMigration } from '../../api/migration.ts';
import { REHEARSE_SECONDS } from '../../api/rehearsal.ts';
import type { Context } from '../context.ts';
import { abort, rehearsed, stamp } from '../transition.ts';
import { recall, sinceSeen } from './memory.ts';
import type { StepResult } from './step.ts';

/** So long it must have stayed near its source, milliseconds. */
const STEADY_MS = 3_000;

const CAUGHT_UP = 'caught up';

export interface Played {
  /** undefined: the copy has not told anything yet. */
  replay: Replay | undefined;
  /** A migration would go on now. */
  caughtUp: boolean;
}

const ended = (ctx: Context, handoff: Handoff, replay: Replay, seconds: number): Handoff => {
  const last = { ...handoff, replay };
  if (last.caughtUpAt !== undefined) return rehearsed(last, ctx.now(), ctx.epoch);
  const text = `the copy had not caught up in ${seconds} s: ${replay.lag} outputs behind its source`;
  return abort(last, ctx.now(), ctx.epoch, 'SHADOW_E_RECORD', text);
};

/**
 * undefined: it goes on. A new leader counts both times anew; the bound of the step holds all the same. That it has caught up is
 * written down when it is so for the first time.
 */
export const rehearsing = (
  ctx: Context,
  { spec }: StatefulMigration,
  handoff: Handoff,
  { replay, caughtUp }: Played,
): StepResult | undefined => {
  if (replay === undefined) return undefined;
  const seconds = spec.rehearseSeconds ?? REHEARSE_SECONDS;
  const playedMs = sinceSeen(ctx, handoff, 'played');
  if (!caughtUp) recall(ctx, handoff, CAUGHT_UP);
  const steadyMs = caughtUp ? sinceSeen(ctx, handoff, CAUGHT_UP) : 0;
  if (caughtUp && handoff.caughtUpAt === undefined)
    return { kind: 'wait', ms: 100, seen: { replay, caughtUpAt: stamp(ctx.now()) } };
  const isOver = playedMs >= seconds * 1_000 || (steadyMs >= STEADY_MS && replay.matched > 0);
  return isOver ? { kind: 'replace', handoff: ended(ctx, handoff, replay, seconds) } : undefined;
};
