/**
 * Frozen, paused, dumped. Mode stop: a leader that takes over in the middle repeats both calls with the generation of the
 * record: a cut already made answers as before, and its thaw file wakes the sidecar at once. Mode replay: the record begins
 * at the freeze and must begin at the very cut, so no freeze is ever repeated: whoever is in doubt takes a new generation,
 * and with it the agent makes a new cut.
 */
import type { V1Pod } from '@kubernetes/client-node';
import { asShadowError, ShadowError } from '../../api/errors.ts';
import type { Handoff, StatefulMigration } from '../../api/migration.ts';
import type { Context } from '../context.ts';
import { isBare } from '../ms2m/scene.ts';
import { clonedContainers, podId } from '../pods.ts';
import { nextGeneration } from '../transition.ts';
import { recall, remember } from './memory.ts';
import { all, enterStep, findPod, type StepFunction, type StepResult, uidOfRef, wait } from './step.ts';

/** Longest silence of a frozen sidecar: well under two heartbeats of a broker; shorter where the app is served meanwhile. */
const FROZEN_MS = { stop: 10_000, replay: 5_000 } as const;

const unused = (generation: number): string => `generation ${generation}`;

/** Into the step, with a generation that no freeze has used. */
export const enterCutting = (ctx: Context, handoff: Handoff, patch: Partial<Handoff> = {}): StepResult => {
  const freezeGeneration = nextGeneration(handoff, ctx.now());
  remember(ctx, handoff, unused(freezeGeneration));
  return enterStep('Cutting', { ...patch, freezeGeneration });
};

/** The source's agent starts what it can before anything stands still. */
export const arm = (ctx: Context, migration: StatefulMigration, handoff: Handoff, pod: V1Pod): Promise<unknown> =>
  ctx.agents.of(handoff.source.node).arm({
    claim: handoff.claim,
    epoch: ctx.epoch,
    pod: podId(migration.metadata.namespace, handoff.source),
    containers: clonedContainers(pod),
    driver: migration.spec.checkpointDriver ?? 'runc',
  });

const freezeAndCut = async (
  ctx: Context,
  migration: StatefulMigration,
  handoff: Handoff,
  pod: V1Pod,
  freezeGeneration: number,
) => {
  const { claim, source, mode = 'stop' } = handoff;
  const replay = mode === 'replay';
  await arm(ctx, migration, handoff, pod);
  const freeze = isBare(migration)
    ? Promise.resolve()
    : ctx.sidecars.command(uidOfRef(source), {
        type: 'freeze',
        claim,
        generation: freezeGeneration,
        deadlineMs: FROZEN_MS[mode],
        ...(replay ? { record: true } : {}),
      });
  // The agent waits for the marker: the sidecar stands still no longer than it has to.
  const cut = ctx.agents.of(source.node).cut({
    claim,
    epoch: ctx.epoch,
    pod: podId(migration.metadata.namespace, source),
    podIP: source.ip ?? '',
    containers: clonedContainers(pod),
    freezeGeneration,
    driver: migration.spec.checkpointDriver ?? 'runc',
    ...(replay ? { resume: true } : {}),
  });
  await all([freeze, cut]);
  return cut;
};

export const cutting: StepFunction = async (ctx, migration, handoff) => {
  const { claim, source, freezeGeneration } = handoff;
  const pod = await findPod(ctx, migration.metadata.namespace, source);
  if (pod === undefined) throw new ShadowError('SHADOW_E_SOURCE_LOST', source.name);
  if (freezeGeneration === undefined) throw new ShadowError('SHADOW_E_INTERNAL', 'no freeze generation in the record');
  if (handoff.mode === 'replay') {
    // A frozen one dials again once it wakes; until then nothing is used up.
    if (!isBare(migration) && ctx.sidecars.session(uidOfRef(source)) === undefined) return wait(50);
    if (!recall(ctx, handoff, unused(freezeGeneration))) return enterCutting(ctx, handoff);
  }
  try {
    const cut = await freezeAndCut(ctx, migration, handoff, pod, freezeGeneration);
    return enterStep(
      'Transferring',
      { bytes: cut.bytes, pausedMs: Math.round(cut.pauseMs) },
      { status: { checkpointID: claim } },
    );
  } catch (error) {
    // No place to stand still was found, or the sidecar was caught awake: the agent has undone its part, another generation
    // may do. The step's bound holds.
    const known = asShadowError(error);
    if (known.code !== 'SHADOW_E_FREEZE' || !known.retryable) throw error;
    return enterCutting(ctx, handoff);
  }
};
