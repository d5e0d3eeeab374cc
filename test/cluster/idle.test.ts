/** Invariant 6: without controller and webhook the apps run, and come back. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { apply, deleteNamespace, getPod, waitReady } from '../../scripts/demonstration/kube.ts';
import { until } from '../../scripts/demonstration/until.ts';
import { ANNOTATION, CA, CONTROLLER, LABEL, NAMESPACE, SIDECAR, WEBHOOK } from '../../webhook/api/names.ts';
import { appSet, namespaceObject } from './support/apps.ts';
import { type Bed, closeBed, deployApp, finish, openBed, openLoad, type Spec } from './support/bed.ts';
import { EXACT } from './support/load.ts';

const SPEC: Spec = { topic: 'alone', mode: 'sequential' };
const POD = 'alone-0';
let bed: Bed;

const scale = async (replicas: number): Promise<void> => {
  for (const name of [WEBHOOK, CONTROLLER]) {
    const body = [{ op: 'replace', path: '/spec/replicas', value: replicas }];
    await bed.kube.apps.patchNamespacedDeploymentScale({ namespace: NAMESPACE, name, body });
  }
  await until(`${replicas} replicas of ${WEBHOOK} and ${CONTROLLER}`, 120_000, async () => {
    const deployments = await Promise.all(
      [WEBHOOK, CONTROLLER].map((name) => bed.kube.apps.readNamespacedDeployment({ namespace: NAMESPACE, name })),
    );
    const component = [WEBHOOK, CONTROLLER].map((name) => name.replace('shadow-', '')).join(',');
    const selector = `app.kubernetes.io/component in (${component})`;
    const { items } = await bed.kube.core.listNamespacedPod({ namespace: NAMESPACE, labelSelector: selector });
    return (
      items.length === 2 * replicas && deployments.every(({ status }) => (status?.readyReplicas ?? 0) === replicas)
    );
  });
};

const recreate = async (): Promise<void> => {
  const uid = (await getPod(bed.kube, bed.namespace, POD))?.metadata?.uid;
  await bed.kube.core.deleteNamespacedPod({ namespace: bed.namespace, name: POD });
  await until('its successor', 60_000, async () => {
    const now = (await getPod(bed.kube, bed.namespace, POD))?.metadata?.uid;
    return now !== undefined && now !== uid;
  });
  await waitReady(bed.kube, bed.namespace, POD);
};

const containersOf = async (): Promise<string[]> => {
  const pod = await getPod(bed.kube, bed.namespace, POD);
  return [...(pod?.spec?.initContainers ?? []), ...(pod?.spec?.containers ?? [])].map(({ name }) => name);
};

beforeAll(async () => {
  bed = await openBed('shadow-test-idle');
  await deployApp(bed, SPEC);
});
afterAll(async () => {
  await scale(2);
  await closeBed(bed);
});

it('an opted-in pod is injected, and its app reads its own broker name', async () => {
  const pod = await getPod(bed.kube, bed.namespace, POD);
  expect(await containersOf()).toContain(SIDECAR.container);
  expect(pod?.metadata?.labels?.[LABEL.injected]).toBe('true');
  expect(pod?.metadata?.annotations?.[ANNOTATION.status]).toBe('injected');
});

it('a namespace deleted and made again within seconds has our CA as soon as it has a pod', async () => {
  const namespace = 'shadow-test-again';
  const { spec } = appSet({ ...SPEC, namespace }).spec!.template;
  try {
    for (let turn = 0; turn < 2; turn += 1) {
      await deleteNamespace(bed.kube, namespace);
      await apply(bed.kube, [namespaceObject(namespace)]);
      // Refused until the namespace has its ServiceAccount.
      await until('its pod', 20_000, () =>
        bed.kube.core.createNamespacedPod({ namespace, body: { metadata: { name: 'again' }, spec: spec! } }),
      );
      // At once: a sidecar that starts without it learns of it a minute later.
      await bed.kube.core.readNamespacedConfigMap({ name: CA, namespace });
    }
  } finally {
    await deleteNamespace(bed.kube, namespace);
  }
});

it('with both scaled to 0, traffic flows through the sidecar exactly', async () => {
  await scale(0);
  const load = await openLoad(bed, SPEC, { rate: 80 });
  load.start();
  await load.flowing();
  await new Promise((resolve) => setTimeout(resolve, 5000));
  const finding = await finish(bed, SPEC, load);
  expect(finding).toMatchObject({ ...EXACT, reordered: 0 });
  expect(finding.confirmed).toBeGreaterThan(300);
});

it('a deleted pod comes back uninjected, and works', async () => {
  await recreate();
  expect(await containersOf()).toEqual(['app']);
  const load = await openLoad(bed, SPEC, { rate: 40 });
  load.start();
  await load.flowing();
  await load.stop();
});

it('when they are back, so is the injection', async () => {
  await scale(2);
  await recreate();
  expect(await containersOf()).toContain(SIDECAR.container);
});
