/** The client matrix: each client, on each broker, moved under load. Invariants 1-3, and none of them notices. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { brokerSeries, importEverywhere, restartBroker } from '../../scripts/playground/lib.ts';
import { SERIES, type Series } from '../../scripts/playground/rabbitmq.ts';
import type { Strategy } from '../../webhook/api/migration.ts';
import { CLIENT, CLIENTS, type ClientName } from '../clients/clients.ts';
import type { WorkerSnapshot } from '../clients/worker.ts';
import {
  type Bed,
  closeBed,
  deployApp,
  finish,
  migrateAway,
  nodeOf,
  openBed,
  openLoad,
  readStates,
  removeApp,
  restartUnder,
  type Spec,
} from './support/bed.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { EXACT } from './support/load.ts';

/** Messages a second for one client: busy, but not behind. Two cores carry the whole cluster. */
const RATE = 40;

/** For all clients together, while the broker restarts. */
const RESTART_RATE = 500;
/** How long, before it goes and after it is back. */
const LOADED_MS = 4000;

/** What differs from version to version is what is recorded and played; of the other strategy one version tells enough. */
const STRATEGIES: Readonly<Record<Series, readonly Strategy[]>> = {
  3: ['ShadowPodSwap', 'StopAndCopy'],
  4: ['ShadowPodSwap'],
};

const specOf = (client: ClientName): Spec => ({ topic: `client-${client}`, mode: 'sequential', client });

/** What must be the same afterwards: its memory, and that it saw its connection live on. */
const lineOf = async (bed: Bed, spec: Spec) => {
  const [state] = (await readStates(bed, spec)) as unknown as WorkerSnapshot[];
  return { instance: state?.instance, startedAt: state?.startedAt, reconnects: state?.reconnects };
};

const use = async (series: Series): Promise<void> => {
  if (brokerSeries() !== series) await restartBroker(series);
};

describe.each(SERIES)('RabbitMQ %s:', (series) => {
  const before = brokerSeries();
  let bed: Bed | undefined;
  beforeAll(async () => {
    await use(series);
    bed = await openBed('shadow-test-clients');
    for (const name of CLIENTS) {
      const image = await CLIENT[name].image?.();
      if (image) await importEverywhere(image);
    }
  });
  afterAll(async () => {
    await closeBed(bed);
    await use(before);
  });

  const titled = CLIENTS.map((name) => ({ name, title: CLIENT[name].title }));
  it.concurrent.for(titled)('$name: $title', async ({ name }, { onTestFinished }) => {
    const spec = specOf(name);
    const here = bed!;
    await deployApp(here, spec);
    const pod = `${spec.topic}-0`;
    const line = await lineOf(here, spec);
    expect(line).toMatchObject({ reconnects: 0 });
    const load = await openLoad(here, spec, { rate: RATE });
    onTestFinished(() => load.stop());
    load.start();
    await load.flowing();
    for (const strategy of STRATEGIES[series]) {
      const { exit, stderr, migration, target } = await migrateAway(here, pod, strategy);
      const said = JSON.stringify([stderr, migration?.status]);
      expect({ exit, ...migration?.status }, said).toMatchObject({ exit: 0, phase: 'Completed', strategy });
      expect(await nodeOf(here, pod)).toBe(target);
      await load.flowing();
    }
    expect(await finish(here, spec, load)).toMatchObject({ ...EXACT, reordered: 0 });
    expect(await lineOf(here, spec)).toEqual(line);
  });

  it('and nothing of a migration is left', async () => {
    expect(await settledLeftovers(bed!)).toEqual([]);
    await Promise.all(CLIENTS.map((name) => removeApp(bed!, specOf(name))));
  });

  it('no client notices that the broker restarts under load', async () => {
    const here = bed!;
    const loads = await Promise.all(
      CLIENTS.map(specOf).map(async (spec) => {
        await deployApp(here, spec);
        return { spec, load: await openLoad(here, spec, { rate: RESTART_RATE / CLIENTS.length }) };
      }),
    );
    const all = <T>(act: (each: (typeof loads)[number]) => Promise<T>): Promise<T[]> => Promise.all(loads.map(act));
    const lines = await all(({ spec }) => lineOf(here, spec));
    onTestFinished(async () => void (await all(({ load }) => load.stop())));
    for (const { load } of loads) load.start();
    await all(({ load }) => load.flowing());
    await sleep(LOADED_MS);
    await all(({ load }) => load.deafen());
    await restartUnder(here);
    await all(({ load }) => load.rejoin(here.broker));
    await all(({ load }) => load.flowing());
    await sleep(LOADED_MS);
    const findings = await all(async ({ spec, load }) => ({ spec, ...(await finish(here, spec, load)) }));
    // The broker hands out again what was not settled; whether it is applied again is its client's business.
    for (const finding of findings) expect(finding).toMatchObject({ lost: 0, outputsLost: 0, stateMatches: true });
    expect(await all(({ spec }) => lineOf(here, spec))).toEqual(lines);
    await all(({ spec }) => removeApp(here, spec));
  });
});
