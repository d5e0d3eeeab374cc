/** transferMode Registry: what is refused, what is left, and that it keeps every rule the other way keeps. */
import type { V1Secret } from '@kubernetes/client-node';
import { describe, expect, it } from 'vitest';
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { MigrationSpec, TransferMode } from '../../../webhook/api/migration.ts';
import { ANNOTATION, REGISTRY } from '../../../webhook/api/names.ts';
import { criRestore } from '../../../webhook/controller/preflight/transfer.ts';
import { begun, describeRigour, expectCompleted, expectKept, survivor, type Way } from './rigour.ts';
import { POD, SHADOW, World } from './world.ts';

const by = (transferMode: TransferMode) => ({
  spec: { transferMode, checkpointImageRepository: 'registry.example/checkpoints' },
});
const STOP: Way = { kind: 'StatefulSet', strategy: 'StopAndCopy', ...by('Registry') };
const REPLAY: Way = { kind: 'Deployment', strategy: 'ShadowPod', ...by('Registry') };

const SWAP: Way = { kind: 'StatefulSet', strategy: 'ShadowPodSwap' };
const BARE: Way = { kind: 'Deployment', strategy: 'ShadowPod', bare: true };
const DIRECT: Way = { kind: 'StatefulSet', strategy: 'ShadowPodSwap', ...by('Direct') };

describeRigour(STOP);
describeRigour(DIRECT);
describeRigour(REPLAY);

const secretOf = (auths: Record<string, object>): V1Secret => ({
  type: 'kubernetes.io/dockerconfigjson',
  data: { '.dockerconfigjson': Buffer.from(JSON.stringify({ auths })).toString('base64') },
});
const LOGIN = { 'registry.example': { username: 'u', password: 'right' } };

describe('a checkpoint by a registry', () => {
  it.each([STOP, REPLAY])('is pushed once, pulled by digest, and removed: $strategy', async (way) => {
    const world = begun(way);
    world.registry.password = 'right';
    world.secrets.set(REGISTRY.secret, secretOf(LOGIN));
    await world.run();
    expectCompleted(world);
    const count = (call: string) => world.log.filter((one) => one === call).length;
    // On the one node of the second handoff nothing has to travel.
    expect([count('agent.push'), count('agent.pull'), count('agent.unpush')]).toEqual([1, 1, 1]);
    expect([count('agent.send'), count('agent.precopy')]).toEqual([way === STOP ? 1 : 0, 0]);
    const { handoffs, transferReason } = world.get()!.status!;
    expect(handoffs?.[0]?.image?.reference).toMatch(
      new RegExp(`^registry\\.example/checkpoints/${world.pod}@sha256:[0-9a-f]{64}$`),
    );
    expect(handoffs?.[0]?.image?.left).toBeUndefined();
    expect(handoffs?.[1]?.image).toBeUndefined();
    expect(transferReason).toMatch(/restored by our runtime handler: containerd 2\.3\.7 on two .* off by default/);
    expect(JSON.stringify(world.get())).not.toContain('right');
  });

  it('stays where a registry lets nobody delete, and that is said', async () => {
    const world = begun(STOP);
    world.registry.deletes = false;
    await world.run();
    expectCompleted(world);
    expect(world.get()?.status?.handoffs?.[0]?.image).toMatchObject({ left: 'answered 405' });
    expect(world.events).toContain('CheckpointImageLeft');
  });

  it('is removed by the target, too, when the source is gone with its node', async () => {
    const world = begun(REPLAY);
    world.served = false;
    world.hook = (name, when) => {
      if (name === 'agent.unpush' && when === 'before') {
        world.hook = () => {};
        world.registry.unreachableFrom = ['one'];
      }
    };
    await world.run();
    expect(world.get()?.status?.phase).toBe('Completed');
    expect(world.registry.images.size).toBe(0);
    expect(world.events).not.toContain('CheckpointImageLeft');
  });

  it.each(['push', 'pull'] as const)('that the registry fails in %s is undone, and nothing stays', async (call) => {
    const world = begun(STOP);
    world.hook = (name, when) => {
      if (name === `agent.${call}` && when === 'before') world.registry.password = 'changed';
      if (name === 'agent.unpush' && when === 'before') delete world.registry.password;
    };
    await world.run();
    expectKept(world);
    expect(world.get()?.status?.error?.code).toBe('SHADOW_E_REGISTRY_ACCESS');
    expect(survivor(world).pod?.spec?.nodeName).toBe('one');
  });
});

it('goes straight into the image store of the target, and on one node nowhere', async () => {
  const world = begun(DIRECT);
  await world.run();
  expectCompleted(world);
  const travelled = world.log.filter((call) => /^agent\.(send|sendImage|push|precopy)$/.test(call));
  expect(travelled).toEqual(['agent.sendImage', 'agent.send']);
  expect(world.get()?.status?.transferReason).toMatch(/^by an image in the image store of the node, restored by our/);
});

describe('preflight refuses, by name and untouched,', () => {
  const REGISTRY_SPEC = {
    transferMode: 'Registry',
    checkpointImageRepository: 'registry.example/checkpoints',
  } as const;
  const named = (world: World, name: string): void => {
    world.get()!.metadata.annotations = { [ANNOTATION.registrySecret]: name };
  };

  it.each<[string, string, RegExp, MigrationSpec, ((world: World) => void)?]>([
    ['no repository', 'SHADOW_E_REPOSITORY', /empty/, { transferMode: 'Registry' }],
    [
      'a repository without a host',
      'SHADOW_E_REPOSITORY',
      /no host/,
      { ...REGISTRY_SPEC, checkpointImageRepository: 'team/checkpoints' },
    ],
    [
      'a registry that the source does not reach',
      'SHADOW_E_REGISTRY',
      /no answer/,
      REGISTRY_SPEC,
      (world) => Object.assign(world.registry, { unreachableFrom: ['one'] }),
    ],
    [
      'a registry that the target does not reach',
      'SHADOW_E_REGISTRY',
      /no answer/,
      REGISTRY_SPEC,
      (world) => Object.assign(world.registry, { unreachableFrom: ['two'] }),
    ],
    [
      'no credentials where some are wanted',
      'SHADOW_E_REGISTRY_ACCESS',
      /401/,
      REGISTRY_SPEC,
      (world) => Object.assign(world.registry, { password: 'right' }),
    ],
    [
      'credentials of another registry',
      'SHADOW_E_REGISTRY_ACCESS',
      /401/,
      REGISTRY_SPEC,
      (world) => {
        world.registry.password = 'right';
        world.secrets.set(REGISTRY.secret, secretOf({ 'registry.example:5000': LOGIN['registry.example'] }));
      },
    ],
    [
      'a Secret of another kind',
      'SHADOW_E_REGISTRY_ACCESS',
      /has no \.dockerconfigjson/,
      REGISTRY_SPEC,
      (world) => world.secrets.set(REGISTRY.secret, { data: { password: 'cmlnaHQ=' } }),
    ],
    [
      'a Secret that the controller may not read',
      'SHADOW_E_REGISTRY_ACCESS',
      /may not read Secret pull/,
      REGISTRY_SPEC,
      (world) => named(world, 'pull'),
    ],
    [
      'a Secret that is named and not there',
      'SHADOW_E_REGISTRY_ACCESS',
      /no Secret pull/,
      REGISTRY_SPEC,
      (world) => {
        named(world, 'pull');
        world.readable.push('pull');
      },
    ],
  ])('%s', async (_, code, message, spec, prepare = () => {}) => {
    for (const dryRun of [false, true]) {
      const world = new World();
      world.migrate('m1', { sourcePod: POD, targetNode: 'two', dryRun, ...spec });
      prepare(world);
      await world.run();
      const { error, phase, assessment } = world.get()?.status ?? {};
      expect([error?.code, phase]).toEqual([code, dryRun ? 'Checked' : 'Failed']);
      expect(error?.message).toMatch(message);
      expect(error?.message).not.toContain('right');
      expect(world.log.filter((call) => /prepare|deletePod|mute|writeRestore|push/.test(call))).toEqual([]);
      expect([...world.pods.keys()]).toEqual([POD]);
      if (dryRun)
        expect(assessment?.find(({ aspect }) => aspect === 'Transfer')).toMatchObject({ verdict: 'Unfit', code });
    }
  });

  it('a target whose image store is out of reach, where it is to take the checkpoint', async () => {
    const world = begun(DIRECT);
    world.nodes.two!.storeless = true;
    await world.run();
    expect(world.get()?.status?.error).toMatchObject({ code: 'SHADOW_E_NODE_UNFIT' });
    expect(world.log.filter((call) => /prepare|deletePod|mute/.test(call))).toEqual([]);
    const other = begun(STOP);
    other.nodes.two!.storeless = true;
    await other.run();
    expectCompleted(other);
  });

  it('a target without room for the checkpoint once more, where it is to be in the image store as well', async () => {
    const [direct, agent] = [begun(DIRECT), begun({ ...STOP, ...by('Agent') })];
    // Of a checkpoint of 1 GB.
    for (const world of [direct, agent]) world.freeBytes = 2.8e9;
    await direct.run();
    await agent.run();
    expect(direct.get()?.status?.error?.code).toBe('SHADOW_E_NODE_UNFIT');
    expectCompleted(agent);
  });

  it('nothing of a registry that fits: a Secret by another name that the controller was let read', async () => {
    const world = begun(STOP);
    world.registry.password = 'right';
    world.readable.push('pull');
    world.secrets.set('pull', secretOf({ 'https://registry.example/checkpoints/': { auth: btoa('u:right') } }));
    named(world, 'pull');
    await world.run();
    expectCompleted(world);
  });
});

it.each([
  ['2.0.5', 'allowed'],
  ['2.2.6', 'allowed'],
  ['2.2.7', 'off'],
  ['v2.3.3', 'allowed'],
  ['2.3.4', 'off'],
  ['2.3.10', 'off'],
  ['2.4.0', 'gone'],
  ['2.4.0-rc.1', 'gone'],
  ['3.0.0', 'gone'],
])('containerd %s: restore through the CRI %s', (version, answer) => {
  expect(criRestore(version)).toBe(answer);
});

describe('a cut', () => {
  /** Of each handoff: does the copy wait in the handler when the source is cut? */
  const waitingAtCut = (world: World): boolean[] => {
    const waiting: boolean[] = [];
    world.sandboxMs = 3_000;
    world.hook = (name, when) => {
      const handoff = world.get()?.status?.handoffs?.at(-1);
      if (name === 'agent.cut' && when === 'after' && handoff !== undefined)
        waiting.push(world.nodes[handoff.copy.node]?.staged.get(handoff.claim)?.pod !== undefined);
    };
    return waiting;
  };

  it.each<[string, Way, boolean[]]>([
    ['goes ahead beside a source that serves', SWAP, [false, false]],
    ['of a source that stands still is made when its copy waits', { ...SWAP, strategy: 'StopAndCopy' }, [true, true]],
    ['that travels by a registry is made when its copy waits', REPLAY, [true]],
    ['that travels by an image store, too; on one node nothing travels', DIRECT, [true, false]],
  ])('%s', async (_what, way, expected) => {
    const world = begun(way);
    const waiting = waitingAtCut(world);
    await world.run();
    expectCompleted(world);
    expect(waiting).toEqual(expected);
  });

  it('that went ahead of a copy whose pod is lost meanwhile is undone, the source serves on', async () => {
    const world = begun(SWAP);
    world.sandboxMs = 3_000;
    world.hook = (name, when) => {
      if (name === 'agent.cut' && when === 'after') world.lose(SHADOW);
    };
    await world.run();
    expectKept(world);
    expect(world.get()?.status?.error?.code).toBe('SHADOW_E_RESTORE');
  });
});

describe('memory goes ahead', () => {
  it.each<[string, Way, number, number[]]>([
    ['of a large pod beside a source that serves', SWAP, 1e9, [1e9]],
    ['of no small one', SWAP, 3e7, [0]],
    ['of any that stands still for its checkpoint', { ...SWAP, strategy: 'StopAndCopy' }, 3e7, [3e7]],
    ['of any whose cut waits for its copy', BARE, 3e7, [3e7]],
  ])('%s', async (_what, way, bytes, sent) => {
    const world = begun(way);
    world.estimatedBytes = bytes;
    await world.run();
    expectCompleted(world);
    expect(world.sentAhead).toEqual(sent);
  });
});

describe('a closed road between the nodes', () => {
  it.each<Way>([
    { kind: 'StatefulSet', strategy: 'StopAndCopy' },
    { kind: 'Deployment', strategy: 'ShadowPod' },
  ])('is found while nobody is paused: $strategy', async (way) => {
    const world = begun(way);
    world.hook = (name, when) => {
      if (name === 'agent.precopy' && when === 'before')
        throw new ShadowError('SHADOW_E_TRANSFER', 'no route to host', { retryable: true });
    };
    await world.run();
    expectKept(world);
    expect(world.get()?.status?.error?.code).toBe('SHADOW_E_TRANSFER');
    expect(world.log.filter((call) => /mute|checkpoint|send/.test(call))).toEqual([]);
  });

  it('that opens again is taken', async () => {
    const world = begun({ kind: 'StatefulSet', strategy: 'StopAndCopy' });
    let closed = 3;
    world.hook = (name, when) => {
      if (name === 'agent.precopy' && when === 'before' && closed-- > 0)
        throw new ShadowError('SHADOW_E_TRANSFER', 'no route to host', { retryable: true });
    };
    await world.run();
    expectCompleted(world);
  });
});
