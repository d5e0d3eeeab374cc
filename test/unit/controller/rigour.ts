/** What holds for a migration however it is carried out: crashes, failures, wishes and losses at every single call. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { MigrationSpec, Strategy } from '../../../webhook/api/migration.ts';
import { ANNOTATION, FINALIZER, LABEL } from '../../../webhook/api/names.ts';
import { Crash, type Hook, World } from './world.ts';
import type { OwnerKind } from './world-owners.ts';
import { QUEUE_CONFIG } from './world-queues.ts';

export interface Way {
  kind: OwnerKind;
  strategy: Strategy;
  /** Pods without the sidecar. */
  bare?: boolean;
  spec?: MigrationSpec;
}

export const begun = ({ kind, strategy, bare = false, spec = {} }: Way): World => {
  const world = new World(kind, bare);
  world.served = strategy !== 'StopAndCopy' && !bare;
  const messageQueueConfig = QUEUE_CONFIG;
  world.migrate('m1', { migrationStrategy: strategy, ...(bare ? { messageQueueConfig } : {}), ...spec });
  return world;
};

/** Of the only pod there should be. */
export const survivor = (world: World) => {
  const [pod] = [...world.pods.values()];
  return { pod, sidecar: world.sidecars.get(pod?.metadata?.uid ?? '') };
};

/** Whatever happened: one pod serves, nothing else is left. */
export const expectClean = (world: World): void => {
  expect(world.violations).toEqual([]);
  expect(world.pods.size).toBe(1);
  if (world.kind === 'StatefulSet') expect([...world.pods.keys()]).toEqual([world.pod]);
  expect(world.restoreConfig).toBeUndefined();
  expect(world.queues.left()).toEqual([]);
  expect([...world.memory.keys()]).toEqual([]);
  for (const node of Object.values(world.nodes))
    expect([node.name, ...node.staged.keys(), ...node.images.keys(), ...node.cuts.keys()]).toEqual([node.name]);
  // What could not be removed from a registry is told.
  if (!world.events.includes('CheckpointImageLeft')) expect([...world.registry.images.keys()]).toEqual([]);
  const { pod, sidecar } = survivor(world);
  expect(sidecar).toMatchObject({ state: 'idle', app: 'running', fenced: false });
  expect(pod?.metadata?.ownerReferences).toHaveLength(1);
  expect(pod?.metadata?.annotations).not.toHaveProperty([ANNOTATION.restore]);
  expect(pod?.metadata?.annotations).not.toHaveProperty([ANNOTATION.commit]);
  expect(pod?.metadata?.annotations).not.toHaveProperty([ANNOTATION.deletionCost]);
  expect(pod?.metadata?.labels).not.toHaveProperty([LABEL.migration]);
  expect(world.get()?.metadata.finalizers ?? []).not.toContain(FINALIZER);
};

export const expectKept = (world: World): void => {
  expectClean(world);
  expect(survivor(world).sidecar?.process).toBe(world.original);
  expect(world.fresh).toBe(0);
};

export const expectCompleted = (world: World): void => {
  expectKept(world);
  expect(world.get()?.status?.phase).toBe('Completed');
  expect(survivor(world).pod?.spec?.nodeName).toBe('two');
};

export const happyCalls = async (way: Way): Promise<string[]> => {
  const world = begun(way);
  await world.run();
  return world.log;
};

/** The wish comes right before the n-th call. Returns the phase it ends in, having checked that it is the right one. */
const endOf = async (way: Way, wish: 'abort' | 'delete', at: number): Promise<string> => {
  const world = begun(way);
  const uid = survivor(world).pod?.metadata?.uid;
  let committed = false;
  world.hook = (_name, when, n) => {
    if (n !== at || when !== 'before') return;
    committed = world.verdict('0000-1-0') === 'commit';
    if (wish === 'abort') world.abort();
    else world.remove();
  };
  await world.run();
  expectKept(world);
  const { pod } = survivor(world);
  expect(pod?.spec?.nodeName).toBe(committed ? 'two' : 'one');
  if (!committed) expect(pod?.metadata?.uid).toBe(uid);
  if (wish === 'delete') expect(world.get()).toBeUndefined();
  else expect(world.get()?.status?.phase).toBe(committed ? 'Completed' : 'Aborted');
  return world.get()?.status?.phase ?? 'gone';
};

interface Fault {
  gap: number;
  when: 'before' | 'after';
  kind: 'crash' | 'retry' | 'fail' | 'touch' | 'abort';
}

export const FAULT: fc.Arbitrary<Fault> = fc.record({
  gap: fc.integer({ min: 1, max: 25 }),
  when: fc.constantFrom<'before' | 'after'>('before', 'after'),
  kind: fc.constantFrom<Fault['kind']>('crash', 'retry', 'fail', 'touch', 'abort'),
});

const strike = (world: World, kind: Fault['kind'], name: string): void => {
  if (kind === 'crash') throw new Crash();
  if (kind === 'touch') world.touch();
  if (kind === 'abort') world.abort();
  if ((kind === 'retry' || kind === 'fail') && /agent|sidecar/.test(name))
    throw new ShadowError('SHADOW_E_INTERNAL', 'injected', { retryable: kind === 'retry' });
};

/** Each fault strikes so many calls after the one before it. */
export const schedule = (world: World, faults: readonly Fault[]): Hook => {
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

export const describeRigour = (way: Way): void => {
  const by = [way.strategy, way.spec?.transferMode, way.spec?.identitySwapMode].filter(Boolean).join(' and ');
  describe(`a migration of a ${way.kind}'s pod by ${by}`, { timeout: 120_000 }, () => {
    it('outlives a crash of the controller before and after every single call', async () => {
      const count = (await happyCalls(way)).length;
      for (const when of ['before', 'after'] as const)
        for (let at = 1; at <= count; at++) {
          const world = begun(way);
          world.hook = (_name, now, n) => {
            if (n === at && now === when) throw new Crash();
          };
          await world.run();
          expectCompleted(world);
        }
    });

    it.each(['abort', 'delete'] as const)(
      'is aborted or completed, nothing between, at a(n) %s at any call',
      async (wish) => {
        const count = (await happyCalls(way)).length;
        const ends = new Set<string>();
        for (let at = 1; at <= count; at++) ends.add(await endOf(way, wish, at));
        expect([...ends].sort()).toEqual(wish === 'abort' ? ['Aborted', 'Completed'] : ['gone']);
      },
    );

    it('undoes or repeats when any call fails, before or after it took effect', async () => {
      const calls = await happyCalls(way);
      for (const retryable of [true, false])
        for (const failing of ['before', 'after'] as const)
          for (let at = 1; at <= calls.length; at++) {
            const world = begun(way);
            world.hook = (name, when, n) => {
              if (n === at && when === failing && /agent|sidecar/.test(name))
                throw new ShadowError('SHADOW_E_INTERNAL', 'injected', { retryable });
            };
            await world.run();
            expectKept(world);
          }
    });

    it('loses the source at any call without two voices or leftovers', async () => {
      const calls = await happyCalls(way);
      for (let at = 12; at <= calls.findIndex((call) => /agent.(still|kill)/.test(call)); at++) {
        const world = begun(way);
        world.served = false;
        world.hook = (_name, when, n) => {
          if (n === at && when === 'before') world.lose(world.pod);
        };
        await world.run();
        expectClean(world);
      }
    });

    it('obeys what is stored when another write comes between', async () => {
      const count = (await happyCalls(way)).length;
      for (let at = 1; at <= count; at++) {
        const world = begun(way);
        world.hook = (name, when, n) => {
          if (n === at && when === 'before' && name === 'writeStatus') world.touch();
        };
        await world.run();
        expectCompleted(world);
      }
    });

    it('keeps every rule under random crashes, failures and an abort', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(FAULT, { maxLength: 12 }), async (faults) => {
          const world = begun(way);
          world.hook = schedule(world, faults);
          await world.run();
          expectKept(world);
        }),
        { numRuns: 300 },
      );
    });
  });
};
