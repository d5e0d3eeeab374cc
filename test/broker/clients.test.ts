/** Every client of the matrix through the relay: what it is given and what it says are what they are without one. */
import { expect, it, onTestFinished } from 'vitest';
import { until } from '../../scripts/demonstration/until.ts';
import { CLIENT, CLIENTS } from '../clients/clients.ts';
import { startWorker } from '../clients/local.ts';
import { declareTopic, EXACT, Load } from '../cluster/support/load.ts';
import { expectDrained, sleep, useBroker } from './support/harness.ts';
import { freePort } from './support/rabbitmq.ts';

const harness = useBroker();
const RATE = 150;
const FOR_MS = 3000;

/** The first time a worker is made, from packages that have to be fetched. */
const BUILD_MS = 600_000;

it.each(CLIENTS.map((name) => [name, CLIENT[name].title] as const))(
  '%s: %s consumes, acks and publishes with confirms, each once and in order',
  async (name) => {
    const outside = await harness.outside();
    const channel = await outside.createChannel();
    const topic = `client-${name}`;
    await declareTopic(channel, topic);
    const url = `amqp://guest:guest@127.0.0.2:${harness.broker.port}/%2f`;
    const worker = await startWorker(name, { url, topic, port: await freePort() });
    onTestFinished(() => worker.stop());
    const { instance } = await until('it to consume', 30_000, () => worker.state());

    const load = await Load.open(outside, topic, { rate: RATE });
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
