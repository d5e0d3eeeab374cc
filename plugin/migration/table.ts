/** `list` and `status` as text. Pure. */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import type { Rehearsal } from '../../webhook/api/rehearsal.ts';
import { isFailed } from '../check/evaluate.ts';
import { assessed } from '../check/pod-checks.ts';
import { listed, summary } from '../check/print.ts';
import { age, columns, seconds } from '../format.ts';
import {
  errorOf,
  fromNode,
  handoffsOf,
  phaseOf,
  podOf,
  reasonOf,
  startOf,
  stepsOf,
  strategyOf,
  timeOf,
  toNode,
  totalMs,
} from './model.ts';
import { replayTable } from './replay.ts';
import { handoffTable, phaseTable } from './report.ts';

export interface TableOptions {
  namespaces: boolean;
  wide: boolean;
}

export const headOf = ({ namespaces, wide }: TableOptions): string[] => [
  ...(namespaces ? ['NAMESPACE'] : []),
  ...['NAME', 'POD', 'FROM', 'TO', 'STRATEGY', 'PHASE', 'AGE'],
  ...(wide ? ['SECONDS', 'ERROR'] : []),
];

/** The cells under headOf. */
export const rowOf = (migration: StatefulMigration, now: number, { namespaces, wide }: TableOptions): string[] => [
  ...(namespaces ? [migration.metadata.namespace] : []),
  migration.metadata.name,
  podOf(migration),
  fromNode(migration),
  toNode(migration),
  strategyOf(migration),
  phaseOf(migration),
  age(now - (timeOf(migration.metadata.creationTimestamp) ?? now)),
  ...(wide ? [seconds(totalMs(migration, now)), errorOf(migration)?.code ?? ''] : []),
];

export const migrationTable = (migrations: readonly StatefulMigration[], now: number, options: TableOptions): string =>
  columns(
    headOf(options),
    migrations.map((migration) => rowOf(migration, now, options)),
  );

const stepLines = (migration: StatefulMigration, now: number): string[] =>
  handoffsOf(migration).flatMap((handoff) => {
    const steps = stepsOf(handoff).map(({ step, from, to }) => `${step} ${seconds((to ?? now) - from)}`);
    const rehearsed = handoff.decision?.verdict === 'abort' && handoff.decision.code === undefined;
    const decided = rehearsed
      ? ', undone as a rehearsal is'
      : handoff.decision
        ? `, decided ${handoff.decision.verdict} at ${handoff.decision.at}`
        : '';
    const why = handoff.decision?.code ? ` (${handoff.decision.code}: ${handoff.decision.message ?? ''})` : '';
    return [
      `  ${handoff.source.name} (${handoff.source.node}) -> ${handoff.copy.name} (${handoff.copy.node}): ${handoff.step}${decided}${why}`,
      ...(steps.length > 0 ? [`    ${steps.join(', ')}`] : []),
    ];
  });

const conditionTable = (migration: StatefulMigration, now: number): string =>
  columns(
    ['TYPE', 'STATUS', 'REASON', 'AGE', 'MESSAGE'],
    (migration.status?.conditions ?? []).map(({ type, status, reason, lastTransitionTime, message }) => [
      type,
      status,
      reason,
      age(now - (timeOf(lastTransitionTime) ?? now)),
      message,
    ]),
    '  ',
  );

/** Of a dry run that has ended; else nothing. */
const assessment = (migration: StatefulMigration): string[] => {
  if (migration.status?.assessment === undefined) return [];
  const results = assessed(migration);
  return ['Assessment:', ...listed(results, { symbols: false, color: false }), `  ${summary(results)}`];
};

/** What a dry run found, in a word, and where the pod could go. */
const verdictOf = (migration: StatefulMigration): [string, string][] => {
  const { assessment: looked, fitNodes = [] } = migration.status ?? {};
  if (looked === undefined) return [];
  const unfit = isFailed(assessed(migration));
  return [['Verdict:', unfit ? 'unfit: see what failed in the assessment' : `fit to go to ${fitNodes.join(', ')}`]];
};

const foundOf = ({ verdict, message, estimate }: Rehearsal): string => {
  const { wholeMs, pauseMs, pause } = estimate ?? {};
  return [
    `${verdict}${message ? `, ${message}` : ''}`,
    ...(pauseMs === undefined ? [] : [`pause ${seconds(pauseMs)} (${pause?.toLowerCase()})`]),
    ...(wholeMs === undefined ? [] : [`a migration about ${seconds(wholeMs)} (estimated)`]),
  ].join('; ');
};

const versionsOf = ({ status }: StatefulMigration): [string, string][] => {
  const { controller, sidecar = 'unknown' } = status?.versions ?? {};
  return controller === undefined ? [] : [['Versions:', `controller ${controller}, sidecar ${sidecar}`]];
};

/** A migration in detail, as kubectl describe sets it. */
export const details = (migration: StatefulMigration, now: number): string => {
  const { metadata, status } = migration;
  const start = startOf(migration);
  const error = errorOf(migration);
  const reason = reasonOf(migration) ? ` (${reasonOf(migration)})` : '';
  const facts: [string, string][] = [
    ['Name:', metadata.name],
    ['Namespace:', metadata.namespace],
    ['Pod:', podOf(migration)],
    ['From:', fromNode(migration) || '<unknown>'],
    ['To:', toNode(migration) || '<not chosen yet>'],
    ['Strategy:', `${strategyOf(migration)}${reason}`],
    ['Phase:', phaseOf(migration)],
    ...verdictOf(migration),
    ...(status?.rehearsal?.verdict === undefined ? [] : [['Found:', foundOf(status.rehearsal)] as [string, string]]),
    ...(start === undefined
      ? []
      : ([['Started:', `${new Date(start).toISOString()} (${age(now - start)} ago)`]] as [string, string][])),
    ['Took:', seconds(totalMs(migration, now))],
    ...versionsOf(migration),
  ];
  const lines = facts.map(([name, value]) => `${name.padEnd(12)}${value}`);
  if (error) lines.push(`${'Error:'.padEnd(12)}${error.message} [${error.code}]`, `${'Hint:'.padEnd(12)}${error.hint}`);
  if (handoffsOf(migration).length > 0) {
    lines.push('Handoffs:', handoffTable(migration, now, '  '), 'Steps:', ...stepLines(migration, now));
  }
  const replays = replayTable(migration, '  ');
  if (replays) lines.push('Replay:', replays);
  const phases = phaseTable(migration, '  ');
  if (phases) lines.push('Phases:', phases);
  lines.push(...assessment(migration));
  if (status?.conditions?.length) lines.push('Conditions:', conditionTable(migration, now));
  return lines.join('\n');
};
