/** What a run has shown, from what was sent, seen and remembered. Shares nothing with the sidecar. Pure. */
import type { Event } from '../../manifests/examples/broker.ts';
import type { Handoff } from '../../webhook/api/migration.ts';
import { phaseSeconds, totalSeconds } from '../demonstration/migrate.ts';
import {
  judge,
  longestGapMs as longestSilenceMs,
  type ReplicaState,
  type SeenOutput,
} from '../demonstration/oracle.ts';
import { type Probe, probeReport, sentWithin } from '../demonstration/prober.ts';
import type { Migrated } from './migration.ts';
import { longestGapMs } from './processing.ts';
import type { Measured } from './results.ts';

/** Load before the migration and after it, ms: three bursts. What comes within it after the end is the migration's. */
export const STEADY_MS = 3000;

/** All times are those of performance.now(). */
export interface Load {
  /** Bodies by sequence number. */
  readonly sent: ReadonlyMap<number, Uint8Array>;
  readonly confirmed: ReadonlySet<number>;
  readonly outputs: readonly SeenOutput[];
  readonly probes: readonly Probe[];
  /** When the app had begun to work. */
  readonly since: number;
}

export type Nodes = Pick<Measured, 'from' | 'to'>;

export type State = ReplicaState & { readonly connections: number };

/** When each message was sent, by the time it carries. */
const sentTimes = ({ sent, confirmed }: Load): Map<number, number> =>
  new Map(
    [...confirmed].map((seq) => {
      const { sentAt } = JSON.parse(Buffer.from(sent.get(seq) ?? []).toString()) as Event;
      return [seq, Date.parse(sentAt) - performance.timeOrigin];
    }),
  );

/** As far as it was to be seen at `from`: a gap that ends later is the migration's. */
const gapBefore = (
  sent: ReadonlyMap<number, number>,
  outputs: readonly SeenOutput[],
  since: number,
  from: number,
): number =>
  longestGapMs(
    new Map([...sent].filter(([, at]) => at < from)),
    outputs.filter(({ at }) => at < from),
    since,
    from,
  );

/** To milliseconds, as far as the status tells. */
const rounded = (seconds: number): number => Math.round(seconds * 1000) / 1000;

const phasesOf = (migration: Migrated['migration']): Record<string, number> =>
  Object.fromEntries(Object.entries(phaseSeconds(migration)).map(([phase, seconds]) => [phase, rounded(seconds)]));

const stepsOf = (migration: Migrated['migration']): Record<string, number>[] => {
  const { startTime = '', handoffs = [] } = migration?.status ?? {};
  return handoffs.map(({ entered }) =>
    Object.fromEntries(
      Object.entries(entered)
        .map(([step, at]): [string, number] => [step, rounded((Date.parse(at) - Date.parse(startTime)) / 1000)])
        .sort(([, one], [, other]) => one - other),
    ),
  );
};

/** As many failed probes are told one by one. */
const TOLD = 10;

const failuresOf = (probes: readonly Probe[], { migration }: Migrated): Measured['failures'] => {
  const start = Date.parse(migration?.status?.startTime ?? '') - performance.timeOrigin;
  return probes
    .filter(({ ok }) => !ok)
    .slice(0, TOLD)
    .map(({ at, why = '' }) => ({ at: rounded((at - start) / 1000), why }));
};

/** A handoff from a shadow to its successor stays on its node. */
const movedBytes = (handoffs: readonly Handoff[]): number =>
  handoffs.reduce((all, { source, copy, bytes = 0 }) => (source.node === copy.node ? all : all + bytes), 0);

/** `states`: of the pods that are left when all is done. */
export const measuredOf = (load: Load, migrated: Migrated, nodes: Nodes, states: readonly State[]): Measured => {
  const { sent, outputs, probes, since } = load;
  const { from, migration } = migrated;
  const end = migrated.to + STEADY_MS;
  const times = sentTimes(load);
  const verdict = judge({ sent, confirmed: load.confirmed, replicas: states, outputs });
  const probed = probeReport(probes, from, end);
  const { lost, duplicated, reordered, outputsLost, outputsDuplicated, stateMatches, confirmed } = verdict;
  return {
    ...nodes,
    strategy: migration?.status?.strategy ?? '',
    totalSeconds: rounded(totalSeconds(migration) ?? (migrated.to - from) / 1000),
    phaseSeconds: phasesOf(migration),
    steps: stepsOf(migration),
    ...{ probes: probed.probes, failedProbes: probed.failed, downtimeMs: Math.round(probed.longestFailureMs) },
    failures: failuresOf(sentWithin(probes, from, end), migrated),
    gapMs: Math.round(longestGapMs(times, outputs, from, end)),
    silenceMs: Math.round(longestSilenceMs(outputs, outputs[0]?.consumer ?? '', from, end)),
    before: {
      failedProbes: probeReport(probes, since, from).failed,
      gapMs: Math.round(gapBefore(times, outputs, since, from)),
    },
    ...{ confirmed, lost, duplicated, reordered, outputsLost, outputsDuplicated, stateMatches },
    reconnects: states.reduce((most, { connections }) => Math.max(most, connections - 1), 0),
    pods: states.length,
    bytes: movedBytes(migration?.status?.handoffs ?? []),
  };
};
