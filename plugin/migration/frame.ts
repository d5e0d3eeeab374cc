/** What is on the screen while pods move: one as a tree; of several, moved one after another, the one under way. Pure. */
import { isEnded } from '../../webhook/api/migration.ts';
import { seconds } from '../format.ts';
import type { Size } from '../painter.ts';
import type { Line, Look } from '../style.ts';
import { phaseOf, routeOf, totalMs } from './model.ts';
import { fitted, fittedTree, type Seen, standing, tree, waiting } from './tree.ts';

/** In the order in which the pods move; what is not in `seen` has not begun. */
export interface Shown {
  pods: readonly string[];
  seen: ReadonlyMap<string, Seen>;
}

const endedLine = (pod: string, { migration }: Seen, width: number, now: number, look: Look): Line => {
  const [mark, tone] = standing(migration, look);
  const took = seconds(totalMs(migration, now));
  return [[mark, tone], [` ${pod.padEnd(width)}  ${phaseOf(migration).padEnd(9)}  ${routeOf(migration)}, ${took}`]];
};

const isOver = (seen: Seen | undefined): boolean => seen !== undefined && isEnded(seen.migration);

const several = ({ pods, seen }: Shown, now: number, size: Size, look: Look): Line[] => {
  const over = pods.filter((pod) => isOver(seen.get(pod)));
  const current = pods.find((pod) => seen.has(pod) && !isOver(seen.get(pod)));
  const ahead = pods.filter((pod) => !seen.has(pod));
  const width = Math.max(...pods.map((pod) => pod.length));
  const title: Line = [[`${pods.length} pods, one after another: ${over.length} ended, ${ahead.length} to go`, 'bold']];
  return fitted(size.rows, (detail) => {
    const named = detail === 'steps' || detail === 'folded';
    const shown = current === undefined ? undefined : seen.get(current);
    return [
      ...(detail === 'row' ? [] : [title]),
      ...(named ? over.map((pod) => endedLine(pod, seen.get(pod)!, width, now, look)) : []),
      ...(shown === undefined ? [] : tree(shown, now, size.columns, detail, look)),
      ...(named ? ahead.map((pod): Line => [waiting(look), [` ${pod}`, 'dim']]) : []),
    ];
  });
};

export const frame = (shown: Shown, now: number, size: Size, look: Look): Line[] => {
  const [only, ...more] = shown.pods;
  if (more.length > 0) return several(shown, now, size, look);
  const seen = only === undefined ? undefined : shown.seen.get(only);
  return seen === undefined ? [] : fittedTree(seen, now, size, look);
};
