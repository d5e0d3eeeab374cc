import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { ANNOTATION, FINALIZER, LABEL } from '../../../webhook/api/names.ts';
import { Crash, type Hook, POD, SHADOW, World } from './world.ts';

/** Whatever happened: one pod of that name serves, nothing else is left. */
const expectClean = (world: World): void => {
  expect(world.violations).toEqual([]);
  expect([...world.pods.keys()]).toEqual([POD]);
  expect(world.restoreConfig).toBeUndefined();
  for (const node of Object.values(world.nodes))
    expect([node.name, ...node.staged.keys(), ...node.images.keys(), ...node.cuts.keys()]).toEqual([node.name]);
  const pod = world.pods.get(POD)!;
  const sidecar = world.sidecars.get(pod.metadata?.uid ?? '')!;
  expect(sidecar).toMatchObject({ state: 'idle', app: 'running', fenced: false });
  expect(pod.metadata?.annotations).not.toHaveProperty([ANNOTATION.restore]);
  expect(pod.metadata?.annotations).not.toHaveProperty([ANNOTATION.commit]);
  expect(pod.metadata?.labels).not.toHaveProperty([LABEL.migration]);
  expect(world.get()?.metadata.finalizers ?? []).not.toContain(FINALIZER);
};

const original = (world: World) => [...world.sidecars.values()][0]!.process;
const processNow = (world: World) => world.sidecars.get(world.pods.get(POD)?.metadata?.uid ?? '')?.process;

const expectCompleted = (world: World, process: string): void => {
  expectClean(world);
  expect(world.get()?.status?.phase).toBe('Completed');
  expect(world.pods.get(POD)?.spec?.nodeName).toBe('two');
  expect(processNow(world)).toBe(process);
  expect(world.fresh).toBe(0);
};

const begun = () => {
  const world = new World();
  world.migrate();
  return { world, process: original(world) };
};

const happyCalls = async (): Promise<string[]> => {
  const { world } = begun();
  await world.run();
  return world.log;
};

/** The wish comes right before the n-th call. Returns the phase it ends in, having checked that it is the right one. */
const endOf = async (way: 'abort' | 'delete', at: number): Promise<string> => {
  const { world, process } = begun();
  const uid = world.pods.get(POD)?.metadata?.uid;
  let committed = false;
  world.hook = (_name, when, n) => {
    if (n !== at || when !== 'before') return;
    committed = world.verdict('0000-1-0') === 'commit';
    if (way === 'abort') world.abort();
    else world.remove();
  };
  await world.run();
  expectClean(world);
  expect(processNow(world)).toBe(process);
  expect(world.pods.get(POD)?.spec?.nodeName).toBe(committed ? 'two' : 'one');
  if (!committed) expect(world.pods.get(POD)?.metadata?.uid).toBe(uid);
  if (way === 'delete') expect(world.get()).toBeUndefined();
  else expect(world.get()?.status?.phase).toBe(committed ? 'Completed' : 'Aborted');
  return world.get()?.status?.phase ?? 'gone';
};

interface Fault {
  gap: number;
  when: 'before' | 'after';
  kind: 'crash' | 'retry' | 'fail' | 'touch' | 'abort';
}

const strike = (world: World, kind: Fault['kind'], name: string): void => {
  if (kind === 'crash') throw new Crash();
  if (kind === 'touch') world.touch();
  if (kind === 'abort') world.abort();
  if ((kind === 'retry' || kind === 'fail') && /agent|sidecar/.test(name))
    throw new ShadowError('SHADOW_E_INTERNAL', 'injected', { retryable: kind === 'retry' });
};

/** Each fault strikes so many calls after the one before it. */
const schedule = (world: World, faults: readonly Fault[]): Hook => {
  const plan = [...faults];
  let last = 0;
  return (name, when, n) => {
    const next = plan[0];
    if (next === undefined || n < last + next.gap || next.when !== when) return;
    plan.shift();
    last = n;
    strike(world, next.kind, name);
  };
};

describe('a migration', { timeout: 120_000 }, () => {
  it('moves the pod with its memory and its name, in order, and leaves nothing', async () => {
    const { world, process } = begun();
    await world.run();
    expectCompleted(world, process);
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
    const calls = await happyCalls();
    const pause = calls.slice(calls.indexOf('sidecar.mute'), calls.indexOf('sidecar.live'));
    expect(pause.filter((call) => call === 'writeStatus')).toHaveLength(5);
    expect(pause.filter((call) => call === 'readMigration')).toHaveLength(0);
  });

  it('outlives a crash of the controller before and after every single call', async () => {
    const count = (await happyCalls()).length;
    for (const when of ['before', 'after'] as const)
      for (let at = 1; at <= count; at++) {
        const { world, process } = begun();
        world.hook = (_name, now, n) => {
          if (n === at && now === when) throw new Crash();
        };
        await world.run();
        expectCompleted(world, process);
      }
  });

  it.each(['abort', 'delete'] as const)(
    'is aborted or completed, nothing between, at a(n) %s at any call',
    async (way) => {
      const count = (await happyCalls()).length;
      const ends = new Set<string>();
      for (let at = 1; at <= count; at++) ends.add(await endOf(way, at));
      expect([...ends].sort()).toEqual(way === 'abort' ? ['Aborted', 'Completed'] : ['gone']);
    },
  );

  it('undoes or repeats when any call fails, before or after it took effect', async () => {
    const calls = await happyCalls();
    for (const retryable of [true, false])
      for (const failing of ['before', 'after'] as const)
        for (let at = 1; at <= calls.length; at++) {
          const { world, process } = begun();
          world.hook = (name, when, n) => {
            if (n === at && when === failing && /agent|sidecar/.test(name))
              throw new ShadowError('SHADOW_E_INTERNAL', 'injected', { retryable });
          };
          await world.run();
          expectClean(world);
          expect(processNow(world)).toBe(process);
          expect(world.fresh).toBe(0);
        }
  });

  it('keeps serving from the shadow while the way home fails, and tries again', async () => {
    const { world, process } = begun();
    let failed = 0;
    world.hook = (name, when) => {
      const second = world.get()?.status?.handoffs?.[1];
      if (name !== 'agent.restore' || when !== 'before' || second?.step !== 'Restoring' || failed === 4) return;
      failed++;
      throw new ShadowError('SHADOW_E_RESTORE', 'injected');
    };
    await world.run();
    expectCompleted(world, process);
    expect(world.get()?.status?.handoffs?.[1]).toMatchObject({ attempt: 5, claim: '0000-1-1-5' });
  });

  it('ends with a fresh pod, said so, when the shadow is lost before it gave its state back', async () => {
    const calls = await happyCalls();
    const from = calls.lastIndexOf('sidecar.mute') + 1;
    for (let at = from; at < calls.lastIndexOf('sidecar.attach') + 1; at++) {
      const { world } = begun();
      world.hook = (_name, when, n) => {
        if (n === at && when === 'before') world.lose(SHADOW);
      };
      await world.run();
      expectClean(world);
      expect(world.get()?.status).toMatchObject({ phase: 'Failed', error: { code: 'SHADOW_E_SOURCE_LOST' } });
    }
  });

  it('loses the source at any call without two voices or leftovers', async () => {
    const calls = await happyCalls();
    for (let at = 12; at <= calls.indexOf('agent.kill'); at++) {
      const { world } = begun();
      world.hook = (_name, when, n) => {
        if (n === at && when === 'before') world.lose(POD);
      };
      await world.run();
      expectClean(world);
    }
  });

  it('obeys what is stored when another write comes between', async () => {
    const count = (await happyCalls()).length;
    for (let at = 1; at <= count; at++) {
      const { world, process } = begun();
      world.hook = (name, when, n) => {
        if (n !== at || when !== 'before' || name !== 'writeStatus') return;
        world.touch();
      };
      await world.run();
      expectCompleted(world, process);
    }
  });

  it('keeps every rule under random crashes, failures and an abort', async () => {
    const fault = fc.record({
      gap: fc.integer({ min: 1, max: 25 }),
      when: fc.constantFrom<'before' | 'after'>('before', 'after'),
      kind: fc.constantFrom<Fault['kind']>('crash', 'retry', 'fail', 'touch', 'abort'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fault, { maxLength: 12 }), async (faults) => {
        const { world, process } = begun();
        world.hook = schedule(world, faults);
        await world.run();
        expectClean(world);
        expect(processNow(world)).toBe(process);
        expect(world.fresh).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});
