/** Every client of the matrix through the relay: what it is given and what it says are what they are without one. */

import { expect, it, onTestFinished } from 'vitest';
import { until } from '../../scripts/demonstration/until.ts';
import { freePort } from '../../scripts/playground/ports.ts';
import { CLIENT, CLIENTS, type ClientName } from '../clients/clients.ts';
import { startWorker, type Worker } from '../clients/local.ts';
import { declareTopic, EXACT, Load } from '../cluster/support/load.ts';
import { expectDrained, sleep, useBroker } from './support/harness.ts';

const harness = useBroker({ reattachMs: 60_000 });
const RATE = 150;
/** For all clients together, while the broker crashes. */
const CRASH_RATE = 500;
const FOR_MS = 3000;

/** The first time a worker is made, from packages that have to be fetched. */
const BUILD_MS = 600_000;

const start = async (name: ClientName): Promise<{ topic: string; worker: Worker; instance: string }> => {
  const topic = `client-${name}`;
  await declareTopic(await (await harness.outside()).createChannel(), topic);
  const url = `amqp://guest:guest@127.0.0.2:${harness.broker.port}/%2f`;
  const worker = await startWorker(name, { url, topic, port: await freePort() });
  onTestFinished(() => worker.stop());
  const { instance } = await until('it to consume', 30_000, () => worker.state());
  return { topic, worker, instance };
};

it.each(CLIENTS.map((name) => [name, CLIENT[name].title] as const))(
  '%s: %s consumes, acks and publishes with confirms, each once and in order',
  async (name) => {
    const { topic, worker, instance } = await start(name);
    const load = await Load.open(await harness.outside(), topic, { rate: RATE });
    load.start();
    await sleep(FOR_MS);
    const finding = await load.finish(async () => [await worker.state()]);
    expect({ ...finding, said: worker.said() }).toMatchObject({ ...EXACT, reordered: 0 });
    expect(finding.confirmed).toBeGreaterThan((RATE * FOR_MS) / 2000);
    expect(await worker.state()).toMatchObject({ instance, reconnects: 0, redelivered: 0 });
    await expectDrained(harness, `${topic}.in`);
  },
  BUILD_MS,
);

it(
  'none notices that the broker crashes and comes back under load, and nothing confirmed is lost',
  async () => {
    const outside = await harness.outside();
    const all = await Promise.all(
      CLIENTS.map(async (name) => {
        const started = await start(name);
        const load = await Load.open(outside, started.topic, { rate: CRASH_RATE / CLIENTS.length });
        load.start();
        return { name, ...started, load };
      }),
    );
    const loads = all.map(({ load }) => load);
    onTestFinished(async () => void (await Promise.all(loads.map((load) => load.stop()))));
    await sleep(FOR_MS);
    await Promise.all(loads.map((load) => load.deafen()));
    await harness.broker.crash();
    await harness.broker.start();
    const again = await harness.outside();
    await Promise.all(loads.map((load) => load.rejoin(again)));
    await Promise.all(loads.map((load) => load.flowing()));
    await sleep(FOR_MS);
    const findings = await Promise.all(
      all.map(async ({ name, worker, load }) => ({
        name,
        ...(await load.finish(async () => [await worker.state()])),
        said: worker.said(),
      })),
    );
    // The broker hands out again what was not settled; whether it is applied again is its client's business.
    for (const finding of findings) expect(finding).toMatchObject({ lost: 0, outputsLost: 0, stateMatches: true });
    const lines = await Promise.all(all.map(({ worker }) => worker.state()));
    expect(lines).toMatchObject(all.map(({ instance }) => ({ instance, reconnects: 0 })));
  },
  BUILD_MS,
);
