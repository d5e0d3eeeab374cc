/**
 * From the release before, really built and really run: its installation is brought to this version under load, its sidecars
 * serve on and are migrated, exactly, by the new controller; what is older than that is refused by name.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type KubernetesObject, PatchStrategy } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, it, type TestContext } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { apply, getPod, orMissing, waitReady } from '../../scripts/demonstration/kube.ts';
import { runPlugin } from '../../scripts/demonstration/migrate.ts';
import { ensureUp, kubeconfigPath } from '../../scripts/playground/lib.ts';
import { GROUP, PLURAL, VERSION } from '../../webhook/api/migration.ts';
import { ANNOTATION, CONTROLLER, NAMESPACE, SIDECAR, WEBHOOK } from '../../webhook/api/names.ts';
import { appSet } from './support/apps.ts';
import {
  type Bed,
  closeBed,
  deployApp,
  finish,
  instances,
  migrateAway,
  openBed,
  openLoad,
  plugin,
  type Spec,
} from './support/bed.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { declareTopic, EXACT, type Load } from './support/load.ts';
import { bundled, noHistory, ownTree, PREVIOUS, previousPlugin, previousTree, provide } from './support/previous.ts';

const OWN = packageJson.version;
/** Made of the previous release's sources: nothing but the version it tells is older. */
const ANCIENT = '0.0.9';
const imageOf = (version: string): string => `localhost/kubectl-shadow:${version}`;
const SPEC: Spec = { topic: 'vintage', mode: 'sequential', prefetch: 20 };
const OLD: Spec = { topic: 'ancient', mode: 'sequential' };
const POD = 'vintage-0';
const STRAY = { name: 'shadow-of-old', namespace: NAMESPACE };

const kubeconfig = kubeconfigPath();
const shadow = (...args: string[]) => runPlugin(args, { kubeconfig, timeoutMs: 250_000 });
let missing: string | undefined;
let tree: string | undefined;
let bed: Bed;
let load: Load;
let before: string[];

/** What no release has any more, as one that had it left it. */
const seed = (): Promise<unknown> => {
  const object: KubernetesObject & { data: object } = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { ...STRAY, labels: { 'app.kubernetes.io/name': 'kubectl-shadow' } },
    data: {},
  };
  return bed.kube.objects.patch(object, undefined, undefined, 'kubectl-shadow', true, PatchStrategy.ServerSideApply);
};

beforeAll(async () => {
  await ensureUp({ log: (line) => console.error(line) });
  missing = await noHistory();
  if (missing !== undefined) return;
  tree = await previousTree();
  await bundled(tree, ANCIENT);
  await provide(tree, imageOf(ANCIENT));
  await bundled(tree, PREVIOUS);
  await provide(tree, imageOf(PREVIOUS));
  await provide(ownTree, imageOf(OWN));
  expect(await shadow('uninstall', '--yes', '--force')).toMatchObject({ exit: 0 });
  const { code, stderr } = await previousPlugin(tree, kubeconfig, 'install', '--image', imageOf(PREVIOUS));
  expect(code, stderr).toBe(0);
  bed = await openBed('shadow-test-upgrade');
  await seed();
  await deployApp(bed, SPEC);
  load = await openLoad(bed, SPEC, { rate: 30 });
  load.start();
  await load.flowing();
  before = await instances(bed, SPEC);
});
afterAll(async () => {
  if (bed !== undefined) await closeBed(bed);
  if (tree !== undefined) {
    rmSync(tree, { recursive: true, force: true });
    // The other tests have their installation by the name that the playground gives it.
    await shadow('uninstall', '--yes', '--force');
  }
  await ensureUp({ log: () => undefined });
});

const needed = (context: TestContext): void => {
  if (missing !== undefined) context.skip(missing);
};

const sidecarOf = async (pod: string) => {
  const found = await getPod(bed.kube, bed.namespace, pod);
  const statuses = [...(found?.status?.initContainerStatuses ?? []), ...(found?.status?.containerStatuses ?? [])];
  const { imageID, restartCount } = statuses.find(({ name }) => name === SIDECAR.container) ?? {};
  return { imageID, restartCount, version: found?.metadata?.annotations?.[ANNOTATION.version] };
};
const imagesInstalled = async (): Promise<(string | undefined)[]> =>
  Promise.all(
    [WEBHOOK, CONTROLLER].map(async (name) => {
      const { spec } = await bed.kube.apps.readNamespacedDeployment({ namespace: NAMESPACE, name });
      return spec?.template.spec?.containers[0]?.image;
    }),
  );

it('an upgrade is refused while a migration runs, and changes nothing', async (context) => {
  needed(context);
  // Without a controller it runs for as long as is needed.
  const scaled = (replicas: number) =>
    bed.kube.apps.patchNamespacedDeploymentScale({
      ...{ namespace: NAMESPACE, name: CONTROLLER, body: [{ op: 'replace', path: '/spec/replicas', value: replicas }] },
    });
  await scaled(0);
  await expect
    .poll(
      async () => {
        const labelSelector = 'app.kubernetes.io/component=controller';
        return (await bed.kube.core.listNamespacedPod({ namespace: NAMESPACE, labelSelector })).items.length;
      },
      { timeout: 60_000 },
    )
    .toBe(0);
  const at = { group: GROUP, version: VERSION, plural: PLURAL, namespace: bed.namespace };
  const body = {
    apiVersion: `${GROUP}/${VERSION}`,
    kind: 'StatefulMigration',
    metadata: { name: 'endless', namespace: bed.namespace },
    spec: { sourcePod: POD },
  };
  await bed.kube.custom.createNamespacedCustomObject({ ...at, body });
  const refused = await shadow('upgrade');
  expect(refused.exit).toBe(1);
  expect(refused.stderr).toMatch(/SHADOW_E_IN_USE/);
  expect(refused.stderr).toContain('endless');
  expect(await imagesInstalled()).toEqual([imageOf(PREVIOUS), imageOf(PREVIOUS)]);
  await bed.kube.custom.deleteNamespacedCustomObject({ ...at, name: 'endless' });
  await scaled(2);
});

it('brings all parts to this version, prunes, and says which pods are left with their sidecars', async (context) => {
  needed(context);
  const sidecar = await sidecarOf(POD);
  const { exit, stdout, stderr } = await shadow('upgrade');
  expect(exit, stderr).toBe(0);
  expect(stdout).toContain(`configmap/${STRAY.name} pruned`);
  expect(await orMissing(bed.kube.core.readNamespacedConfigMap(STRAY))).toBeUndefined();
  expect(stderr).toMatch(/agents +0\.1\.0 \(2 nodes\)/);
  expect(stderr).toMatch(/vintage-0 +0\.1\.0 +yes +kubectl rollout restart statefulset\/vintage/);
  expect(await imagesInstalled()).toEqual([imageOf(OWN), imageOf(OWN)]);
  const { items } = await bed.kube.core.listNamespacedPod({ namespace: NAMESPACE });
  // Webhooks that leave still answer for a moment.
  for (const { metadata, spec } of items.filter((pod) => pod.metadata?.deletionTimestamp === undefined)) {
    expect(spec?.containers[0]?.image, metadata?.name).toBe(imageOf(OWN));
    expect(metadata?.labels).toMatchObject({ 'app.kubernetes.io/version': OWN });
  }
  expect(await sidecarOf(POD)).toEqual(sidecar);
  const check = await shadow('check', '-o', 'json', '-n', bed.namespace, '--wait', '--timeout', '60s');
  expect(check.exit, check.stdout).toBe(0);
  expect(JSON.parse(check.stdout).checks).toContainEqual(expect.objectContaining({ id: 'versions', outcome: 'pass' }));
});

it('a sidecar of the release before comes back to the new controller, and check says it is older', async (context) => {
  needed(context);
  const { exit, stdout } = await plugin(bed, 'check', `pod/${POD}`, '--wait', '--timeout', '60s');
  expect(exit, stdout).toBe(0);
  expect(stdout).toMatch(new RegExp(`its sidecar is ${PREVIOUS.replaceAll('.', '\\.')}, the controller`));
});

it.for(['ShadowPodSwap', 'StopAndCopy'] as const)('its pod is migrated by %s, exactly', async (strategy, context) => {
  needed(context);
  const source = await sidecarOf(POD);
  const { exit, stderr, migration } = await migrateAway(bed, POD, strategy);
  expect(exit, stderr).toBe(0);
  expect(migration?.status?.versions).toMatchObject({ controller: OWN, sidecar: PREVIOUS });
  // Both sides of a handoff are the one process: its image is the source's, and the version that the pod tells.
  expect(await sidecarOf(POD)).toEqual({ ...source, version: PREVIOUS });
  expect(await instances(bed, SPEC)).toEqual(before);
});

it('no message was lost, doubled or out of order through all of it', async (context) => {
  needed(context);
  expect(await finish(bed, SPEC, load)).toMatchObject({ ...EXACT, reordered: 0 });
  expect(await settledLeftovers(bed)).toEqual([]);
});

it('made anew, the pod has the sidecar of this version', async (context) => {
  needed(context);
  await bed.kube.core.deleteNamespacedPod({ namespace: bed.namespace, name: POD });
  await expect.poll(async () => (await sidecarOf(POD)).version, { timeout: 60_000 }).toBe(OWN);
  await waitReady(bed.kube, bed.namespace, POD);
  const { stderr } = await shadow('upgrade');
  expect(stderr).toContain('kubectl-shadow is ready');
  expect(stderr).not.toContain(POD);
});

it('an older sidecar is refused by name, and its pod left alone', async (context) => {
  needed(context);
  const file = join(tmpdir(), `shadow-ancient-${process.pid}.json`);
  writeFileSync(file, JSON.stringify(appSet({ ...OLD, namespace: bed.namespace })));
  try {
    await declareTopic(bed.channel, OLD.topic);
    const injected = await shadow('inject', '-f', file, '--image', imageOf(ANCIENT), '-o', 'json');
    await apply(bed.kube, [JSON.parse(injected.stdout) as KubernetesObject]);
    await waitReady(bed.kube, bed.namespace, 'ancient-0');
  } finally {
    rmSync(file);
  }
  await expect
    .poll(async () => (await plugin(bed, 'migrate', 'pod/ancient-0')).stderr, { timeout: 90_000, interval: 3_000 })
    .toMatch(/SHADOW_E_SKEW/);
  const { exit, stderr } = await plugin(bed, 'migrate', 'pod/ancient-0');
  expect(exit).toBe(1);
  expect(stderr).toMatch(/its sidecar is 0\.0\.9, more than one minor version before the controller's/);
  expect((await sidecarOf('ancient-0')).restartCount).toBe(0);
  expect((await plugin(bed, 'check', 'pod/ancient-0')).stdout).toContain('shadow_e_skew');
});
