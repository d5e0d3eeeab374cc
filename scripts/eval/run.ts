/** One run: the app from nothing, load, one migration under it, drain, verdict. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChannelModel, connect } from 'amqplib';
import { Producer } from '../../manifests/examples/producer/producer.ts';
import { type Kube, otherNode } from '../demonstration/kube.ts';
import { collectOutputs } from '../demonstration/outputs.ts';
import { startProber } from '../demonstration/prober.ts';
import { until } from '../demonstration/until.ts';
import { specOf } from './configurations.ts';
import { type Load, measuredOf, type Nodes, STEADY_MS } from './measure.ts';
import { type Migrated, migrate } from './migration.ts';
import type { Measured, Outcome, RunKey } from './results.ts';
import { type AppState, clear, deploy, migrationName, probedAddress, readStates } from './workload.ts';

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

const isDrained = ({ confirmed, outputs }: Load, states: readonly AppState[]): boolean => {
  const applied = new Set(states.flatMap(({ list }) => list));
  const told = new Set(outputs.map(({ seq }) => seq));
  return [...confirmed].every((seq) => applied.has(seq) && told.has(seq));
};

/** Resolves when all is applied, or nothing moves any more: then what is missing is lost. */
const drain = async (site: Site, load: Load): Promise<AppState[]> => {
  let before = '';
  let moved = performance.now();
  await until('the backlog to be worked off', DRAIN_MS, async () => {
    if (site.signal.aborted) return true;
    const states = await readStates(site.kube);
    if (isDrained(load, states)) return true;
    const now = [...states.map(({ instance, count }) => `${instance} ${count}`), load.outputs.length].join();
    if (now !== before) moved = performance.now();
    before = now;
    return performance.now() - moved > REST_MS;
  });
  site.signal.throwIfAborted();
  // What comes twice has its time.
  await sleep(1000);
  return readStates(site.kube);
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
    const load: Load = { sent: producer.bodies, confirmed: producer.confirmed, outputs, probes: prober.probes, since };
    return await judged(site, load, migrated, nodes);
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
