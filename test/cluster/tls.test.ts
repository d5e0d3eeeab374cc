/** A broker spoken to over TLS: the sidecar opens a connection of its own, and the app's plain one lives on. Invariants 1-3. */
import type { V1Secret } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { apply } from '../../scripts/demonstration/kube.ts';
import { brokerCa, rabbitmqctl } from '../../scripts/playground/lib.ts';
import { ANNOTATION, TLS_FILE } from '../../webhook/api/names.ts';
import {
  type Bed,
  closeBed,
  deployApp,
  finish,
  instances,
  migrateAway,
  openBed,
  openLoad,
  removeApp,
  type Spec,
} from './support/bed.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { EXACT } from './support/load.ts';

const SECRET = 'broker-ca';
const SPEC: Spec = {
  topic: 'tls',
  mode: 'sequential',
  env: { AMQP_URL: 'amqps://shadow:shadow@rabbitmq.rabbitmq.svc.cluster.local' },
  annotations: { [ANNOTATION.brokerTls]: SECRET },
};

/** The broker's connections over TLS. */
const tlsConnections = async (): Promise<number> => {
  const { stdout } = await rabbitmqctl(['-q', 'list_connections', 'ssl']);
  return stdout.split('\n').filter((line) => line.trim() === 'true').length;
};

describe('an app whose URL is amqps://', () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await openBed('shadow-test-tls');
    const secret: V1Secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: SECRET, namespace: bed.namespace },
      stringData: { [TLS_FILE.ca]: brokerCa() },
    };
    await apply(bed.kube, [secret]);
  });
  afterAll(() => closeBed(bed));

  it('is moved by either strategy, and nothing is lost, repeated or reordered', async () => {
    await deployApp(bed, SPEC);
    const before = await instances(bed, SPEC);
    const load = await openLoad(bed, SPEC, { rate: 40 });
    onTestFinished(() => load.stop());
    load.start();
    await load.flowing();
    // Nobody but the sidecar connects there.
    const peers = await tlsConnections();
    expect(peers).toBeGreaterThan(0);
    for (const strategy of ['ShadowPodSwap', 'StopAndCopy'] as const) {
      const { exit, stderr, migration } = await migrateAway(bed, `${SPEC.topic}-0`, strategy);
      expect({ strategy, exit, stderr, ...migration?.status }).toMatchObject({ exit: 0, phase: 'Completed', strategy });
      await load.flowing();
      expect(await tlsConnections()).toBe(peers);
    }
    expect(await finish(bed, SPEC, load)).toMatchObject(EXACT);
    expect(await instances(bed, SPEC)).toEqual(before);
    expect(await settledLeftovers(bed)).toEqual([]);
    await removeApp(bed, SPEC);
  });
});
