/** One run of the demonstration on a cluster that is up: load, migrations under it, drain, proof. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChannelModel, connect } from 'amqplib';
import { EVENTS } from '../../manifests/examples/broker.ts';
import type { Snapshot } from '../../manifests/examples/consumer/state.ts';
import { Producer } from '../../manifests/examples/producer/producer.ts';
import { getPod, type Kube, otherNode } from './kube.ts';
import { type Migrated, migrate, phaseSeconds, totalSeconds } from './migrate.ts';
import { judge, longestGapMs, type SeenOutput } from './oracle.ts';
import { collectOutputs } from './outputs.ts';
import { type Probe, probeReport, startProber } from './prober.ts';
import { type MigrationProof, type Proof, proofOf } from './report.ts';
import { until } from './until.ts';
import { deploy, NAMESPACE, PODS, readStates, remove, restarts, serviceAddress } from './workload.ts';

export interface Run {
  kube: Kube;
  kubeconfig: string;
  brokerUrl: string;
  rate: number;
  migrations: number;
  strategy: string | undefined;
  /** Leaves the workload running at the end. */
  keep: boolean;
  output: 'inherit' | 'stderr';
  log: (line: string) => void;
  /** Aborts the run: what was made is taken down. */
  signal: AbortSignal;
}

const POD = PODS[0];
/** Load before the first migration, and after each: the steady state the gaps are compared with. */
const STEADY_MS = 3000;

interface Done {
  from: string;
  to: string;
  migrated: Migrated;
  error: string | undefined;
}

const migrateOnce = async (run: Run): Promise<Done> => {
  const from = (await getPod(run.kube, NAMESPACE, POD))?.spec?.nodeName ?? '';
  const to = await otherNode(run.kube, from);
  run.log(`Migrating ${POD} from ${from} to ${to} at ${run.rate} messages a second`);
  const migrated = await migrate(
    run.kube,
    { namespace: NAMESPACE, pod: POD, to, strategy: run.strategy },
    { kubeconfig: run.kubeconfig, output: run.output, signal: run.signal },
  );
  const now = (await getPod(run.kube, NAMESPACE, POD))?.spec?.nodeName;
  const phase = migrated.migration?.status?.phase;
  if (migrated.exit === 0 && phase === 'Completed' && now === to) return { from, to, migrated, error: undefined };
  const why = migrated.migration?.status?.error?.message ?? migrated.stderr.trim();
  return { from, to, migrated, error: `exit ${migrated.exit}, phase ${phase}, now on ${now}: ${why}` };
};

/** Applied and answered by everyone, as far as it still moves. */
const drain = async (run: Run, producer: Producer, outputs: readonly SeenOutput[]): Promise<Snapshot[]> => {
  const progress = async (): Promise<string> => {
    const states = await readStates(run.kube);
    return [...states.map(({ count }) => count), outputs.length].join(' ');
  };
  await until('every confirmed message to be answered', 60_000, async () => {
    return new Set(outputs.map(({ seq }) => seq)).size >= producer.confirmed.size;
  }).catch((error: Error) => run.log(error.message));
  let before = '';
  await until(
    'the replicas to come to rest',
    60_000,
    async () => {
      const now = await progress();
      const same = now === before;
      before = now;
      return same;
    },
    1500,
  );
  return readStates(run.kube);
};

/** Apps that are not the process they were. */
const replaced = (before: readonly Snapshot[], after: readonly Snapshot[]): number =>
  after.filter(({ instance }) => !before.some((old) => old.instance === instance)).length;

interface Measured {
  done: readonly Done[];
  before: readonly Snapshot[];
  after: readonly Snapshot[];
  restarts: number;
  producer: Producer;
  outputs: readonly SeenOutput[];
  probes: readonly Probe[];
}

const prove = (run: Run, measured: Measured): Proof => {
  const { producer, outputs, after } = measured;
  const verdict = judge({ sent: producer.bodies, confirmed: producer.confirmed, replicas: after, outputs });
  const reconnects = measured.restarts + replaced(measured.before, after);
  return proofOf(
    measured.done.map(({ from, to, migrated, error }): MigrationProof => {
      const end = migrated.to + STEADY_MS;
      return {
        pod: POD,
        from,
        to,
        strategy: migrated.migration?.status?.strategy ?? run.strategy ?? 'Auto',
        rate: run.rate,
        totalSeconds: totalSeconds(migrated.migration) ?? (migrated.to - migrated.from) / 1000,
        longestGapMs: longestGapMs(outputs, POD, migrated.from, end),
        failedProbes: probeReport(measured.probes, migrated.from, end).failed,
        ...verdict,
        reconnects,
        phaseSeconds: phaseSeconds(migrated.migration),
        ...(error === undefined ? {} : { error }),
      };
    }),
  );
};

const underLoad = async (run: Run, broker: ChannelModel): Promise<Proof> => {
  const outputs = await collectOutputs(await broker.createChannel());
  const producer = new Producer(await broker.createConfirmChannel(), { rate: run.rate, burst: 1 });
  const producing = producer.run();
  const prober = startProber(await serviceAddress(run.kube, POD));
  try {
    run.log(`Sending ${run.rate} messages a second to ${EVENTS.exchange}, probing ${POD} every 10 ms`);
    await until('both replicas to answer', 30_000, async () => {
      return PODS.every((name) => outputs.some(({ consumer }) => consumer === name));
    });
    await sleep(STEADY_MS, undefined, { signal: run.signal });
    const before = await readStates(run.kube);
    const done: Done[] = [];
    for (let index = 0; index < run.migrations; index += 1) {
      done.push(await migrateOnce(run));
      run.signal.throwIfAborted();
      await sleep(STEADY_MS, undefined, { signal: run.signal });
      if (done.at(-1)?.error !== undefined) break;
    }
    await prober.stop();
    producer.stop();
    await producing;
    run.log(`${producer.confirmed.size} messages confirmed; waiting until all are applied`);
    const after = await drain(run, producer, outputs);
    const restarted = await restarts(run.kube);
    return prove(run, { done, before, after, restarts: restarted, producer, outputs, probes: prober.probes });
  } finally {
    producer.stop();
    await prober.stop();
  }
};

export const runScenario = async (run: Run): Promise<Proof> => {
  const broker = await connect(run.brokerUrl);
  broker.on('error', (error: Error) => run.log(`Broker: ${error.message}`));
  try {
    const channel = await broker.createChannel();
    run.log('Deploying the example: a StatefulSet of two consumers');
    try {
      await deploy(run.kube, channel);
      return await underLoad(run, broker);
    } finally {
      if (!run.keep) {
        run.log('Removing the example');
        await remove(run.kube, channel);
      }
    }
  } finally {
    await broker.close().catch(() => undefined);
  }
};
