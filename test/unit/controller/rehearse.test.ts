/** Rehearsals: a copy beside its serving source, played for a while and put back, and never, by no crash, committed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { Handoff, MigrationSpec, StatefulMigration } from '../../../webhook/api/migration.ts';
import { ANNOTATION } from '../../../webhook/api/names.ts';
import { observerOf } from '../../../webhook/controller/observer.ts';
import { reconcile } from '../../../webhook/controller/reconcile.ts';
import { decide } from '../../../webhook/controller/steps/replayed.ts';
import { isRehearsal } from '../../../webhook/controller/transition.ts';
import { expectClean, expectKept, FAULT, schedule, survivor } from './rigour.ts';
import { Crash, World } from './world.ts';
import type { OwnerKind } from './world-owners.ts';

const KINDS: readonly OwnerKind[] = ['StatefulSet', 'Deployment'];
const CLAIM = '0000-1-0';

/** What stops the source's app, or lets the copy speak. */
const FORBIDDEN =
  /^(sidecar\.(mute|attach|live|supersede|settleStatus|retire)|agent\.(fence|unfence|kill|forward)|patchPod)$/;

const begun = (kind: OwnerKind = 'StatefulSet', spec: MigrationSpec = {}): World => {
  const world = new World(kind);
  world.served = true;
  // A copy takes a while until it has played anything that can be compared.
  world.matching = 1;
  world.migrate('m1', { rehearse: true, rehearseSeconds: 10, ...spec });
  return world;
};

/** The pod there was, on its node, with its memory; nothing of a migration was done to it. */
const expectPutBack = (world: World, uid: string | undefined): void => {
  expectKept(world);
  const { pod } = survivor(world);
  expect([pod?.metadata?.uid, pod?.spec?.nodeName]).toEqual([uid, 'one']);
  expect(world.log.filter((call) => FORBIDDEN.test(call))).toEqual([]);
  expect(world.verdict(CLAIM)).not.toBe('commit');
};

const rehearsed = async (world: World): Promise<StatefulMigration> => {
  const uid = survivor(world).pod?.metadata?.uid;
  await world.run();
  expectPutBack(world, uid);
  return world.get()!;
};

const reasons = ({ status }: StatefulMigration) =>
  Object.fromEntries((status?.conditions ?? []).map(({ type, status: is, reason }) => [type, `${is} ${reason}`]));

const secondsOf = ({ entered }: Handoff): number =>
  (Date.parse(entered.Aborting!) - Date.parse(entered.Replaying!)) / 1000;

describe('a rehearsal', { timeout: 120_000 }, () => {
  it.each(KINDS)('of the pod of a %s plays beside it, is put back, and tells what it has measured', async (kind) => {
    const world = begun(kind);
    const phases = new Set<string | undefined>();
    world.hook = () => void phases.add(world.get()?.status?.phase);
    const ended = await rehearsed(world);
    const { rehearsal, handoffs, error, phase, strategy } = ended.status!;
    expect({ phase, error, strategy }).toEqual({
      ...{ phase: 'Rehearsed', error: undefined },
      strategy: kind === 'StatefulSet' ? 'ShadowPodSwap' : 'ShadowPod',
    });
    // Never called by a name that a migration has.
    expect([...phases]).toEqual([undefined, 'Rehearsing', 'Rehearsed']);
    expect(handoffs).toHaveLength(1);
    expect(handoffs![0]!.decision).toMatchObject({ verdict: 'abort', message: 'rehearsed' });
    expect(rehearsal).toMatchObject({ verdict: 'Safe', seconds: 10, frozenMs: 5, diverged: 0 });
    for (const number of ['caughtUpMs', 'recorded', 'matched', 'lag'] as const)
      expect([number, rehearsal![number]]).toEqual([number, expect.any(Number)]);
    expect(Object.keys(rehearsal!.steps ?? {})).toEqual([
      ...['Warming', 'Cutting', 'Transferring', 'Restoring', 'Replaying', 'Aborting'],
    ]);
    const { parts = [], wholeMs, ...pause } = rehearsal!.estimate!;
    expect(pause).toEqual({ pauseMs: 5, pause: 'Measured' });
    expect(parts.map(({ part }) => part)).toEqual([
      ...['Warming', 'Cutting', 'Transferring', 'Restoring', 'CatchingUp', 'Ending'],
      ...(kind === 'StatefulSet' ? ['SecondHandoff'] : []),
    ]);
    expect(parts.filter(({ estimated }) => estimated).map(({ part }) => part)).toEqual(
      kind === 'StatefulSet' ? ['Ending', 'SecondHandoff'] : ['Ending'],
    );
    expect(parts.find(({ part }) => part === 'Ending')?.ms).toBe(rehearsal!.steps!.Aborting);
    expect(wholeMs).toBe(parts.reduce((sum, { ms }) => sum + ms, 0));
    expect(reasons(ended)).toMatchObject({
      ...{ Preflight: 'True Fit', Progressing: 'False Rehearsed', Committed: 'False Rehearsal' },
      Complete: 'False Rehearsed',
    });
  });

  it('is told by events of its own, none of them a warning', async () => {
    const world = begun();
    const events: string[] = [];
    const ended: string[] = [];
    const observer = observerOf(
      { event: ({ kind }, type, reason, message) => void events.push(`${kind} ${type} ${reason} ${message}`) },
      { info: () => {} },
      { step: () => {}, pause: () => {}, ended: (phase) => void ended.push(phase) },
    );
    for (let wait: number | undefined = 0; wait !== undefined; ) {
      wait = await reconcile(world.context(), world.get(), observer);
      world.advance(wait ?? 50);
    }
    expect(world.get()?.status?.phase).toBe('Rehearsed');
    expect(events.filter((event) => event.startsWith('Pod '))).toEqual([
      expect.stringMatching(/^Pod Normal Rehearsing/),
    ]);
    expect(events.at(-1)).toMatch(/^StatefulMigration Normal Rehearsed safe to replay/);
    expect(events.filter((event) => /Warning|Abort|migrated/.test(event))).toEqual([]);
    expect(ended).toEqual(['Rehearsed']);
  });

  it('ends early only when the copy has stayed near its source, and something was compared', async () => {
    const steady = await rehearsed(begun());
    expect(secondsOf(steady.status!.handoffs![0]!)).toBeGreaterThanOrEqual(3);
    expect(secondsOf(steady.status!.handoffs![0]!)).toBeLessThan(8);

    const idle = begun();
    idle.matching = 0;
    const { rehearsal, handoffs, error } = (await rehearsed(idle)).status!;
    expect(secondsOf(handoffs![0]!)).toBeGreaterThanOrEqual(10);
    expect({ verdict: rehearsal!.verdict, error }).toEqual({ verdict: 'Idle', error: undefined });
  });

  it('does not call a copy steady that falls behind again', async () => {
    const world = begun();
    let relapses = 0;
    world.hook = () => {
      const handoff = world.get()?.status?.handoffs?.[0];
      if (handoff?.step !== 'Replaying' || handoff.caughtUpAt === undefined) return;
      const since = world.time - Date.parse(handoff.caughtUpAt);
      if (since > 1_500 && relapses === 0) {
        relapses += 1;
        world.behind = 5;
      }
    };
    const { handoffs, rehearsal } = (await rehearsed(world)).status!;
    expect(relapses).toBe(1);
    expect(rehearsal?.verdict).toBe('Safe');
    const { caughtUpAt, entered } = handoffs![0]!;
    // Three seconds from the second time on.
    expect(Date.parse(entered.Aborting!) - Date.parse(caughtUpAt!)).toBeGreaterThan(5_000);
    expect(rehearsal!.caughtUpMs).toBe(Date.parse(caughtUpAt!) - Date.parse(entered.Replaying!));
  });

  it.each([2, 30])('of a copy that does not catch up is over after --for (%s s), and says so', async (seconds) => {
    const world = begun('StatefulSet', { rehearseSeconds: seconds });
    world.behind = Number.POSITIVE_INFINITY;
    const ended = await rehearsed(world);
    const { rehearsal, error, handoffs, phase } = ended.status!;
    expect({ phase, verdict: rehearsal!.verdict }).toEqual({ phase: 'Rehearsed', verdict: 'Behind' });
    expect(error).toMatchObject({
      code: 'SHADOW_E_RECORD',
      message: expect.stringContaining(`not caught up in ${seconds} s`),
    });
    const took = secondsOf(handoffs![0]!);
    expect(took).toBeGreaterThanOrEqual(seconds);
    expect(took).toBeLessThan(seconds + 5);
    expect(rehearsal!.estimate).toEqual({ pauseMs: 5, pause: 'Measured' });
    expect(reasons(ended).Complete).toBe('False Record');
  });

  it.each(['Auto', 'ShadowPodSwap'] as const)(
    'by %s that diverges ends with where; nothing is stopped and copied in its place',
    async (migrationStrategy) => {
      const world = begun('StatefulSet', { migrationStrategy });
      Object.assign(world.diverging, { count: 1, claim: CLAIM });
      const ended = await rehearsed(world);
      const { rehearsal, error, handoffs, phase } = ended.status!;
      expect(phase).toBe('Rehearsed');
      expect(rehearsal).toMatchObject({ verdict: 'Diverged', message: expect.stringMatching(/: another acknow/) });
      expect(error?.code).toBe('SHADOW_E_DIVERGED');
      expect(handoffs).toMatchObject([{ mode: 'replay', attempt: 1 }]);
      expect(reasons(ended)).toMatchObject({ Complete: 'False Diverged', Committed: 'False Rehearsal' });
    },
  );

  it('of an app that Auto would stop runs beside it, fenced, and its pause is an estimate', async () => {
    const world = begun();
    world.peers = ['10.0.0.9:5432'];
    const fenced = new Set<boolean>();
    world.hook = () => {
      for (const { state, fenced: is } of world.sidecars.values()) if (state === 'replaying') fenced.add(is);
    };
    const { strategy, strategyReason, handoffs, rehearsal } = (await rehearsed(world)).status!;
    expect(strategy).toBe('StopAndCopy');
    expect(strategyReason).toContain('10.0.0.9:5432');
    expect(handoffs?.[0]?.mode).toBe('replay');
    expect([...fenced]).toEqual([true]);
    const { steps, estimate } = rehearsal!;
    expect(estimate).toMatchObject({ pause: 'Estimated', pauseMs: 5 + steps!.Transferring! + steps!.Restoring! });
    expect(estimate!.parts!.map(({ part }) => part)).not.toContain('CatchingUp');
  });

  it('is refused where the fence would not hold the copy: a volume that others see', async () => {
    const share = (world: World): void => {
      const { spec } = world.pods.get(world.pod)!;
      spec!.volumes = [...(spec!.volumes ?? []), { name: 'share', nfs: { server: 'nas', path: '/' } }];
      spec!.containers[0]!.volumeMounts = [{ name: 'share', mountPath: '/share' }];
    };
    const world = begun();
    share(world);
    const { error, rehearsal, phase, handoffs } = (await rehearsed(world)).status!;
    expect(error).toMatchObject({ code: 'SHADOW_E_REHEARSAL', message: expect.stringContaining('share') });
    expect({ phase, verdict: rehearsal!.verdict, handoffs }).toEqual({
      ...{ phase: 'Rehearsed', verdict: 'Failed', handoffs: undefined },
    });
    expect(world.log).not.toContain('createPod');

    const declared = begun();
    share(declared);
    declared.pods.get(declared.pod)!.metadata!.annotations![ANNOTATION.effects] = 'messages';
    expect((await rehearsed(declared)).status?.rehearsal?.verdict).toBe('Safe');
  });

  it('is a rival of a migration, which goes through right after it', async () => {
    const world = begun();
    let second = false;
    world.hook = (name, when) => {
      if (name !== 'agent.cut' || when !== 'after' || second) return;
      second = true;
      world.migrate('m2');
    };
    await rehearsed(world);
    await world.run('m2');
    // It began when the rehearsal had ended.
    expect(world.get('m2')?.status?.phase).toBe('Completed');
    expect(survivor(world).pod?.spec?.nodeName).toBe('two');
    expect(world.violations).toEqual([]);
  });
});

describe('a rehearsal is put back and never committed', { timeout: 240_000 }, () => {
  const callsOf = async (kind: OwnerKind): Promise<string[]> => {
    const world = begun(kind);
    await rehearsed(world);
    return world.log;
  };

  it.each(KINDS)('through a crash of the controller before and after every single call: %s', async (kind) => {
    const count = (await callsOf(kind)).length;
    for (const when of ['before', 'after'] as const)
      for (let at = 1; at <= count; at++) {
        const world = begun(kind);
        world.hook = (_name, now, n) => {
          if (n === at && now === when) throw new Crash();
        };
        expect((await rehearsed(world)).status).toMatchObject({ phase: 'Rehearsed', rehearsal: { verdict: 'Safe' } });
      }
  });

  it.each(['abort', 'delete'] as const)('by a(n) %s at any call', async (wish) => {
    const count = (await callsOf('StatefulSet')).length;
    const ends = new Set<string | undefined>();
    for (let at = 1; at <= count; at++) {
      const world = begun();
      const uid = survivor(world).pod?.metadata?.uid;
      world.hook = (_name, when, n) => {
        if (n !== at || when !== 'before') return;
        if (wish === 'abort') world.abort();
        else world.remove();
      };
      await world.run();
      expectPutBack(world, uid);
      ends.add(world.get()?.status?.phase);
    }
    expect([...ends].sort()).toEqual(wish === 'abort' ? ['Aborted', 'Rehearsed'] : [undefined]);
  });

  it('when any call fails, before or after it took effect', async () => {
    const calls = await callsOf('StatefulSet');
    for (const retryable of [true, false])
      for (const failing of ['before', 'after'] as const)
        for (let at = 1; at <= calls.length; at++) {
          const world = begun();
          world.hook = (name, when, n) => {
            if (n === at && when === failing && /agent|sidecar/.test(name))
              throw new ShadowError('SHADOW_E_INTERNAL', 'injected', { retryable });
          };
          expect((await rehearsed(world)).status?.phase).toBe('Rehearsed');
        }
  });

  it('when its source, or the node of the copy, is lost at any call', async () => {
    const calls = await callsOf('StatefulSet');
    const [first, last] = [calls.indexOf('createPod'), calls.lastIndexOf('agent.resume')];
    for (let at = first; at <= last; at++) {
      const world = begun();
      world.served = false;
      world.hook = (_name, when, n) => {
        if (n === at && when === 'before') world.lose(world.pod);
      };
      await world.run();
      expectClean(world);
      expect(world.verdict(CLAIM)).not.toBe('commit');
      expect(world.get()?.status?.phase).toBe('Rehearsed');
    }
  });

  it('under random crashes, failures and wishes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(FAULT, { maxLength: 12 }), fc.boolean(), async (faults, diverges) => {
        const world = begun();
        if (diverges) Object.assign(world.diverging, { count: 1, claim: CLAIM });
        world.hook = schedule(world, faults);
        await rehearsed(world);
      }),
      { numRuns: 150 },
    );
  });
});

/** As a leader that knows of no rehearsals could leave it: further than any may be. */
describe('a record that a leader of another release has brought too far', { timeout: 120_000 }, () => {
  it.each(['Muting', 'Attaching'] as const)('%s, is undone there', async (step) => {
    const world = begun();
    const uid = survivor(world).pod?.metadata?.uid;
    let brought = false;
    world.hook = (name, when) => {
      const handoff = world.get()?.status?.handoffs?.[0];
      if (brought || name !== 'sidecar.replay' || when !== 'after' || handoff?.step !== 'Replaying') return;
      brought = true;
      world.change('m1', ({ status }) => {
        Object.assign(status!.handoffs![0]!, { step, entered: { ...handoff.entered, [step]: new Date(world.time) } });
      });
      throw new Crash();
    };
    await world.run();
    expect(brought).toBe(true);
    expect(world.verdict(CLAIM)).toBe('abort');
    expectKept(world);
    expect(survivor(world).pod?.metadata?.uid).toBe(uid);
    expect(world.get()?.status?.error?.code).toBe('SHADOW_E_INTERNAL');
  });

  it('begun as one that stops its source, never mutes it', async () => {
    const world = begun();
    let brought = false;
    world.hook = (name, when) => {
      if (brought || name !== 'writeStatus' || when !== 'after') return;
      if (world.get()?.status?.handoffs === undefined) return;
      brought = true;
      world.change('m1', ({ status }) => {
        Object.assign(status!.handoffs![0]!, { mode: 'stop' });
        delete status!.rehearsal;
      });
      throw new Crash();
    };
    const ended = await rehearsed(world);
    expect(brought).toBe(true);
    expect(ended.status?.error?.code).toBe('SHADOW_E_INTERNAL');
  });

  it('would be refused by the decision itself', async () => {
    const world = begun();
    let seen: StatefulMigration | undefined;
    world.hook = () => {
      if (world.get()?.status?.handoffs?.[0]?.step === 'Replaying') seen ??= structuredClone(world.get());
    };
    await rehearsed(world);
    const deciding = decide(world.context(), seen!, seen!.status!.handoffs![0]!);
    await expect(deciding).rejects.toThrow(/a rehearsal is never committed/);
  });

  it('is a rehearsal by its spec or by its record, but not once it is committed: there is only forward from there', () => {
    const committed = { handoffs: [{ decision: { verdict: 'commit' } }] } as StatefulMigration['status'];
    expect(isRehearsal({ spec: { rehearse: true } })).toBe(true);
    expect(isRehearsal({ spec: {}, status: { rehearsal: { seconds: 10 } } })).toBe(true);
    expect(isRehearsal({ spec: {} })).toBe(false);
    expect(isRehearsal({ spec: { rehearse: true }, status: committed! })).toBe(false);
  });
});
