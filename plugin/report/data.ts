/** A report, from the record of a migration: every number of page and picture is from here. Pure. */
import { type Handoff, isEnded, type Series, type StatefulMigration, type Step } from '../../webhook/api/migration.ts';
import {
  errorOf,
  fromNode,
  handoffsOf,
  isCommitted,
  phaseOf,
  podOf,
  reasonOf,
  startOf,
  stepsOf,
  strategyOf,
  timeOf,
  toNode,
  totalMs,
} from '../migration/model.ts';
import { saying } from '../migration/view.ts';
import type { Curves, HandoffReport, Proof, Report, StepReport, Stop } from './schema.ts';

const or = <T>(value: T | undefined | ''): T | null => (value === undefined || value === '' ? null : value);

/** A controller of another release may have written other things into it: what is no number is not known. */
const number = (value: unknown): number | null =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null;

const CURVES = ['sourceRate', 'copyRate', 'lag', 'throttle', 'sourceGap', 'copyGap'] as const;

const curvesOf = (series: Series | undefined): Curves | null => {
  const at = series?.at ?? [];
  const known = at.flatMap((each, index) => (number(each) === null ? [] : [index]));
  if (series === undefined || known.length === 0) return null;
  const column = (name: (typeof CURVES)[number]) => known.map((index) => number(series[name]?.[index]));
  const columns = Object.fromEntries(CURVES.map((name) => [name, column(name)]));
  return { at: known.map((index) => at[index]!), ...columns } as Curves;
};

const proofOf = ({ replay }: Handoff): Proof | null => {
  if (replay === undefined) return null;
  const { recorded, played, matched, waiting, lag, diverged, divergence, link, throttle } = replay;
  return {
    ...{ recorded, played, matched, swallowed: matched, waiting, lag, diverged, divergence: or(divergence) },
    ...{ link, throttle },
  };
};

interface Times {
  start: number;
  now: number;
}

const since = ({ start }: Times, time: string | undefined): number | undefined => {
  const at = timeOf(time);
  return at === undefined ? undefined : at - start;
};

const stop = (what: Stop['what'], from: number, to: number | undefined, times: Times): Stop => ({
  ...{ what, from, to: to ?? null, ms: Math.max(0, (to ?? times.now - times.start) - from) },
});

/**
 * From the mute to the commit; undone, until the source serves again, which is known by the end of the abort only. Beside a
 * serving source also while it is dumped: where in Cutting is not in the record, it is the end of it.
 */
const stopsOf = (handoff: Handoff, times: Times): Stop[] => {
  const { entered, mode, pausedMs } = handoff;
  const at = (step: Step) => since(times, entered[step]);
  const [muted, cut] = [at('Muting'), at('Transferring')];
  const paused = mode === 'replay' && cut !== undefined && number(pausedMs);
  const stops = paused ? [stop('checkpoint', cut - paused, cut, times)] : [];
  if (muted !== undefined) stops.push(stop('handover', muted, at('Committed') ?? at('Aborted'), times));
  return stops;
};

const stepReports = (handoff: Handoff, times: Times): StepReport[] =>
  stepsOf(handoff).map(({ step, from, to }) => ({
    ...{ step, says: saying(handoff, step), from: from - times.start },
    ...{ to: to === undefined ? null : to - times.start, ms: Math.max(0, (to ?? times.now) - from) },
  }));

const resultOf = ({ decision }: Handoff): HandoffReport['result'] => {
  if (decision === undefined) return 'under way';
  return decision.verdict === 'commit' ? 'committed' : 'undone';
};

const decisionOf = ({ decision }: Handoff, times: Times): HandoffReport['decision'] =>
  decision === undefined
    ? null
    : {
        verdict: decision.verdict,
        at: since(times, decision.at) ?? null,
        code: or(decision.code),
        message: or(decision.message),
      };

const handoffReport = (handoff: Handoff, times: Times): HandoffReport => {
  const steps = stepReports(handoff, times);
  const first = steps[0];
  const last = steps.at(-1);
  return {
    index: handoff.index,
    attempt: handoff.attempt,
    mode: handoff.mode ?? 'stop',
    source: { pod: handoff.source.name, node: handoff.source.node },
    copy: { pod: handoff.copy.name, node: handoff.copy.node },
    result: resultOf(handoff),
    decision: decisionOf(handoff, times),
    from: first?.from ?? null,
    ms: first === undefined || last === undefined ? 0 : last.from + last.ms - first.from,
    steps,
    stops: stopsOf(handoff, times),
    pausedMs: number(handoff.pausedMs),
    checkpointBytes: number(handoff.bytes),
    carried: number(handoff.carried),
    proof: proofOf(handoff),
    curves: curvesOf(handoff.series),
  };
};

const sum = (handoffs: readonly HandoffReport[], of: (handoff: HandoffReport) => number | null): number | null => {
  const known = handoffs.map(of).filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((all, value) => all + value, 0);
};

const totalsOf = (handoffs: readonly HandoffReport[]): Report['totals'] => {
  const stops = handoffs.flatMap((handoff) => handoff.stops.map(({ ms }) => ms));
  return {
    longestStopMs: stops.length === 0 ? null : Math.max(...stops),
    matched: sum(handoffs, ({ proof }) => proof?.matched ?? null),
    diverged: sum(handoffs, ({ proof }) => proof?.diverged ?? null),
    carried: sum(handoffs, ({ carried }) => carried),
    checkpointBytes: sum(handoffs, ({ checkpointBytes }) => checkpointBytes),
  };
};

/** What an undone handoff gave back, in the order in which it is done. */
const undone = (handoff: Handoff): string[] => {
  const { source, copy, entered, step, index } = handoff;
  const touched = entered.Muting !== undefined || entered.Cutting !== undefined;
  const done = step === 'Aborted';
  const goes = done ? 'goes on' : 'is being let go';
  return [
    touched
      ? `${source.name} on ${source.node} ${goes} with its memory and its connections`
      : `${source.name} on ${source.node} was not touched`,
    `${copy.name} on ${copy.node} ${done ? 'was removed' : 'is being removed'}; it had no voice, nothing of it went out`,
    ...(index === 0 ? [] : [`the pod serves as ${source.name} until it has its name back`]),
  ];
};

const putBackOf = (migration: StatefulMigration): string[] => {
  const handoffs = handoffsOf(migration);
  const told = handoffs.filter(({ decision }) => decision?.verdict === 'abort').flatMap(undone);
  const refused = errorOf(migration) !== undefined && handoffs.length === 0;
  return refused ? [`${podOf(migration)} goes on as before: it was refused before anything was touched`] : told;
};

const resultOfAll = (migration: StatefulMigration): Report['result'] => {
  const error = errorOf(migration);
  const told = error && { code: error.code, message: error.message, hint: error.hint };
  const state = !isEnded(migration) ? 'running' : error === undefined ? 'done' : 'failed';
  return { state, error: told ?? null, putBack: putBackOf(migration) };
};

const movedTo = (migration: StatefulMigration): string | null => {
  const { deploymentName, targetPod } = migration.status ?? {};
  return isCommitted(migration) ? or(deploymentName === undefined ? podOf(migration) : targetPod) : null;
};

const ownerOf = ({ status }: StatefulMigration): string | null => {
  if (status?.statefulSetName) return `StatefulSet ${status.statefulSetName}`;
  return status?.deploymentName ? `Deployment ${status.deploymentName}` : null;
};

const time = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());

/** `now`: milliseconds since 1970; what is under way lasts until then. `plugin`: our version. */
export const reportOf = (migration: StatefulMigration, now: number, plugin: string): Report => {
  const { metadata, status } = migration;
  // What a migration that has ended left open (a handoff whose source was lost) lasted no longer than it.
  const times = { start: startOf(migration) ?? now, now: timeOf(status?.completionTime) ?? now };
  const handoffs = handoffsOf(migration).map((handoff) => handoffReport(handoff, times));
  return {
    kind: 'MigrationReport',
    version: 1,
    generated: new Date(now).toISOString(),
    migration: {
      name: metadata.name,
      namespace: metadata.namespace,
      pod: podOf(migration),
      movedTo: movedTo(migration),
      owner: ownerOf(migration),
      from: or(fromNode(migration)),
      to: or(toNode(migration)),
      strategy: strategyOf(migration),
      reason: or(reasonOf(migration)),
      phase: phaseOf(migration),
      started: time(startOf(migration)),
      ended: time(timeOf(status?.completionTime)),
      ms: Math.max(0, totalMs(migration, now)),
    },
    result: resultOfAll(migration),
    totals: totalsOf(handoffs),
    handoffs,
    versions: {
      plugin,
      controller: or(status?.versions?.controller),
      sidecar: or(status?.versions?.sidecar),
      nodes: status?.versions?.nodes ?? [],
    },
  };
};
