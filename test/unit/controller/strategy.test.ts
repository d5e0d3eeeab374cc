import type { V1Deployment, V1Pod, V1ReplicaSet, V1Volume } from '@kubernetes/client-node';
import { describe, expect, it } from 'vitest';
import type { Strategy } from '../../../webhook/api/migration.ts';
import { ANNOTATION, LABEL, replicaName } from '../../../webhook/api/names.ts';
import { checkDeployment, deploymentOf } from '../../../webhook/controller/preflight/deployment.ts';
import {
  checkStrategy,
  chooseStrategy,
  doubtOf,
  type Effects,
  modeOf,
  sharedVolumes,
} from '../../../webhook/controller/preflight/strategy.ts';
import { podSpec, World } from './world.ts';
import type { OwnerKind } from './world-owners.ts';

const NONE: Effects = { peers: [], brokers: ['rabbitmq.rabbitmq.svc:5672'] };
const DATABASE: Effects = { peers: ['10.0.0.5:5432'], brokers: ['rabbitmq.rabbitmq.svc:5672'] };

const withVolume = (volume: Omit<V1Volume, 'name'>, readOnly = false): V1Pod => {
  const pod = podSpec();
  pod.spec!.volumes = [{ name: 'data', ...volume }];
  pod.spec!.containers[0]!.volumeMounts = [{ name: 'data', mountPath: '/data', readOnly }];
  return pod;
};
const annotated = (effects: string): V1Pod => {
  const pod = podSpec();
  pod.metadata!.annotations = { [ANNOTATION.effects]: effects };
  return pod;
};
const nfs = { nfs: { server: 's', path: '/' } };

describe('Auto', () => {
  it.each<[string, Strategy, V1Pod, Effects, RegExp]>([
    ['nothing but its broker', 'ShadowPodSwap', podSpec(), NONE, /nothing but its broker/],
    ['a database', 'StopAndCopy', podSpec(), DATABASE, /other than its broker: 10\.0\.0\.5:5432/],
    ['a database, declared harmless', 'ShadowPodSwap', annotated('messages'), DATABASE, /effects: messages/],
    ['a database, idempotent', 'ShadowPodSwap', annotated('idempotent'), DATABASE, /effects: idempotent/],
    ['a word it does not know', 'StopAndCopy', annotated('none'), DATABASE, /10\.0\.0\.5/],
    [
      'its broker by address',
      'ShadowPodSwap',
      podSpec(),
      { peers: ['10.0.0.9:5672'], brokers: ['10.0.0.9:5672'] },
      /./,
    ],
    ['a shared volume', 'StopAndCopy', withVolume(nfs), NONE, /shared volumes: data/],
    ['one it only reads', 'ShadowPodSwap', withVolume(nfs, true), NONE, /no shared volume/],
    ['a volume of its own', 'ShadowPodSwap', withVolume({ emptyDir: {} }), NONE, /./],
  ])('for an app with %s takes %s and says why', (_text, strategy, pod, effects, reason) => {
    const chosen = chooseStrategy({}, pod, 'StatefulSet', effects);
    expect(chosen.strategy).toBe(strategy);
    expect(chosen.strategyReason).toMatch(reason);
  });

  it('takes ShadowPod for a Deployment, and what is asked for is not argued with', () => {
    expect(chooseStrategy({ migrationStrategy: '' }, podSpec(), 'Deployment', NONE).strategy).toBe('ShadowPod');
    expect(chooseStrategy({ migrationStrategy: 'ShadowPodSwap' }, podSpec(), 'StatefulSet', DATABASE)).toEqual({
      strategy: 'ShadowPodSwap',
      strategyReason: 'asked for',
    });
    expect((['StopAndCopy', 'ShadowPodSwap', 'ShadowPod'] as const).map(modeOf)).toEqual(['stop', 'replay', 'replay']);
  });

  it('counts any volume it does not know to be private', () => {
    expect(sharedVolumes(withVolume({ cephfs: { monitors: [] } }))).toEqual(['data']);
    expect(sharedVolumes(withVolume({ persistentVolumeClaim: { claimName: 'c' } }))).toEqual(['data']);
    for (const own of [{ configMap: {} }, { secret: {} }, { projected: {} }, { downwardAPI: {} }])
      expect(sharedVolumes(withVolume(own))).toEqual([]);
  });

  it('is what the cluster is asked for in preflight', async () => {
    const world = new World();
    world.peers = [...DATABASE.peers];
    world.migrate();
    await world.run();
    expect(world.get()?.status).toMatchObject({ phase: 'Completed', strategy: 'StopAndCopy' });
    expect(world.get()?.status?.strategyReason).toMatch(/10\.0\.0\.5:5432/);
    expect(world.log).not.toContain('sidecar.replay');
  });
});

describe('a strategy that does not fit is refused with the one that does', () => {
  it.each<[Strategy, OwnerKind, RegExp]>([
    ['ShadowPodSwap', 'Deployment', /for pods of a StatefulSet, this one is of a Deployment; use ShadowPod$/],
  ])('%s, %s', async (migrationStrategy, kind, text) => {
    expect(() => checkStrategy({ migrationStrategy }, kind)).toThrow(text);
    const world = new World(kind);
    world.migrate('m1', { migrationStrategy });
    await world.run();
    expect(world.get()?.status?.error).toMatchObject({
      code: 'SHADOW_E_UNSUPPORTED',
      message: expect.stringMatching(text),
    });
    expect(world.log.filter((call) => /prepare|deletePod|mute|freeze|patchPod/.test(call))).toEqual([]);
  });
});

describe('a strategy of the paper, of a pod with the sidecar,', () => {
  it.each<[Strategy, OwnerKind, Strategy]>([
    ['Sequential', 'StatefulSet', 'StopAndCopy'],
    ['Sequential', 'Deployment', 'StopAndCopy'],
    ['ShadowPod', 'StatefulSet', 'ShadowPodSwap'],
    ['ShadowPod', 'Deployment', 'ShadowPod'],
  ])('%s, %s: is carried out as %s, and says so', async (migrationStrategy, kind, strategy) => {
    const world = new World(kind);
    world.migrate('m1', { migrationStrategy });
    await world.run();
    const { status } = world.get()!;
    expect(status).toMatchObject({ phase: 'Completed', strategy });
    if (strategy !== migrationStrategy) expect(status?.strategyReason).toContain(`${migrationStrategy} is asked for`);
  });

  it('is judged by the strategy that is carried out', () => {
    expect(doubtOf({ migrationStrategy: 'Sequential' }, podSpec(), 'StatefulSet', NONE)).toBeUndefined();
    expect(doubtOf({ migrationStrategy: 'ShadowPod' }, podSpec(), 'StatefulSet', NONE)).toBeUndefined();
    expect(doubtOf({ migrationStrategy: 'ShadowPod' }, podSpec(), 'StatefulSet', DATABASE)?.strategy).toBe(
      'StopAndCopy',
    );
  });
});

describe('a Deployment', () => {
  const set: V1ReplicaSet = {
    metadata: {
      name: 'web-7d9f',
      labels: { [LABEL.templateHash]: '7d9f' },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'd', controller: true }],
    },
    spec: { replicas: 3, selector: {} },
  };
  const deployment = (status: V1Deployment['status']): V1Deployment => ({
    metadata: { name: 'web', generation: 4 },
    spec: { replicas: 3, selector: {}, template: {} },
    status: { observedGeneration: 4, replicas: 3, updatedReplicas: 3, ...status },
  });
  const pod = podSpec('Deployment');

  it('may have replicas that are not ready, but not be in a rollout', () => {
    expect(() => checkDeployment(deployment({ readyReplicas: 1 }), set, pod)).not.toThrow();
    for (const status of [{ observedGeneration: 3 }, { updatedReplicas: 2 }, { replicas: 4 }])
      expect(() => checkDeployment(deployment(status), set, pod)).toThrow(/Deployment web/);
  });

  it('is refused for a pod that its ReplicaSet would not take for its own, or that is on its way out', () => {
    const foreign = podSpec('Deployment');
    foreign.metadata!.labels![LABEL.templateHash] = 'other';
    expect(() => checkDeployment(deployment({}), set, foreign)).toThrow(/pod-template-hash/);
    expect(() => checkDeployment(deployment({}), { ...set, spec: { ...set.spec!, replicas: 0 } }, pod)).toThrow(/0/);
  });

  it('is found through its ReplicaSet alone', () => {
    expect(deploymentOf(set)).toBe('web');
    expect(deploymentOf({ metadata: { ownerReferences: [] } })).toBeUndefined();
  });

  it('gets a pod with a name as its own have', () => {
    expect(replicaName('web-7d9f', '3fa9c2d1-aaaa')).toBe('web-7d9f-3fa9c');
    expect(replicaName('w'.repeat(80), '3fa9c2d1')).toHaveLength(63);
  });
});
