/** What the steps of a migration mean, and a running one as single lines, where nothing can be redrawn. Pure. */
import type { Handoff, StatefulMigration, Step } from '../../webhook/api/migration.ts';
import { fromNode, handoffsOf, reasonOf, startOf, stepsOf, strategyOf, subjectOf, timeOf, toNode } from './model.ts';
import { replayText } from './replay.ts';

const SAYS: Record<Step, string> = {
  Warming: 'the copy is made and waits on the target',
  Muting: 'the source falls silent, nothing of the app goes out',
  Cutting: 'paused and checkpointed',
  Transferring: 'the checkpoint goes to the target',
  Restoring: 'the copy wakes',
  Replaying: 'the copy catches up beside the serving source',
  Attaching: 'the copy opens its connections to the broker',
  Committed: 'the copy serves',
  Settling: 'deliveries that came over are settled',
  Switching: 'Services turn to the copy',
  Retiring: 'the source goes',
  Done: '',
  Aborting: 'the source goes on, the copy is removed',
  Aborted: '',
};

/** Beside a serving source some steps mean another thing. */
const SAYS_BESIDE: Partial<Record<Step, string>> = {
  Cutting: 'checkpointed, the source goes on',
  Muting: 'the source falls silent',
  Attaching: 'the copy plays the last of the record',
};
/** What a step means, one line. */
export const saying = ({ mode }: Handoff, step: Step): string => (mode === 'replay' && SAYS_BESIDE[step]) || SAYS[step];

const titleOf = ({ source, copy, attempt }: Handoff): string =>
  `${source.name} -> ${copy.name}${attempt > 1 ? ` (attempt ${attempt})` : ''}`;

/** Why nothing moves yet. */
export const pendingText = (migration: StatefulMigration): string => {
  const told = migration.status?.conditions?.find(({ type }) => type === 'Progressing' || type === 'Preflight');
  return told?.message || (migration.status?.phase ? 'preflight' : 'waiting for the controller');
};

export interface Line {
  /** The same line is told once, however often the object is seen. */
  key: string;
  text: string;
}

/** As last seen, while it replays; a watch may skip some. */
const replayLine = (handoff: Handoff): { at: number; key: string; text: string }[] => {
  const { replay, step, index, attempt } = handoff;
  const at = timeOf(replay?.at);
  if (replay === undefined || at === undefined || step === 'Warming') return [];
  return [{ at, key: `${index}/${attempt}/${replay.at}`, text: `${titleOf(handoff)}: ${replayText(replay)}` }];
};

/** All lines so far, oldest first. A watch may skip states; the times of the steps do not. */
export const linesOf = (migration: StatefulMigration): Line[] => {
  const start = startOf(migration) ?? 0;
  const since = (time: number): string => `[${((time - start) / 1000).toFixed(2).padStart(6)}s]`;
  const steps = handoffsOf(migration).flatMap((handoff) => [
    ...stepsOf(handoff).map(({ step, from }) => ({
      at: from,
      key: `${handoff.index}/${handoff.attempt}/${step}`,
      text: [`${titleOf(handoff)}: ${step}`, saying(handoff, step)].filter(Boolean).join(', '),
    })),
    ...replayLine(handoff),
  ]);
  const lines = steps
    .sort((a, b) => a.at - b.at)
    .map(({ at, key, text }): Line => ({ key, text: `${since(at)} ${text}` }));
  if (!migration.status?.sourceNode) return lines;
  const strategy = strategyOf(migration);
  const reason = reasonOf(migration);
  const head = `${subjectOf(migration)}: ${fromNode(migration)} -> ${toNode(migration) || '?'}, ${strategy}`;
  // Another strategy may be taken when the first one fails.
  const route = { key: `route/${strategy}`, text: `${since(start)} ${head}${reason ? ` (${reason})` : ''}` };
  return [route, ...lines];
};
