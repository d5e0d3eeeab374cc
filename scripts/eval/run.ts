/** One run: the app from nothing, load, one migration under it, drain, verdict. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChannelModel, connect } from 'amqplib';
import type { Event } from '../../manifests/examples/broker.ts';
import { Producer } from '../../manifests/examples/producer/producer.ts';
import { type Kube, otherNode } from '../demonstration/kube.ts';
import { phaseSeconds, totalSeconds } from '../demonstration/migrate.ts';
import { judge, longestGapMs as longestSilenceMs, type SeenOutput } from '../demonstration/oracle.ts';
import { collectOutputs } from '../demonstration/outputs.ts';
import { type Probe, probeReport, startProber } from '../demonstration/prober.ts';
import { until } from '../demonstration/until.ts';
import { specOf } from './configurations.ts';
import { type Migrated, migrate } from './migration.ts';
import { longestGapMs } from './processing.ts';
import type { Measured, Outcome, RunKey } from './results.ts';
import { type AppState, clear, deploy, migrationName, probedAddress, readStates } from './workload.ts';

/** Load before the migration and after it: three bursts. */
const STEADY_MS = 3000;
const MIGRATION_MS = 240_000;
/** The backlog of a consumer that is slower than its producer. */
const DRAIN_MS = 180_000;
/** A consumer that reconnects is silent for 3 s. */
const REST_MS = 6000;

export interface Site {
  readonly kube: Kube;
  readonly brokerUrl: string;
  readonly log: (line: string) => void;
  readonly signal: AbortSignal;
}

type Nodes = Pick<Measured, 'from' | 'to'>;

interface Load {
  readonly producer: Producer;
  readonly outputs: readonly SeenOutput[];
  readonly probes: readonly Probe[];
  /** Of performance.now(), when it began. */
  readonly since: number;
}

const isDrained = ({ producer, outputs }: Load, states: readonly AppState[]): boolean => {
  const applied = new Set(states.flatMap(({ list }) => list));
  const told = new Set(outputs.map(({ seq }) => seq));
  return [...producer.confirmed].every((seq) => applied.has(seq) && told.has(seq));
};

/** Resolves when all is applied, or nothing moves any more: then what is missing is lost. */
const drain = async (site: Site, load: Load): Promise<AppState[]> => {
  let before = '';
  let moved = performance.now();
  await until('the backlog to be worked off', DRAIN_MS, async () => {
    site.signal.throwIfAborted();
    const states = await readStates(site.kube);
    if (isDrained(load, states)) return true;
    const now = [...states.map(({ instance, count }) => `${instance} ${count}`), load.outputs.length].join();
    if (now !== before) moved = performance.now();
    before = now;
    return performance.now() - moved > REST_MS;
  });
  // What comes twice has its time.
  await sleep(1000);
  return readStates(site.kube);
};

/** When each message was sent, on the clock of performance.now(). */
const sentTimes = ({ producer }: Load): Map<number, number> =>
  new Map(
    [...producer.confirmed].map((seq) => {
      const { sentAt } = JSON.parse(String(producer.bodies.get(seq))) as Event;
      return [seq, Date.parse(sentAt) - performance.timeOrigin];
    }),
  );

const measuredOf = (
  load: Load,
  migrated: Migrated,
  nodes: Pick<Measured, 'from' | 'to'>,
  states: AppState[],
): Measured => {
  const { producer, outputs, probes, since } = load;
  const { from, migration } = migrated;
  const end = migrated.to + STEADY_MS;
  const sent = sentTimes(load);
  const verdict = judge({ sent: producer.bodies, confirmed: producer.confirmed, replicas: states, outputs });
  const { probes: sum, failed, longestFailureMs } = probeReport(probes, from, end);
  const consumer = outputs[0]?.consumer ?? '';
  const { lost, duplicated, reordered, outputsLost, outputsDuplicated, stateMatches, confirmed } = verdict;
  return {
    ...nodes,
    strategy: migration?.status?.strategy ?? '',
    totalSeconds: totalSeconds(migration) ?? (migrated.to - from) / 1000,
    phaseSeconds: phaseSeconds(migration),
    ...{ probes: sum, failedProbes: failed, downtimeMs: Math.round(longestFailureMs) },
    gapMs: Math.round(longestGapMs(sent, outputs, from, end)),
    silenceMs: Math.round(longestSilenceMs(outputs, consumer, from, end)),
    before: {
      failedProbes: probeReport(probes, since, from).failed,
      gapMs: Math.round(longestGapMs(sent, outputs, since, from - 1)),
    },
    ...{ confirmed, lost, duplicated, reordered, outputsLost, outputsDuplicated, stateMatches },
    reconnects: states.reduce((most, { connections }) => Math.max(most, connections - 1), 0),
    pods: states.length,
    bytes: (migration?.status?.handoffs ?? []).reduce((all, { bytes = 0 }) => all + bytes, 0),
  };
};

const outcomeOf = ({ end }: Migrated, measured: Measured): Outcome =>
  end.kind === 'completed'
    ? { outcome: 'measured', ...measured }
    : { outcome: 'failed', code: end.code, message: end.message, ...measured };

/** After the load has ended. An app that is not there any more, or never done, is a result. */
const judged = async (site: Site, load: Load, migrated: Migrated, nodes: Nodes): Promise<Outcome> => {
  try {
    return outcomeOf(migrated, measuredOf(load, migrated, nodes, await drain(site, load)));
  } catch (error) {
    site.signal.throwIfAborted();
    const { end } = migrated;
    const { code, message } = end.kind === 'completed' ? { code: 'SHADOW_E_INTERNAL', message: 'completed' } : end;
    return { outcome: 'failed', code, message: `${message}; afterwards: ${(error as Error).message}` };
  }
};

const underLoad = async (
  site: Site,
  broker: ChannelModel,
  key: RunKey,
  pod: string,
  nodes: Nodes,
): Promise<Outcome> => {
  const outputs = await collectOutputs(await broker.createChannel());
  const producer = new Producer(await broker.createConfirmChannel(), { rate: key.rate, burst: key.rate });
  const producing = producer.run();
  const prober = startProber(await probedAddress(site.kube));
  try {
    await until('the consumer to work', 30_000, async () => outputs.length > 0, 50);
    const since = performance.now();
    await sleep(STEADY_MS, undefined, { signal: site.signal });
    const spec = specOf(key.config, pod, nodes.to);
    const migrated = await migrate(site.kube, migrationName(key.config), spec, MIGRATION_MS, site.signal);
    const { end } = migrated;
    if (end.kind === 'unsupported') return { outcome: 'unsupported', code: end.code, message: end.message };
    await sleep(STEADY_MS, undefined, { signal: site.signal });
    await prober.stop();
    producer.stop();
    await producing;
    return await judged(site, { producer, outputs, probes: prober.probes, since }, migrated, nodes);
  } finally {
    producer.stop();
    await prober.stop();
    await producing;
  }
};

/**
 * Clears away first what an earlier run left, and leaves its own. Rejects where nothing can be said of the migration: the
 * cluster, the broker or the app were not as they should be.
 */
export const runOnce = async (site: Site, key: RunKey): Promise<Outcome> => {
  const broker = await connect(site.brokerUrl);
  broker.on('error', (error: Error) => site.log(`Broker: ${error.message}`));
  try {
    const channel = await broker.createChannel();
    await clear(site.kube, channel);
    const pod = await deploy(site.kube, channel, key);
    const from = pod.spec?.nodeName ?? '';
    const to = await otherNode(site.kube, from);
    return await underLoad(site, broker, key, pod.metadata?.name ?? '', { from, to });
  } finally {
    await broker.close().catch(() => undefined);
  }
};
