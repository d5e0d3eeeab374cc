/** Without the sidecar, beside its source: no request finds nobody while the source goes. */
import type { V1Pod, V1Service } from '@kubernetes/client-node';
import { describe, expect, it } from 'vitest';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { targetPorts } from '../../../webhook/controller/steps/divert.ts';
import { begun, expectCompleted, type Way } from './rigour.ts';
import { Crash, type World } from './world.ts';

const WAYS: Way[] = [
  { kind: 'Deployment', strategy: 'ShadowPod', bare: true },
  ...(['Cutoff', 'ExchangeFence'] as const).map(
    (identitySwapMode): Way => ({
      ...{ kind: 'StatefulSet', strategy: 'ShadowPod', bare: true, spec: { identitySwapMode } },
    }),
  ),
];

const served = (way: Way): World => {
  const world = begun(way);
  world.served = true;
  return world;
};
const going = (world: World): string[] => world.log.filter((call) => /divert|still|kill|deletePod/.test(call));

describe.each(WAYS)('a pod of a $kind without the sidecar ($spec.identitySwapMode)', { timeout: 60_000 }, (way) => {
  it('sends on who still comes, and its app stands still before anybody deletes it', async () => {
    const world = served(way);
    const at: Record<string, number> = {};
    world.hook = (name, when) => {
      if (when === 'after') at[name] ??= world.time;
    };
    await world.run();
    expectCompleted(world);
    // what the app has begun to answer it may end
    expect(at['agent.still']! - at['agent.divert']!).toBeGreaterThanOrEqual(200);
    const each = ['agent.divert', 'agent.still', 'deletePod', 'deletePod'];
    expect(going(world)).toEqual(way.kind === 'Deployment' ? each : [...each, ...each]);
  });

  it('does so through a crash of the controller before and after every call', async () => {
    const count = await (async () => {
      const world = served(way);
      await world.run();
      return world.log.length;
    })();
    for (const when of ['before', 'after'] as const)
      for (let at = 1; at <= count; at++) {
        const world = served(way);
        world.hook = (_name, now, n) => {
          if (n === at && now === when) throw new Crash();
        };
        await world.run();
        expectCompleted(world);
      }
  });

  it.each<[string, (world: World) => void]>([
    [
      'has rules of others in its network',
      (world) => {
        world.meshed = true;
      },
    ],
    [
      'has a preStop hook by HTTP, which would come to its copy',
      (world) => {
        const preStop = { httpGet: { path: '/drain', port: 8080 } };
        Object.assign(world.pods.get(world.pod)?.spec?.containers[0] ?? {}, { lifecycle: { preStop } });
      },
    ],
    [
      'has an agent of before, which knows no such call',
      (world) => {
        world.hook = (name, when) => {
          if (when === 'before' && /divert|still/.test(name))
            throw new ShadowError('SHADOW_E_INVALID', `no call ${name}`);
        };
      },
    ],
  ])('is killed as ever where it %s', async (_what, prepare) => {
    const world = begun(way);
    prepare(world);
    await world.run();
    expectCompleted(world);
    expect(going(world).filter((call) => call === 'agent.kill').length).toBe(way.kind === 'Deployment' ? 1 : 2);
  });
});

describe('the ports that Services send to', () => {
  const service = (...ports: NonNullable<V1Service['spec']>['ports'] & object): V1Service => ({ spec: { ports } });
  const pod: V1Pod = {
    spec: {
      containers: [
        { name: 'app', ports: [{ name: 'http', containerPort: 8080 }] },
        { name: 'other', ports: [{ name: 'admin', containerPort: 9090 }] },
      ],
    },
  };

  it('are those of the pod, by number, by name, or the same; each once', () => {
    const services = [
      service({ port: 80, targetPort: 'http' }, { port: 81, targetPort: 8080 }, { port: 7000 }),
      service({ port: 82, targetPort: 'admin' }, { port: 83, targetPort: 'nobody' }),
    ];
    expect(targetPorts(services, pod)).toEqual([8080, 7000, 9090]);
    expect(targetPorts([service()], pod)).toEqual([]);
  });
});
