/** How a running migration is drawn: a block of lines for a terminal, single lines elsewhere. Pure. */
import type { Handoff, StatefulMigration, Step } from '../../webhook/api/migration.ts';
import { seconds } from '../format.ts';
import { fromNode, handoffsOf, podOf, routeOf, startOf, stepsOf, strategyOf, toNode, totalMs } from './model.ts';

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

const titleOf = ({ source, copy, attempt }: Handoff): string =>
  `${source.name} -> ${copy.name}${attempt > 1 ? ` (attempt ${attempt})` : ''}`;

/** Why nothing moves yet. */
const pendingText = (migration: StatefulMigration): string => {
  const told = migration.status?.conditions?.find(({ type }) => type === 'Progressing' || type === 'Preflight');
  return told?.message || (migration.status?.phase ? 'preflight' : 'waiting for the controller');
};

const handoffLines = (handoff: Handoff, now: number): string[] => [
  titleOf(handoff),
  ...stepsOf(handoff).map(
    ({ step, from, to }) =>
      `  ${to === undefined ? '>' : '+'} ${step.padEnd(13)}${seconds((to ?? now) - from).padStart(7)}  ${SAYS[step]}`,
  ),
];

/** The first line is the headline. `now` moves the seconds of the step it is in. */
export const block = (migration: StatefulMigration, now: number): string[] => {
  const head = `${podOf(migration)}: ${routeOf(migration)}, ${strategyOf(migration)}, ${seconds(totalMs(migration, now))}`;
  const handoffs = handoffsOf(migration);
  if (handoffs.length === 0) return [head, `  > Pending  ${pendingText(migration)}`];
  return [head, ...handoffs.flatMap((handoff) => handoffLines(handoff, now).map((line) => `  ${line}`))];
};

export interface Line {
  /** The same line is told once, however often the object is seen. */
  key: string;
  text: string;
}

/** All lines so far, oldest first. A watch may skip states; the times of the steps do not. */
export const linesOf = (migration: StatefulMigration): Line[] => {
  const start = startOf(migration) ?? 0;
  const since = (time: number): string => `[${((time - start) / 1000).toFixed(2).padStart(6)}s]`;
  const steps = handoffsOf(migration)
    .flatMap((handoff) => stepsOf(handoff).map((each) => ({ handoff, ...each })))
    .sort((a, b) => a.from - b.from)
    .map(({ handoff, step, from }) => ({
      key: `${handoff.index}/${handoff.attempt}/${step}`,
      text: `${since(from)} ${titleOf(handoff)}: ${step}${SAYS[step] ? `, ${SAYS[step]}` : ''}`,
    }));
  if (!migration.status?.sourceNode) return steps;
  const head = `${podOf(migration)}: ${fromNode(migration)} -> ${toNode(migration) || '?'}, ${strategyOf(migration)}`;
  return [{ key: 'route', text: `${since(start)} ${head}` }, ...steps];
};
