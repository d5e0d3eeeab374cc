/** Pods without the sidecar, by the control protocol: crashes, wishes and losses at every call; and what is refused. */
import { describe, expect, it } from 'vitest';
import type { MigrationSpec } from '../../../webhook/api/migration.ts';
import { begun, describeRigour, expectCompleted, expectKept, survivor, type Way } from './rigour.ts';
import { World } from './world.ts';
import { QUEUE_CONFIG } from './world-queues.ts';

const SET: Way = { kind: 'StatefulSet', strategy: 'Sequential', bare: true };
const REPLACED: Way = { kind: 'Deployment', strategy: 'Sequential', bare: true };

describeRigour(SET);
describeRigour(REPLACED);
describeRigour({ kind: 'Deployment', strategy: 'ShadowPod', bare: true });
for (const identitySwapMode of ['Cutoff', 'ExchangeFence'] as const)
  describeRigour({ kind: 'StatefulSet', strategy: 'ShadowPod', bare: true, spec: { identitySwapMode } });

describe('a migration by Sequential', () => {
  it('parks the app before its checkpoint, and sends it back to its queue when it is where it belongs', async () => {
    const world = begun(SET);
    await world.run();
    expectCompleted(world);
    const order = world.log.filter((call) => /broker.send|cut|agent.restore|kill|unfence/.test(call));
    const once = ['agent.cut', 'agent.restore', 'agent.unfence', 'agent.kill'];
    expect(order).toEqual(['broker.send', ...once, ...once, 'broker.send']);
    expect(world.log.filter((call) => call.startsWith('sidecar.'))).toEqual([]);
  });

  it.each<Way>([SET, { ...SET, strategy: 'ShadowPod' }])(
    'or $strategy gives up on an app that does not follow the protocol, by name, and the app never notices',
    async (way) => {
      const world = begun(way);
      world.queues.obeyed = false;
      await world.run();
      expectKept(world);
      expect(world.get()?.status).toMatchObject({ phase: 'Failed', error: { code: 'SHADOW_E_CONTROL' } });
      expect(survivor(world).pod?.spec?.nodeName).toBe('one');
    },
  );
});

describe('a pod without the sidecar', () => {
  const ended = async (spec: MigrationSpec, prepare: (world: World) => void = () => undefined) => {
    const world = new World('StatefulSet', true);
    world.migrate('m1', spec);
    prepare(world);
    await world.run();
    expect(world.log.filter((call) => /prepare|broker.send|cut/.test(call)).length > 0).toBe(
      world.get()?.status?.phase === 'Completed',
    );
    return world.get()?.status;
  };

  it("is moved by Sequential where the reference's manifest leaves the strategy open", async () => {
    expect(await ended({ messageQueueConfig: QUEUE_CONFIG })).toMatchObject({
      phase: 'Completed',
      strategy: 'Sequential',
      strategyReason: expect.stringContaining('no sidecar'),
    });
  });

  it('is found fit by a dry run, and its queue looked at', async () => {
    const world = new World('StatefulSet', true);
    world.migrate('m1', { messageQueueConfig: QUEUE_CONFIG, dryRun: true });
    await world.run();
    const { assessment, strategy, error } = world.get()!.status!;
    expect(error).toBeUndefined();
    expect(strategy).toBe('Sequential');
    expect(assessment?.map(({ verdict }) => verdict)).toEqual(Array.from({ length: 8 }, () => 'Fit'));
    world.queues.others = 1;
    world.migrate('m2', { messageQueueConfig: QUEUE_CONFIG, dryRun: true });
    await world.run('m2');
    expect(world.get('m2')?.status?.error).toMatchObject({ code: 'SHADOW_E_QUEUE' });
    expect(world.log).not.toContain('broker.send');
  });

  it.each<[string, MigrationSpec, string, RegExp, ((world: World) => void)?]>([
    ['no queue named', {}, 'SHADOW_E_NOT_INJECTED', /no shadow sidecar/],
    [
      'half a queue',
      { messageQueueConfig: { queueName: 'jobs', brokerUrl: 'amqp://mq' } },
      'SHADOW_E_INVALID',
      /spec\.messageQueueConfig\.exchangeName is empty/,
    ],
    [
      'StopAndCopy',
      { messageQueueConfig: QUEUE_CONFIG, migrationStrategy: 'StopAndCopy' },
      'SHADOW_E_NOT_INJECTED',
      /StopAndCopy needs it/,
    ],
    [
      'competing consumers',
      { messageQueueConfig: QUEUE_CONFIG },
      'SHADOW_E_QUEUE',
      /jobs has 2 consumers/,
      (world) => Object.assign(world.queues, { others: 1 }),
    ],
    [
      'a quorum queue',
      { messageQueueConfig: QUEUE_CONFIG },
      'SHADOW_E_QUEUE',
      /quorum queue/,
      (world) => Object.assign(world.queues, { quorum: true }),
    ],
  ])('is refused untouched: %s', async (_what, spec, code, text, prepare) => {
    const status = await ended(spec, prepare);
    expect(status?.error).toMatchObject({ code, message: expect.stringMatching(text) });
  });
});
