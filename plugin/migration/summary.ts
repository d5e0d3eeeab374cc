/** What became of several pods. Pure. */
import { columns, seconds } from '../format.ts';
import { fromNode, phaseOf, toNode, totalMs } from './model.ts';
import type { Move } from './run.ts';

const resultOf = ({ migration, problem }: Move): string =>
  migration ? phaseOf(migration) : problem ? 'Refused' : 'Not begun';

export const summary = (moves: readonly Move[], now: number): string => {
  const done = moves.filter(({ migration, problem }) => migration && !problem && phaseOf(migration) === 'Completed');
  const begun = moves.filter(({ migration, problem }) => migration || problem);
  const table = columns(
    ['POD', 'RESULT', 'MIGRATION', 'FROM', 'TO', 'SECONDS', 'ERROR'],
    moves.map((move) => {
      const { pod, migration, problem } = move;
      const where = migration
        ? [fromNode(migration), toNode(migration), seconds(totalMs(migration, now))]
        : ['', '', ''];
      return [pod, resultOf(move), migration?.metadata.name ?? '', ...where, problem?.code ?? ''];
    }),
  );
  const counts = `${done.length} moved, ${begun.length - done.length} not moved, ${moves.length - begun.length} not begun`;
  return `${table}\n\n${counts}`;
};
