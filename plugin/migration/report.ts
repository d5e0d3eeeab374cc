/** The end of `migrate`: what happened, in numbers. Pure. */
import { PHASES, type StatefulMigration } from '../../webhook/api/migration.ts';
import { bytes, columns, seconds } from '../format.ts';
import {
  fromNode,
  handoffsOf,
  isRehearsal,
  podOf,
  reasonOf,
  silentMs,
  strategyOf,
  toNode,
  tookMs,
  totalMs,
} from './model.ts';
import { replayTable } from './replay.ts';

const or = (value: number | undefined, shown: (value: number) => string): string =>
  value === undefined ? '-' : shown(value);

export const handoffTable = (migration: StatefulMigration, now: number, indent = ''): string =>
  columns(
    ['HANDOFF', 'SECONDS', 'SILENT', 'PAUSED', 'CHECKPOINT', 'CARRIED', 'ATTEMPTS'],
    handoffsOf(migration).map((handoff) => [
      `${handoff.source.name} -> ${handoff.copy.name}`,
      seconds(tookMs(handoff, now)),
      or(silentMs(handoff), seconds),
      or(handoff.pausedMs, seconds),
      or(handoff.bytes, bytes),
      or(handoff.carried, String),
      String(handoff.attempt),
    ]),
    indent,
  );

/** `PHASE SECONDS`, in the order of the phases. Durations are as the controller wrote them. */
export const phaseTable = (migration: StatefulMigration, indent = ''): string => {
  const timings = migration.status?.phaseTimings ?? {};
  const rows = PHASES.flatMap((phase) => (timings[phase] === undefined ? [] : [[phase, timings[phase]]]));
  return rows.length > 0 ? columns(['PHASE', 'SECONDS'], rows, indent) : '';
};

/** A Deployment's pod goes on under another name. */
const nowCalled = ({ status }: StatefulMigration): string =>
  status?.deploymentName && status.targetPod ? ` as ${status.targetPod}` : '';

const headOf = (migration: StatefulMigration, now: number): string => {
  const took = `in ${seconds(totalMs(migration, now))} (${strategyOf(migration)})`;
  if (isRehearsal(migration))
    return `${podOf(migration)} on ${fromNode(migration)} was rehearsed on ${toNode(migration)} ${took}: ${migration.status?.rehearsal?.message ?? ''}`;
  const route = `from ${fromNode(migration)} to ${toNode(migration)}${nowCalled(migration)}`;
  return `${podOf(migration)} moved ${route} ${took}`;
};

export const report = (migration: StatefulMigration, now: number): string => {
  const reason = reasonOf(migration);
  const head = [headOf(migration, now), ...(reason ? [`${strategyOf(migration)}: ${reason}`] : [])].join('\n');
  return [head, handoffTable(migration, now), replayTable(migration), phaseTable(migration)]
    .filter(Boolean)
    .join('\n\n');
};
