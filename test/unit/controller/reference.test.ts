/** What is written for the reference implementation, its manifest and whoever reads its status, works with ours. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { checkMigration } from '../../../webhook/admission/validate.ts';
import { type StatefulMigration, SWAP_SUB_PHASES } from '../../../webhook/api/migration.ts';
import { LABEL } from '../../../webhook/api/names.ts';
import { expectClean, expectCompleted } from './rigour.ts';
import { SHADOW, World } from './world.ts';
import type { OwnerKind } from './world-owners.ts';

const manifest = (file: string) => parse(readFileSync(join(import.meta.dirname, '../../../manifests', file), 'utf8'));
const example = manifest('examples/migration-ms2m.yaml') as StatefulMigration;
const { spec, status } = manifest('crd.yaml').spec.versions[0].schema.openAPIV3Schema.properties;

const SPEC = {
  sourcePod: 'string',
  containerName: 'string',
  targetNode: 'string',
  checkpointImageRepository: 'string',
  replayCutoffSeconds: 'integer',
  replayMode: 'string',
  transferMode: 'string',
  identitySwapMode: 'string',
  migrationStrategy: 'string',
  messageQueueConfig: 'object',
};
const STATUS = {
  phase: 'string',
  sourceNode: 'string',
  checkpointID: 'string',
  targetPod: 'string',
  containerName: 'string',
  conditions: 'array',
  startTime: 'string',
  phaseTimings: 'object',
  statefulSetName: 'string',
  deploymentName: 'string',
  originalReplicas: 'integer',
  sourcePodLabels: 'object',
  sourceContainers: 'array',
  swapSubPhase: 'string',
  replacementPod: 'string',
};
const typesOf = ({ properties }: { properties: Record<string, { type: string }> }, names: object) =>
  Object.fromEntries(Object.keys(names).map((name) => [name, properties[name]?.type]));

/** The reference's fields, in the world's names. */
const migrated = (kind: OwnerKind): World => {
  const world = new World(kind);
  world.migrate('m1', { ...example.spec, sourcePod: world.pod, targetNode: 'two', containerName: 'app' });
  return world;
};

describe("the reference's StatefulMigration", () => {
  it('has every field of its spec and status, of its types, in the schema', () => {
    expect(typesOf(spec, SPEC)).toEqual(SPEC);
    expect(typesOf(status, STATUS)).toEqual(STATUS);
    expect(status.properties.swapSubPhase.enum).toEqual([...SWAP_SUB_PHASES]);
    expect(Object.keys(spec.properties.messageQueueConfig.properties)).toEqual(
      Object.keys(example.spec.messageQueueConfig ?? {}),
    );
  });

  it('is admitted by the webhook as the example has it', () => {
    expect(Object.keys(SPEC)).toEqual(expect.arrayContaining(Object.keys(example.spec)));
    expect(() => checkMigration(example)).not.toThrow();
    for (const [field, value] of Object.entries(example.spec)) {
      const { enum: allowed, pattern } = spec.properties[field];
      if (allowed) expect(allowed).toContain(value);
      if (pattern) expect(value).toMatch(new RegExp(pattern));
    }
  });

  it('moves a pod of a StatefulSet with the sidecar, and its status says what the reference would', async () => {
    const world = migrated('StatefulSet');
    const phases: string[] = [];
    const swap: string[] = [];
    let role: string | undefined;
    world.hook = () => {
      const { phase, swapSubPhase } = world.get()?.status ?? {};
      if (phase !== undefined && phases.at(-1) !== phase) phases.push(phase);
      if (swapSubPhase !== undefined && swap.at(-1) !== swapSubPhase) swap.push(swapSubPhase);
      role ??= world.pods.get(SHADOW)?.metadata?.labels?.[LABEL.role];
    };
    await world.run();
    expectCompleted(world);
    expect(role).toBe('target');
    expect(swap).toEqual([...SWAP_SUB_PHASES]);
    expect(phases).toEqual([
      'Pending',
      'Checkpointing',
      'Transferring',
      'Restoring',
      'Replaying',
      'Finalizing',
      'Completed',
    ]);
    const told = world.get()!.status!;
    expect(told).toMatchObject({
      sourceNode: 'one',
      checkpointID: expect.stringMatching(/./),
      targetPod: SHADOW,
      replacementPod: world.pod,
      containerName: 'app',
      statefulSetName: 'consumer',
      originalReplicas: 1,
      sourcePodLabels: { app: 'consumer' },
      sourceContainers: expect.arrayContaining([{ name: 'app', image: 'app:1' }]),
    });
    expect(told.swapSubPhase).toBeUndefined();
    for (const duration of Object.values(told.phaseTimings ?? {})) expect(duration).toMatch(/^\d+(\.\d+)?s$/);
  });

  it('moves a pod of a Deployment with the sidecar', async () => {
    const world = migrated('Deployment');
    await world.run();
    expectCompleted(world);
    expect(world.get()?.status).toMatchObject({ deploymentName: 'web', originalReplicas: 1, strategy: 'ShadowPod' });
  });

  it.each(['StatefulSet', 'Deployment'] as const)(
    'deleted when it has ended, leaves the pod of a %s where it is',
    async (kind) => {
      const world = migrated(kind);
      await world.run();
      const uids = [...world.pods.values()].map(({ metadata }) => metadata?.uid);
      const owners = [...world.pods.values()].flatMap(({ metadata }) => metadata?.ownerReferences ?? []);
      expect(owners.map(({ kind: owner }) => owner)).not.toContain('StatefulMigration');
      world.remove();
      await world.run();
      expect(world.get()).toBeUndefined();
      expect([...world.pods.values()].map(({ metadata }) => metadata?.uid)).toEqual(uids);
      expectClean(world);
    },
  );
});
