/** The pods a migration is about, and what each is doing: read from the steps of its handoffs. Pure. */
import { type Handoff, isEnded, type StatefulMigration, type Step } from '../../webhook/api/migration.ts';
import { fromNode, handoffsOf, isRehearsal, podOf, timeOf, toNode } from './model.ts';

/** serving: the app's work is done here. idle: not there (yet, or any more). */
export type Mark = 'serving' | 'busy' | 'idle' | 'bad';

export interface PodRow {
  name: string;
  role: 'source' | 'copy' | 'successor';
  node: string;
  state: string;
  mark: Mark;
  /** Milliseconds since the epoch; of the source only its pod knows. */
  since?: number | undefined;
  /** The handoff that makes this pod. */
  from?: Handoff;
  /** The handoff that takes its work away. */
  to?: Handoff;
}

const SOURCE: Record<Step, string> = {
  Warming: 'Serving',
  Muting: 'Muting',
  Cutting: 'Paused',
  Transferring: 'Paused',
  Restoring: 'Paused',
  Replaying: 'Serving',
  Attaching: 'Paused',
  Committed: 'Settling',
  Settling: 'Settling',
  Switching: 'Settling',
  Retiring: 'Going',
  Done: 'Gone',
  Aborting: 'Resuming',
  Aborted: 'Serving',
};
/** Mode replay: the source stands still for the checkpoint only, and falls silent for the last of the record. */
const SOURCE_BESIDE: Partial<Record<Step, string>> = {
  Cutting: 'Serving',
  Transferring: 'Serving',
  Restoring: 'Serving',
  Attaching: 'Muted',
};
const COPY: Record<Step, string> = {
  Warming: 'Starting',
  Muting: 'Waiting',
  Cutting: 'Waiting',
  Transferring: 'Receiving',
  Restoring: 'Restoring',
  Replaying: 'Replaying',
  Attaching: 'Attaching',
  Committed: 'Serving',
  Settling: 'Serving',
  Switching: 'Serving',
  Retiring: 'Serving',
  Done: 'Serving',
  Aborting: 'Going',
  Aborted: 'Removed',
};
const COPY_BESIDE: Partial<Record<Step, string>> = { Muting: 'Replaying' };

const asSource = ({ step, mode }: Handoff): string => (mode === 'replay' && SOURCE_BESIDE[step]) || SOURCE[step];
const asCopy = ({ step, mode }: Handoff): string => (mode === 'replay' && COPY_BESIDE[step]) || COPY[step];

const MARK: Record<string, Mark> = {
  Serving: 'serving',
  Gone: 'idle',
  Removed: 'idle',
  'Not yet': 'idle',
  Lost: 'bad',
};
const markOf = (state: string): Mark => MARK[state] ?? 'busy';

const rowOf = (row: Omit<PodRow, 'mark'>): PodRow => ({ ...row, mark: markOf(row.state) });

/** Whether there will be a second handoff, from the shadow to the pod's own name. */
const awaitsSuccessor = (migration: StatefulMigration): boolean =>
  migration.status?.statefulSetName !== undefined &&
  handoffsOf(migration).length === 1 &&
  !isEnded(migration) &&
  !isRehearsal(migration);

/** `born`: creation of the source's pod. Before the controller has looked at it there is the source alone. */
export const podRows = (migration: StatefulMigration, born?: number): PodRow[] => {
  const [first, second] = handoffsOf(migration);
  const source = { name: podOf(migration), role: 'source', since: born } as const;
  if (first === undefined) return [{ ...source, node: fromNode(migration), state: '-', mark: 'busy' }];
  const lost = migration.status?.error?.code === 'SHADOW_E_COPY_LOST';
  const copyState = (handoff: Handoff, next?: Handoff): string =>
    next !== undefined ? asSource(next) : lost ? 'Lost' : asCopy(handoff);
  const copyRow = (role: 'copy' | 'successor', handoff: Handoff, next?: Handoff): PodRow =>
    rowOf({
      name: handoff.copy.name,
      role,
      node: handoff.copy.node,
      state: copyState(handoff, next),
      since: timeOf(handoff.entered.Warming),
      from: handoff,
      ...(next === undefined ? {} : { to: next }),
    });
  return [
    rowOf({ ...source, node: first.source.node, state: asSource(first), to: first }),
    copyRow('copy', first, second),
    ...(second === undefined ? [] : [copyRow('successor', second)]),
    ...(awaitsSuccessor(migration)
      ? [rowOf({ name: podOf(migration), role: 'successor', node: toNode(migration), state: 'Not yet' })]
      : []),
  ];
};
