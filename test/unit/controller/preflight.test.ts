import type { V1Pod, V1StatefulSet } from '@kubernetes/client-node';
import { describe, expect, it } from 'vitest';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { ANNOTATION } from '../../../webhook/api/names.ts';
import { type NodeReport, unfitBetween, unfitFor } from '../../../webhook/controller/preflight/node.ts';
import { unsupported } from '../../../webhook/controller/preflight/pod.ts';
import { quantity } from '../../../webhook/controller/preflight/quantity.ts';
import { checkSet } from '../../../webhook/controller/preflight/set.ts';
import { POD, podSpec, SHADOW, World } from './world.ts';
import { nodeOf } from './world-agents.ts';

const refusal = async (prepare: (world: World) => void, spec = { sourcePod: POD, targetNode: 'two' }) => {
  const world = new World();
  world.migrate('m1', spec);
  prepare(world);
  await world.run();
  const { phase, error, conditions } = world.get()?.status ?? {};
  expect(phase).toBe('Failed');
  expect(conditions?.find(({ type }) => type === 'Preflight')?.status).toBe('False');
  // nothing was touched
  expect(world.log.filter((call) => /prepare|deletePod|mute|writeRestore/.test(call))).toEqual([]);
  expect([...world.pods.keys()].filter((name) => name === SHADOW)).toEqual([]);
  return error;
};
/** A new leader's sidecars dial it within seconds: it is asked again before it is refused. */
const unreachable = (world: World): void => {
  world.hook = (name) => {
    if (name === 'sidecar.inspect') throw new ShadowError('SHADOW_E_SIDECAR_UNREACHABLE', '', { retryable: true });
  };
};
const source = (world: World): V1Pod => world.pods.get(POD)!;

describe('preflight refuses, by name and untouched,', () => {
  it.each<[string, (world: World) => void, { sourcePod: string; targetNode: string } | undefined]>([
    ['SHADOW_E_POD_NOT_FOUND', () => {}, { sourcePod: 'nobody-0', targetNode: 'two' }],
    ['SHADOW_E_NODE_NOT_FOUND', () => {}, { sourcePod: POD, targetNode: 'nowhere' }],
    ['SHADOW_E_SAME_NODE', () => {}, { sourcePod: POD, targetNode: 'one' }],
    [
      'SHADOW_E_NODE_UNFIT',
      (world) => Object.assign(world.kubeNodes[1]!, { spec: { unschedulable: true } }),
      undefined,
    ],
    [
      'SHADOW_E_NO_NODE',
      (world) => Object.assign(world.kubeNodes[1]!, { spec: { unschedulable: true } }),
      { sourcePod: POD, targetNode: '' },
    ],
    ['SHADOW_E_NOT_INJECTED', (world) => Object.assign(source(world).metadata!, { labels: {} }), undefined],
    ['SHADOW_E_UNOWNED', (world) => Object.assign(source(world).metadata!, { ownerReferences: [] }), undefined],
    ['SHADOW_E_UNSUPPORTED', (world) => Object.assign(source(world).spec!, { hostPID: true }), undefined],
    ['SHADOW_E_SIDECAR_UNREACHABLE', unreachable, undefined],
    [
      'SHADOW_E_ROLLOUT',
      (world) => Object.assign(source(world).metadata!.labels!, { 'controller-revision-hash': 'r0' }),
      undefined,
    ],
  ])('%s', async (code, prepare, spec) => {
    expect((await refusal(prepare, spec))?.code).toBe(code);
  });

  it.each([
    'connection 2: speaks AMQP 1.0',
    'connection 2: speaks the stream protocol',
    'a connection to port 5552, whose protocol is relayed blind',
    'a connection to mq:5671 speaks TLS itself, so that only the broker can read it',
  ])('what passes unread, whatever the strategy: %s', async (hazard) => {
    for (const migrationStrategy of ['StopAndCopy', 'Auto'] as const) {
      const spec = { sourcePod: POD, targetNode: 'two', migrationStrategy };
      const error = await refusal((world) => world.sessionHazards.push(hazard), spec);
      expect(error?.code).toBe('SHADOW_E_SESSION');
      expect(error?.message).toContain(hazard);
    }
  });

  it('a sidecar too old for it: the source is asked nothing', async () => {
    const world = new World();
    Object.assign(world.spoken, { version: '0.0.9' });
    world.migrate('m1', { sourcePod: POD, targetNode: 'two' });
    await world.run();
    expect(world.get()?.status?.error?.code).toBe('SHADOW_E_SKEW');
    expect(world.log.filter((call) => call.startsWith('sidecar.'))).toEqual([]);
  });

  it('a container that the pod does not have, naming those it has', async () => {
    const spec = { sourcePod: POD, targetNode: 'two', containerName: 'web' };
    expect(await refusal(() => {}, spec)).toMatchObject({
      code: 'SHADOW_E_INVALID',
      message: expect.stringMatching(/spec.containerName: consumer-0 has no container "web"; it has app/),
    });
  });

  it('the younger of two migrations of one set', async () => {
    const world = new World();
    world.migrate('m1');
    world.time += 1_000;
    world.migrate('m2');
    await world.run('m2');
    expect(world.get('m2')?.status?.error?.code).toBe('SHADOW_E_BUSY');
    await world.run('m1');
    expect(world.get('m1')?.status?.phase).toBe('Completed');
  });
});

describe('a node', () => {
  const report: NodeReport = {
    node: 'two',
    arch: 'x64',
    kernel: '6.1',
    containerd: 'v2.3.7',
    runc: '1.4.3',
    criu: '4.2.1',
    cpuFlags: ['sse', 'avx'],
    freeBytes: 1e12,
    handlerInstalled: true,
  };
  const pod = podSpec();

  it('must have room for two copies at once, or for the one of a Deployment', () => {
    const node = nodeOf('two');
    node.status!.allocatable = { cpu: '250m', memory: '1Gi', pods: '110' };
    expect(unfitFor(pod, node, [])).toEqual([]);
    const other = podSpec();
    other.spec!.nodeName = 'two';
    expect(unfitFor(pod, node, [other])).toEqual(['it has no room for two copies of the pod: cpu']);
    expect(unfitFor(pod, node, [other], 1)).toEqual([]);
    expect(unfitFor(pod, node, [other, other], 1)).toEqual(['it has no room for a copy of the pod: cpu']);
  });

  it('must be tolerated and selected', () => {
    const node = nodeOf('two');
    node.spec = { taints: [{ key: 'gpu', effect: 'NoSchedule' }] };
    expect(unfitFor(pod, node, [])).toHaveLength(1);
    const tolerant = podSpec();
    tolerant.spec!.tolerations = [{ key: 'gpu', operator: 'Exists' }];
    tolerant.spec!.nodeSelector = { disk: 'ssd' };
    expect(unfitFor(tolerant, node, [])).toEqual(["the pod's nodeSelector or node affinity excludes it"]);
  });

  it.each<[Partial<NodeReport>, RegExp]>([
    [{ arch: 'arm64' }, /arm64/],
    [{ cpuFlags: ['sse'] }, /lacks avx/],
    [{ criu: '4.1' }, /CRIU 4.1 is older/],
    [{ runc: '1.1.12' }, /runc/],
    [{ containerd: '1.7.1' }, /containerd/],
    [{ handlerInstalled: false }, /handler/],
    [{ freeBytes: 1e6 }, /bytes free/],
  ])('must be able to restore what the source dumps: %o', (change, text) => {
    expect(unfitBetween(report, report, 1e6)).toEqual([]);
    expect(unfitBetween(report, { ...report, ...change }, 1e6).join()).toMatch(text);
  });
});

describe('a pod', () => {
  it.each<[(pod: V1Pod) => void, RegExp]>([
    [(pod) => Object.assign(pod.spec!, { hostNetwork: true }), /hostNetwork/],
    [(pod) => Object.assign(pod.spec!, { hostUsers: false }), /hostUsers/],
    [(pod) => Object.assign(pod.spec!, { runtimeClassName: 'gvisor' }), /runtimeClassName/],
    [
      (pod) => Object.assign(pod.spec!, { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'c' } }] }),
      /data/,
    ],
    [(pod) => Object.assign(pod.spec!.containers[0]!, { securityContext: { privileged: true } }), /privileged/],
    [(pod) => Object.assign(pod.spec!.containers[0]!, { resources: { limits: { 'nvidia.com/gpu': '1' } } }), /devices/],
    [(pod) => Object.assign(pod.spec!.containers[0]!, { lifecycle: { postStart: {} } }), /postStart/],
  ])('that cannot be moved is told why: %#', (change, text) => {
    const pod = podSpec();
    expect(unsupported(pod)).toEqual([]);
    change(pod);
    expect(unsupported(pod).join()).toMatch(text);
  });

  it('with a postStart hook moves when the user allows it; a second migration of a migrated pod too', () => {
    const pod = podSpec();
    Object.assign(pod.spec!, { runtimeClassName: 'shadow' });
    Object.assign(pod.spec!.containers[0]!, { lifecycle: { postStart: {} } });
    Object.assign(pod.metadata!, { annotations: { [ANNOTATION.postStart]: 'allow' } });
    expect(unsupported(pod)).toEqual([]);
  });
});

describe('a set', () => {
  const set: V1StatefulSet = {
    metadata: { name: 'consumer', uid: 'set', generation: 1 },
    spec: { replicas: 2, selector: {}, serviceName: 'c', template: {} },
    status: { observedGeneration: 1, replicas: 2, currentRevision: 'r1', updateRevision: 'r1' },
  };
  const named = (name: string, ready: boolean): V1Pod => {
    const pod = podSpec();
    pod.metadata!.name = name;
    pod.metadata!.ownerReferences![0]!.uid = 'set';
    pod.status = { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] };
    return pod;
  };

  it('waits for lower ordinals unless it makes its pods in parallel', () => {
    const [zero, one] = [named('consumer-0', false), named('consumer-1', true)];
    expect(() => checkSet(set, one, [zero, one])).toThrow(/consumer-0 is not Ready/);
    expect(() => checkSet(set, zero, [zero, one])).not.toThrow();
    expect(() =>
      checkSet({ ...set, spec: { ...set.spec!, podManagementPolicy: 'Parallel' } }, one, [zero, one]),
    ).not.toThrow();
  });
});

it('reads quantities', () => {
  expect(['100m', '2', '1.5', '64Mi', '1e3', '1G'].map(quantity)).toEqual([0.1, 2, 1.5, 67108864, 1000, 1e9]);
});
