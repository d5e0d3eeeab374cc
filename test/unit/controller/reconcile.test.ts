import { describe, expect, it } from 'vitest';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { begun, describeRigour, expectClean, expectCompleted, happyCalls, type Way } from './rigour.ts';
import { SHADOW } from './world.ts';

const STOP: Way = { kind: 'StatefulSet', strategy: 'StopAndCopy' };

describeRigour(STOP);

describe('a migration by StopAndCopy', { timeout: 120_000 }, () => {
  it('moves the pod with its memory and its name, in order, and leaves nothing', async () => {
    const world = begun(STOP);
    await world.run();
    expectCompleted(world);
    const order = world.log.filter((call) => /mute|freeze|cut|send|agent.restore|attach|live|kill/.test(call));
    const once = [
      'sidecar.mute',
      'sidecar.freeze',
      'agent.cut',
      'agent.send',
      'agent.restore',
      'sidecar.attach',
      'sidecar.live',
    ];
    expect(order.filter((call) => call !== 'agent.kill')).toEqual([...once, ...once]);
    const { conditions, handoffs, phaseTimings } = world.get()!.status!;
    expect(conditions?.map(({ type, status }) => `${type}=${status}`)).toEqual([
      'Preflight=True',
      'Progressing=False',
      'Committed=True',
      'Complete=True',
    ]);
    expect(handoffs?.map(({ step, attempt, decision }) => [step, attempt, decision?.verdict])).toEqual([
      ['Done', 1, 'commit'],
      ['Done', 1, 'commit'],
    ]);
    // above any a pod may have seen in an earlier migration
    for (const { freezeGeneration } of handoffs ?? []) expect(freezeGeneration).toBeGreaterThan(1_600_000_000_000);
    expect(Object.keys(phaseTimings ?? {})).toContain('Checkpointing');
  });

  it('writes the status once a step within the pause', async () => {
    const calls = await happyCalls(STOP);
    const pause = calls.slice(calls.indexOf('sidecar.mute'), calls.indexOf('sidecar.live'));
    expect(pause.filter((call) => call === 'writeStatus')).toHaveLength(5);
    expect(pause.filter((call) => call === 'readMigration')).toHaveLength(0);
  });

  it('touches nothing of the source before the way back is proven', async () => {
    const world = begun(STOP);
    world.heeded = false;
    world.hook = (name, when) => {
      if (when !== 'before') return;
      if (name === 'agent.waiting' && !world.heeded) world.violate('the handler is waited for');
      if (world.get()?.status?.handoffs?.[0]?.step === 'Warming' && world.pods.has(SHADOW) && name === 'createPod')
        world.heeded = world.log.filter((call) => call === 'createPod').length > 3;
    };
    await world.run();
    expectCompleted(world);
    expect(world.log.filter((call) => call === 'createPod').length).toBeGreaterThan(3);
  });

  it('keeps serving from the shadow while the way home fails, and tries again', async () => {
    const world = begun(STOP);
    let failed = 0;
    world.hook = (name, when) => {
      const second = world.get()?.status?.handoffs?.[1];
      if (name !== 'agent.restore' || when !== 'before' || second?.step !== 'Restoring' || failed === 4) return;
      failed++;
      throw new ShadowError('SHADOW_E_RESTORE', 'injected');
    };
    await world.run();
    expectCompleted(world);
    expect(world.get()?.status?.handoffs?.[1]).toMatchObject({ attempt: 5, claim: '0000-1-1-5' });
  });

  it('ends the settling when a sidecar of one side or the other is started anew in it', async () => {
    for (const side of ['source', 'copy'] as const) {
      const world = begun(STOP);
      world.hook = (name, when) => {
        const first = world.get()?.status?.handoffs?.[0];
        if (name !== 'sidecar.settleStatus' || when !== 'before' || first?.step !== 'Settling') return;
        world.hook = () => undefined;
        const [source, copy] = [first.source, first.copy].map(({ uid }) => world.sidecars.get(uid ?? ''));
        if (side === 'source') Object.assign(source!, { state: 'mute', carried: 0, outstanding: 0 });
        else {
          Object.assign(source!, { outstanding: 5 });
          copy!.state = 'idle';
        }
      };
      await world.run();
      expect(world.violations).toEqual([]);
      expect(world.get()?.status?.phase).toBe('Completed');
    }
  });

  it('ends with a fresh pod, said so, when the shadow is lost before it gave its state back', async () => {
    const calls = await happyCalls(STOP);
    const from = calls.lastIndexOf('sidecar.mute') + 1;
    for (let at = from; at < calls.lastIndexOf('sidecar.attach') + 1; at++) {
      const world = begun(STOP);
      world.hook = (_name, when, n) => {
        if (n === at && when === 'before') world.lose(SHADOW);
      };
      await world.run();
      expectClean(world);
      expect(world.get()?.status).toMatchObject({ phase: 'Failed', error: { code: 'SHADOW_E_SOURCE_LOST' } });
    }
  });
});
