/** How a checkpoint travels changes nothing of what arrives: under load, as exact as from agent to agent. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apply, getPod, listMigrations, otherNode } from '../../scripts/demonstration/kube.ts';
import { until } from '../../scripts/demonstration/until.ts';
import { ADDRESS, NODES, type NodeName } from '../../scripts/playground/layout.ts';
import { nodeExec } from '../../scripts/playground/lib.ts';
import { API_VERSION, isEnded, KIND, type MigrationSpec, type StatefulMigration } from '../../webhook/api/migration.ts';
import { REGISTRY } from '../../webhook/api/names.ts';
import { LOGIN, openRegistry, type Registry } from '../node/registry.ts';
import {
  type Bed,
  closeBed,
  deployApp,
  finish,
  instances,
  nodeOf,
  openBed,
  openLoad,
  type Spec,
} from './support/bed.ts';
import { forbidAgentToAgent } from './support/faults.ts';
import { leftovers, settledLeftovers } from './support/leftovers.ts';
import { EXACT, type Load } from './support/load.ts';

const SPEC: Spec = { topic: 'parcel', mode: 'sequential', prefetch: 50 };
const POD = 'parcel-0';
let bed: Bed;
let load: Load;
let registry: Registry;
let before: string[];
/** What a run before this one may have left. */
let found: string[];
const left = async (): Promise<string[]> => (await settledLeftovers(bed)).filter((line) => !found.includes(line));

const secret = (password: string): object => ({
  apiVersion: 'v1',
  kind: 'Secret',
  type: 'kubernetes.io/dockerconfigjson',
  metadata: { name: REGISTRY.secret, namespace: bed.namespace },
  stringData: { '.dockerconfigjson': JSON.stringify({ auths: { [registry.host]: { ...LOGIN, password } } }) },
});

beforeAll(async () => {
  // Where the nodes reach the machine.
  registry = await openRegistry({ address: ADDRESS.host, login: true });
  bed = await openBed('shadow-test-transfers');
  await Promise.all([deployApp(bed, SPEC), apply(bed.kube, [secret(LOGIN.password)])]);
  before = await instances(bed, SPEC);
  found = await leftovers(bed);
  load = await openLoad(bed, SPEC, { rate: 60 });
  load.start();
  await load.flowing();
});
afterAll(async () => {
  await closeBed(bed);
  await registry?.close();
});

let count = 0;
/** By a manifest, as users of the reference do it; resolves when it has ended. */
const migrated = async (spec: MigrationSpec): Promise<StatefulMigration> => {
  const name = `by-manifest-${++count}`;
  const targetNode = await otherNode(bed.kube, await nodeOf(bed, POD));
  const object = {
    apiVersion: API_VERSION,
    kind: KIND,
    metadata: { name, namespace: bed.namespace },
    spec: { sourcePod: POD, targetNode, ...spec },
  };
  await apply(bed.kube, [object]);
  return until(`${name} to end`, 200_000, async () => {
    const found = (await listMigrations(bed.kube, bed.namespace)).find(({ metadata }) => metadata.name === name);
    return found !== undefined && isEnded(found) ? found : undefined;
  });
};
const byRegistry = (): MigrationSpec => ({
  transferMode: 'Registry',
  checkpointImageRepository: `http://${registry.host}/team/checkpoints`,
});

describe('by a registry', () => {
  it.each(['ShadowPodSwap', 'StopAndCopy'] as const)('the pod moves with its memory: %s', async (migrationStrategy) => {
    const from = await nodeOf(bed, POD);
    // Nodes that share a registry need not reach each other.
    const allow = await forbidAgentToAgent(bed);
    const { status } = await migrated({ ...byRegistry(), migrationStrategy }).finally(allow);
    expect({ phase: status?.phase, error: status?.error }).toEqual({ phase: 'Completed', error: undefined });
    expect(await nodeOf(bed, POD)).not.toBe(from);
    expect(await instances(bed, SPEC)).toEqual(before);
    expect(status?.handoffs?.map(({ image }) => image)).toEqual([
      { reference: expect.stringMatching(/\/team\/checkpoints\/parcel-0@sha256:[0-9a-f]{64}$/) },
      undefined,
    ]);
    expect(status?.transferReason).toMatch(/restored by our runtime handler: containerd \d/);
    expect(registry.manifests(`team/checkpoints/${POD}`)).toEqual([]);
    // It was there, though: the storage itself is swept by the registry.
    expect(registry.blobs().length).toBeGreaterThanOrEqual(3);
    expect(await left()).toEqual([]);
    await load.flowing();
  });

  it('that refuses the credentials the pod is not touched', async () => {
    const uid = (await getPod(bed.kube, bed.namespace, POD))?.metadata?.uid;
    await apply(bed.kube, [secret('another')]);
    const { status } = await migrated(byRegistry());
    expect(status).toMatchObject({ phase: 'Failed', error: { code: 'SHADOW_E_REGISTRY_ACCESS' } });
    expect(status?.handoffs).toBeUndefined();
    expect((await getPod(bed.kube, bed.namespace, POD))?.metadata?.uid).toBe(uid);
    await apply(bed.kube, [secret(LOGIN.password)]);
  });

  it('that is not there the pod is not touched', async () => {
    const checkpointImageRepository = `http://${ADDRESS.host}:1/team/checkpoints`;
    const { status } = await migrated({ transferMode: 'Registry', checkpointImageRepository });
    expect(status).toMatchObject({ phase: 'Failed', error: { code: 'SHADOW_E_REGISTRY' } });
    expect(status?.handoffs).toBeUndefined();
  });

  it('no repository is refused when the migration is made', async () => {
    await expect(migrated({ transferMode: 'Registry' })).rejects.toThrow(
      /SHADOW_E_REPOSITORY|checkpointImageRepository/,
    );
  });
});

describe('by the image store of the target', () => {
  const imagesOn = async (node: NodeName): Promise<string[]> =>
    (await nodeExec(node, ['ctr', '-n', 'k8s.io', 'images', 'ls', '-q'])).stdout
      .split('\n')
      .filter((name) => name.includes('shadow-checkpoint'));

  it.each(['ShadowPodSwap', 'StopAndCopy'] as const)('the pod moves with its memory: %s', async (migrationStrategy) => {
    const from = await nodeOf(bed, POD);
    const { status } = await migrated({ transferMode: 'Direct', migrationStrategy });
    expect({ phase: status?.phase, error: status?.error }).toEqual({ phase: 'Completed', error: undefined });
    expect(await nodeOf(bed, POD)).not.toBe(from);
    expect(await instances(bed, SPEC)).toEqual(before);
    expect(status?.transferReason).toMatch(/^by an image in the image store of the node, restored by our/);
    expect(await left()).toEqual([]);
    expect((await Promise.all(NODES.map(imagesOn))).flat()).toEqual([]);
    await load.flowing();
  });
});

it('after all of this the oracle agrees', async () => {
  expect(await finish(bed, SPEC, load)).toMatchObject({ ...EXACT, reordered: 0 });
  expect(await instances(bed, SPEC)).toEqual(before);
});
