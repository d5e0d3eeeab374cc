/** Manifests of the reference implementation, as they are: on a pod with the sidecar, and on one without. */
import type { V1Deployment, V1Pod, V1Service, V1StatefulSet } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apply, getPod, listMigrations, otherNode, waitReady } from '../../scripts/demonstration/kube.ts';
import { probeReport, startProber } from '../../scripts/demonstration/prober.ts';
import { until } from '../../scripts/demonstration/until.ts';
import { brokerUrl } from '../../scripts/playground/lib.ts';
import {
  GROUP,
  isEnded,
  KIND,
  type MigrationSpec,
  PLURAL,
  type StatefulMigration,
  VERSION,
} from '../../webhook/api/migration.ts';
import { LABEL } from '../../webhook/api/names.ts';
import { connectBroker } from '../../webhook/controller/ms2m/amqp.ts';
import { queuesOf } from '../../webhook/controller/ms2m/queues.ts';
import type { Ms2mState } from './apps/ms2m/counting.ts';
import { appSet, BROKER } from './support/apps.ts';
import { type Bed, closeBed, nodeOf, openBed } from './support/bed.ts';
import { settledLeftovers } from './support/leftovers.ts';

type Told = Ms2mState & { instance: string; hostname: string };

let bed: Bed;
beforeAll(async () => {
  bed = await openBed('shadow-test-ms2m');
});
afterAll(() => closeBed(bed));

/** What a killed run has left would be this one's. */
const forgotten = async (name: string): Promise<void> => {
  const channel = await bed.broker.createChannel();
  for (const queue of [...Object.values(queuesOf(name)), `ms2m.control.${name}-0`]) await channel.deleteQueue(queue);
  await channel.deleteExchange(`${name}.fanout`);
  await channel.close();
};

const setOf = (name: string, injected: boolean): V1StatefulSet => {
  const set = appSet({ topic: name, mode: '', namespace: bed.namespace });
  const template = set.spec!.template;
  template.metadata!.labels = { ...template.metadata!.labels, [LABEL.inject]: String(injected) };
  const [container] = template.spec!.containers;
  container!.args = ['--max-old-space-size=64', '/app/examples/ms2m.cjs'];
  const env = { AMQP_URL: BROKER, QUEUE: name, EXCHANGE: `${name}.fanout`, WORK_MS: '5' };
  container!.env = Object.entries(env).map(([key, value]) => ({ name: key, value }));
  return set;
};

/** The port by its name. */
const serviceOf = (name: string): V1Service => ({
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: bed.namespace } },
  spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 'http-8080' }] },
});

/** Through the Service, every 10 ms on a connection of its own; answers how many were not served, and of how many. */
const probing = async (name: string): Promise<() => Promise<{ failed: number; probes: number }>> => {
  await apply(bed.kube, [serviceOf(name)]);
  const service = await bed.kube.core.readNamespacedService({ namespace: bed.namespace, name });
  const url = `http://${service.spec?.clusterIP}/`;
  await until(`Service ${name} to answer`, 30_000, async () => {
    const response = await fetch(url, { signal: AbortSignal.timeout(500) });
    return response.ok || undefined;
  });
  const prober = startProber(url);
  return async () => {
    // kube-proxy may be late.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const end = performance.now();
    await prober.stop();
    return probeReport(prober.probes, 0, end);
  };
};

const deploy = async (name: string, injected: boolean): Promise<void> => {
  await forgotten(name);
  await apply(bed.kube, [setOf(name, injected)]);
  await waitReady(bed.kube, bed.namespace, `${name}-0`);
};

/** As the reference's evaluation writes it. */
const specFor = async (
  name: string,
  more: Partial<MigrationSpec> = {},
  sourcePod = `${name}-0`,
): Promise<MigrationSpec> => ({
  sourcePod,
  targetNode: await otherNode(bed.kube, await nodeOf(bed, sourcePod)),
  checkpointImageRepository: 'registry.registry.svc.cluster.local:5000/checkpoints',
  replayCutoffSeconds: 120,
  messageQueueConfig: { queueName: name, brokerUrl: `${BROKER}/`, exchangeName: `${name}.fanout` },
  ...more,
});

const told = (name: string): Promise<Told> =>
  until(`the state of ${name}-0`, 30_000, async () => {
    const ip = (await getPod(bed.kube, bed.namespace, `${name}-0`))?.status?.podIP;
    return (await (await fetch(`http://${ip}:8080/`, { signal: AbortSignal.timeout(2_000) })).json()) as Told;
  });

/** About 60 a second, until it is stopped; answers how many there were. */
const produce = async (exchange: string): Promise<() => Promise<number>> => {
  const channel = await bed.broker.createConfirmChannel();
  await channel.assertExchange(exchange, 'fanout', { durable: true });
  let [n, over] = [0, false];
  const publishing = (async () => {
    while (!over) {
      n++;
      channel.publish(exchange, '', Buffer.from(JSON.stringify({ producer: 'p', n })), { persistent: true });
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 33));
    }
    await channel.waitForConfirms();
    await channel.close();
  })();
  return async () => {
    over = true;
    await publishing;
    return n;
  };
};

const migration = async (name: string): Promise<StatefulMigration> =>
  (await listMigrations(bed.kube, bed.namespace)).find(({ metadata }) => metadata.name === name)!;

const applied = async (name: string, spec: MigrationSpec): Promise<StatefulMigration> => {
  const metadata = { name, namespace: bed.namespace };
  await apply(bed.kube, [{ apiVersion: `${GROUP}/${VERSION}`, kind: KIND, metadata, spec } as never]);
  return until(`migration ${name} to end`, 150_000, async () => {
    const seen = await migration(name);
    return isEnded(seen) ? seen : undefined;
  });
};

const expectMoved = async (name: string, spec: MigrationSpec, strategy: string): Promise<void> => {
  const before = await told(name);
  const stop = await produce(`${name}.fanout`);
  await until('messages', 30_000, async () => (await told(name)).processed > before.processed + 20);
  const { status } = await applied(name, spec);
  expect(status?.error).toBeUndefined();
  expect(status).toMatchObject({ phase: 'Completed', strategy, statefulSetName: name, targetPod: `${name}-0-shadow` });
  const published = await stop();
  const after = await until('all messages', 60_000, async () => {
    const now = await told(name);
    return (now.last.p ?? 0) >= published ? now : undefined;
  });
  expect(after).toMatchObject({
    instance: before.instance,
    hostname: `${name}-0`,
    violations: [],
    processed: published,
  });
  expect(await nodeOf(bed, `${name}-0`)).toBe(spec.targetNode);
  expect(await settledLeftovers(bed)).toEqual([]);
};

const expectNothingBeside = async (name: string): Promise<void> => {
  const broker = await connectBroker(brokerUrl());
  const { primary, ...beside } = queuesOf(name);
  expect(await broker.depth(primary)).toMatchObject({ consumers: 1 });
  for (const queue of Object.values(beside)) expect(await broker.depth(queue), queue).toBeUndefined();
  await broker.close();
};

/** Deleted when it has ended: the pod stays what it is. */
const expectKept = async (name: string): Promise<void> => {
  const uid = (await getPod(bed.kube, bed.namespace, `${name}-0`))?.metadata?.uid;
  await bed.kube.custom.deleteNamespacedCustomObject({
    ...{ group: GROUP, version: VERSION, namespace: bed.namespace, plural: PLURAL, name },
  });
  await until(`migration ${name} to be gone`, 20_000, async () => (await migration(name)) === undefined);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const pod = await getPod(bed.kube, bed.namespace, `${name}-0`);
  expect(pod?.metadata).toMatchObject({ uid });
  expect(pod?.metadata?.deletionTimestamp).toBeUndefined();
};

describe("the reference's manifest, applied as it is,", () => {
  it('moves a pod without the sidecar by Sequential, exactly; deleted then, it leaves the pod', async () => {
    await deploy('bare', false);
    expect((await getPod(bed.kube, bed.namespace, 'bare-0'))?.spec?.initContainers).toBeUndefined();
    await expectMoved('bare', await specFor('bare'), 'Sequential');
    await expectNothingBeside('bare');
    await expectKept('bare');
  });

  it('moves a pod with the sidecar', async () => {
    await deploy('with', true);
    await expectMoved('with', await specFor('with'), 'ShadowPodSwap');
    await expectKept('with');
    const shadow = { migrationStrategy: 'ShadowPod', identitySwapMode: 'ExchangeFence' } as const;
    const { status } = await applied('again', await specFor('with', shadow));
    expect(status).toMatchObject({ phase: 'Completed', strategy: 'ShadowPodSwap', replacementPod: 'with-0' });
  });

  it.each(['ExchangeFence', 'Cutoff'] as const)(
    'moves a pod without the sidecar by ShadowPod and %s, while it serves, exactly; no request finds nobody',
    async (identitySwapMode) => {
      const name = `beside-${identitySwapMode.toLowerCase()}`;
      await deploy(name, false);
      const stop = await probing(name);
      const spec = await specFor(name, { migrationStrategy: 'ShadowPod', identitySwapMode });
      await expectMoved(name, spec, 'ShadowPod');
      const { failed, probes } = await stop();
      console.log(`${identitySwapMode}: ${failed} of ${probes} probes failed`);
      expect(failed).toBe(0);
      expect(probes).toBeGreaterThan(500);
      await expectNothingBeside(name);
    },
  );

  it('moves a pod of a Deployment so, too', async () => {
    const name = 'replaced';
    await forgotten(name);
    const { metadata, spec: set } = setOf(name, false);
    const spec = { replicas: 1, selector: set!.selector, template: set!.template };
    await apply(
      bed.kube,
      [{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: metadata! } satisfies V1Deployment].map((one) => ({
        ...one,
        spec,
      })),
    );
    const stop = await probing(name);
    const only = (): Promise<V1Pod> =>
      until(`the pod of ${name}`, 30_000, async () => {
        const { items } = await bed.kube.core.listNamespacedPod({
          ...{ namespace: bed.namespace, labelSelector: `app=${name}` },
        });
        const [pod, other] = items.filter(
          ({ metadata: { deletionTimestamp } = {} }) => deletionTimestamp === undefined,
        );
        return other === undefined ? pod : undefined;
      });
    const source = (await only()).metadata!.name!;
    const ending = await produce(`${name}.fanout`);
    const { status } = await applied(
      name,
      await specFor(name, { migrationStrategy: 'ShadowPod', identitySwapMode: 'ExchangeFence' }, source),
    );
    expect(status?.error).toBeUndefined();
    expect(status).toMatchObject({ phase: 'Completed', strategy: 'ShadowPod' });
    const published = await ending();
    const pod = await only();
    expect(pod.metadata?.name).not.toBe(source);
    const after = await until('all messages', 60_000, async () => {
      const response = await fetch(`http://${pod.status?.podIP}:8080/`, { signal: AbortSignal.timeout(2_000) });
      const now = (await response.json()) as Told;
      return (now.last.p ?? 0) >= published ? now : undefined;
    });
    expect(after).toMatchObject({ violations: [], processed: published });
    const { failed, probes } = await stop();
    console.log(`Deployment: ${failed} of ${probes} probes failed`);
    expect(failed).toBe(0);
    expect(await settledLeftovers(bed)).toEqual([]);
    const channel = await bed.broker.createChannel();
    await channel.deleteQueue(`ms2m.control.${pod.metadata?.name}`);
    await channel.close();
  });

  it('refuses by name what is missing', async () => {
    const missing = { messageQueueConfig: { queueName: 'bare', brokerUrl: `${BROKER}/` } };
    const { status } = await applied('partial', await specFor('bare', missing));
    expect(status?.error?.message).toContain('spec.messageQueueConfig.exchangeName is empty');
  });
});
