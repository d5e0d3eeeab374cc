/** The end of `migrate`: what happened, in numbers. Pure. */
import { PHASES, type StatefulMigration } from '../../webhook/api/migration.ts';
import { bytes, columns, seconds } from '../format.ts';
import { fromNode, handoffsOf, podOf, silentMs, strategyOf, toNode, tookMs, totalMs } from './model.ts';

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

export const report = (migration: StatefulMigration, now: number): string => {
  const head = `${podOf(migration)} moved from ${fromNode(migration)} to ${toNode(migration)} in ${seconds(totalMs(migration, now))} (${strategyOf(migration)})`;
  return [head, handoffTable(migration, now), phaseTable(migration)].filter(Boolean).join('\n\n');
};
