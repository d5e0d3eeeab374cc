/** A migration as a tree: its source, its copy and its successor, and below each the steps that make it. Pure. */
import { type Handoff, isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import { age, seconds } from '../format.ts';
import type { Size } from '../painter.ts';
import type { Line, Look, Span, Tone } from '../style.ts';
import { grid, type Row } from './grid.ts';
import {
  errorOf,
  finished,
  phaseOf,
  reasonOf,
  routeOf,
  startOf,
  stepsOf,
  strategyOf,
  subjectOf,
  tookMs,
  totalMs,
} from './model.ts';
import { paceOf } from './pace.ts';
import { type Mark, type PodRow, podRows } from './pods.ts';
import { replayText } from './replay.ts';
import { pendingText, saying } from './view.ts';

export interface Seen {
  migration: StatefulMigration;
  /** Creation of the source's pod, milliseconds since the epoch. */
  born?: number | undefined;
}

/** From all there is to one row: the fullest that fits is drawn. */
export const DETAILS = ['steps', 'folded', 'step', 'pods', 'row'] as const;
export type Detail = (typeof DETAILS)[number];

const TONE: Record<Mark, Tone> = { serving: 'good', busy: 'busy', idle: 'dim', bad: 'bad' };
const UNICODE = {
  serving: '●',
  busy: '◐',
  idle: '○',
  bad: '✗',
  done: '✓',
  now: '▸',
  fork: '├─',
  last: '└─',
  rail: '│',
};
const ASCII: typeof UNICODE = {
  ...{ serving: '*', busy: '~', idle: 'o', bad: 'x', done: '+', now: '>', fork: '|-', last: '`-', rail: '|' },
};
const glyphs = ({ unicode }: Look): typeof UNICODE => (unicode ? UNICODE : ASCII);

/** How a migration stands, in a mark and its tone. */
export const standing = (migration: StatefulMigration, look: Look): readonly [mark: string, tone: Tone] => {
  const { done, bad, now } = glyphs(look);
  if (!isEnded(migration)) return [now, 'busy'];
  return errorOf(migration) === undefined ? [done, 'good'] : [bad, 'bad'];
};
/** Of one that is not begun. */
export const waiting = (look: Look): Span => [glyphs(look).idle, 'dim'];

const stepLine = (handoff: Handoff, at: number, now: number, look: Look): Line[] => {
  const { step, from, to } = stepsOf(handoff)[at]!;
  const { done, now: current } = glyphs(look);
  const mark: Span = to === undefined ? [current, 'busy'] : [done, 'good'];
  const told = `${seconds((to ?? now) - from).padStart(7)}  `;
  const line: Line = [mark, [` ${step.padEnd(13)}`], [told], [saying(handoff, step), 'dim']];
  const indent = ' '.repeat(2 + 13 + told.length);
  return step === 'Replaying' && handoff.replay ? [line, [[indent], [replayText(handoff.replay), 'dim']]] : [line];
};

const stepLines = (handoff: Handoff, now: number, detail: Detail, look: Look): Line[] => {
  const steps = stepsOf(handoff);
  const over = finished(handoff);
  if (detail === 'folded' && over) {
    const all = `${steps.length} steps in ${seconds(tookMs(handoff, now))}`;
    return [
      [
        [glyphs(look).done, 'good'],
        [` ${all}`, 'dim'],
      ],
    ];
  }
  if (detail === 'steps' || detail === 'folded') return steps.flatMap((_, at) => stepLine(handoff, at, now, look));
  return detail === 'step' && !over && steps.length > 0
    ? stepLine(handoff, steps.length - 1, now, look).slice(0, 1)
    : [];
};

const again = ({ attempt }: Handoff): Line[] => (attempt > 1 ? [[[`attempt ${attempt}`, 'busy']]] : []);

const lagOf = ({ from }: PodRow): string =>
  from?.mode === 'replay' && from.replay && !finished(from) ? String(from.replay.lag) : '';

/** The rate while the handoff lasts, and how it was from its beginning on. */
const rateOf = ({ from, to }: PodRow): { rate: string; trend: readonly number[] } => {
  const shown = (handoff: Handoff | undefined, of: 'sourceRate' | 'copyRate') => {
    const trend = handoff === undefined ? [] : paceOf(handoff, of);
    const last = trend.at(-1);
    if (handoff === undefined || last === undefined) return undefined;
    return { rate: finished(handoff) ? '' : `${last.toFixed(last < 100 ? 1 : 0)} msg/s`, trend };
  };
  return shown(to, 'sourceRate') ?? shown(from, 'copyRate') ?? { rate: '', trend: [] };
};

const sinceText = (since: number | undefined, now: number): string => (since === undefined ? '' : age(now - since));

const podRow = (row: PodRow, isLast: boolean, now: number, detail: Detail, look: Look): Row => {
  const { fork, last, rail } = glyphs(look);
  const below = row.from ? [...again(row.from), ...stepLines(row.from, now, detail, look)] : [];
  const { rate, trend } = rateOf(row);
  return {
    lead: isLast ? last : fork,
    mark: [glyphs(look)[row.mark], TONE[row.mark]],
    tone: TONE[row.mark],
    cells: {
      ...{ name: row.name, role: row.role, state: row.state, node: row.node },
      ...{ lag: lagOf(row), rate, age: sinceText(row.since, now) },
    },
    trend,
    below: below.map((line): Line => [[isLast ? '     ' : `${rail}    `, 'dim'], ...line]),
  };
};

const rows = (seen: Seen, now: number, detail: Detail, look: Look): Row[] => {
  const { migration, born } = seen;
  const [mark, tone] = standing(migration, look);
  const pods = podRows(migration, born);
  const own: Row = {
    lead: '',
    mark: [mark, tone],
    tone,
    cells: {
      ...{ name: migration.metadata.name, role: 'migration', state: phaseOf(migration) },
      // The headline has it already.
      node: detail === 'row' ? routeOf(migration) : '',
      ...{ lag: '', rate: '', age: sinceText(startOf(migration), now) },
    },
    trend: [],
    below: [],
  };
  if (detail === 'row') return [own];
  return [own, ...pods.map((row, at) => podRow(row, at === pods.length - 1, now, detail, look))];
};

/** The first line is the headline. `now` moves the seconds of the step it is in. */
export const tree = (seen: Seen, now: number, columns: number, detail: Detail, look: Look): Line[] => {
  const { migration } = seen;
  const set = grid(rows(seen, now, detail, look), columns, look);
  if (detail === 'row') return set.slice(1);
  const strategy = strategyOf(migration);
  const head = `${subjectOf(migration)}: ${routeOf(migration)}, ${strategy}, ${seconds(totalMs(migration, now))}`;
  const reason = reasonOf(migration);
  const begun = (migration.status?.handoffs ?? []).length > 0 || isEnded(migration);
  return [
    [[head, 'bold']],
    ...(reason ? [[[`${strategy}: ${reason}`, 'dim'] as const]] : []),
    ...set,
    ...(begun ? [] : [[[pendingText(migration), 'dim'] as const]]),
  ];
};

/** The fullest of what `make` makes that fits; the least of it is cut. */
export const fitted = (rowCount: number, make: (detail: Detail) => Line[]): Line[] => {
  const fits = DETAILS.find((detail) => make(detail).length <= rowCount);
  return make(fits ?? 'row').slice(0, rowCount);
};

export const fittedTree = (seen: Seen, now: number, size: Size, look: Look): Line[] =>
  fitted(size.rows, (detail) => tree(seen, now, size.columns, detail, look));
