import { describe, expect, it } from 'vitest';
import { type ErrorCode, ShadowError } from '../../../webhook/api/errors.ts';
import { ANNOTATION, LABEL } from '../../../webhook/api/names.ts';
import { PROTOCOL } from '../../../webhook/api/skew.ts';
import { begun, describeRigour, expectCompleted, expectKept, happyCalls, survivor, type Way } from './rigour.ts';
import { Crash, SHADOW, World } from './world.ts';

const SWAP: Way = { kind: 'StatefulSet', strategy: 'ShadowPodSwap' };
const REPLACE: Way = { kind: 'Deployment', strategy: 'ShadowPod' };

describeRigour(SWAP);
describeRigour(REPLACE);
describeRigour({ kind: 'Deployment', strategy: 'StopAndCopy' });

/** Claims that begin so diverge so many times. */
const diverge = (world: World, count: number, claim: string, code: ErrorCode = 'SHADOW_E_DIVERGED'): void => {
  Object.assign(world.diverging, { count, claim, code });
};

const ORDER = /freeze|cut|send|agent.restore|serve|replay|mute|fence|live|supersede|retire|forward|kill/;

describe('a migration beside the serving source', { timeout: 120_000 }, () => {
  it.each([
    ['before it is told to pass on', 'sidecar.retire', 'before', PROTOCOL],
    ['before it is told to retire, and is older', 'sidecar.retire', 'before', 1],
    ['while it passes on', 'agent.forward', 'after', PROTOCOL],
  ] as const)(
    'turns to the copy when the sidecar of the source was started anew %s',
    async (_when, call, at, protocol) => {
      const world = begun(SWAP);
      Object.assign(world.spoken, { protocol });
      world.unready.set(SHADOW, 1_000);
      let restarted = 0;
      world.hook = (name, when) => {
        const first = world.get()?.status?.handoffs?.[0];
        if (when !== at || name !== call || restarted > 0) return;
        restarted += 1;
        const anew = { state: 'mute', process: 'anew', serving: false, forwards: false };
        Object.assign(world.sidecars.get(first?.source.uid ?? '')!, anew);
      };
      await world.run();
      expect(restarted).toBe(1);
      expect(world.get()?.status?.phase).toBe('Completed');
      expect(world.violations.filter((each) => !/has no endpoint/.test(each))).toEqual([]);
    },
  );

  it.each([SWAP, REPLACE])(
    'cuts first, mutes when the copy has caught up, and decides behind the fence: %o',
    async (way) => {
      const world = begun(way);
      await world.run();
      expectCompleted(world);
      const once = [
        'sidecar.freeze',
        'agent.cut',
        'agent.send',
        'agent.restore',
        'sidecar.serve',
        'sidecar.replay',
        'agent.fence',
        'sidecar.mute',
        'sidecar.live',
        'agent.unfence',
        'sidecar.supersede',
        'sidecar.retire',
        'agent.forward',
      ];
      const order = world.log.filter((call) => ORDER.test(call) && call !== 'agent.kill');
      expect(order).toEqual(way === SWAP ? [...once, ...once] : once);
      const { handoffs, phaseTimings } = world.get()!.status!;
      for (const { mode, replay, entered } of handoffs ?? []) {
        expect(mode).toBe('replay');
        expect(replay).toMatchObject({ link: 'relay', sourceRate: 20, lag: 0 });
        expect(Object.keys(entered)).toEqual([
          ...['Warming', 'Cutting', 'Transferring', 'Restoring', 'Replaying', 'Muting', 'Attaching', 'Committed'],
          ...['Settling', 'Switching', 'Retiring', 'Done'],
        ]);
      }
      expect(Object.keys(phaseTimings ?? {})).toContain('Replaying');
    },
  );

  it.each([SWAP, REPLACE])(
    'keeps nobody from the outside where the app says that it may do things twice: %o',
    async (way) => {
      const world = begun(way);
      world.idempotent = true;
      world.pods.get(world.pod)!.metadata!.annotations![ANNOTATION.effects] = 'idempotent';
      const fenced = new Set<boolean>();
      world.hook = () => {
        for (const { state, fenced: is } of world.sidecars.values()) if (state === 'replaying') fenced.add(is);
      };
      await world.run();
      expectCompleted(world);
      expect(world.log).not.toContain('agent.fence');
      expect([...fenced]).toEqual([false]);
    },
  );

  it('but what is stopped and copied is fenced all the same', async () => {
    const world = new World();
    world.idempotent = true;
    world.pods.get(world.pod)!.metadata!.annotations![ANNOTATION.effects] = 'idempotent';
    world.migrate();
    diverge(world, 1, '0000-1-0');
    const fenced = new Set<boolean>();
    world.hook = () => {
      for (const { state, fenced: is } of world.sidecars.values()) if (state === 'attached') fenced.add(is);
    };
    await world.run();
    expectCompleted(world);
    expect([...fenced]).toEqual([true]);
  });

  it('lets users wait for two status writes only, from the mute to the copy going live', async () => {
    const calls = await happyCalls(SWAP);
    const silent = calls.slice(calls.indexOf('sidecar.mute'), calls.indexOf('sidecar.live'));
    expect(silent.filter((call) => call === 'writeStatus')).toHaveLength(2);
    expect(silent).not.toContain('agent.fence');
    expect(calls.slice(0, calls.indexOf('sidecar.mute'))).toContain('agent.fence');
  });

  it('tells how far the copy is about once a second, not at each look', async () => {
    const world = begun(SWAP);
    world.behind = 100;
    const told: (number | undefined)[] = [];
    world.hook = (name, when) => {
      const [first] = world.get()?.status?.handoffs ?? [];
      if (name === 'writeStatus' && when === 'after' && first?.step === 'Replaying') told.push(first.replay?.recorded);
    };
    await world.run();
    expectCompleted(world);
    const { entered } = world.get()!.status!.handoffs![0]!;
    const seconds = (Date.parse(entered.Muting!) - Date.parse(entered.Replaying!)) / 1000;
    expect(seconds).toBeGreaterThan(8);
    // entering the step is one
    expect(told.length - 1).toBeGreaterThan(seconds * 0.7);
    expect(told.length - 1).toBeLessThan(seconds * 1.1);
    expect(told.at(-1)).toBeGreaterThan(told[1]!);
  });

  it('does not wait for ever for a copy that does not catch up, and the source is none the worse', async () => {
    const world = begun(SWAP);
    world.behind = Number.POSITIVE_INFINITY;
    await world.run('m1', 3000);
    expectKept(world);
    const { error, handoffs } = world.get()!.status!;
    expect(error).toMatchObject({ code: 'SHADOW_E_RECORD', message: expect.stringContaining('did not catch up') });
    expect(handoffs?.[0]?.entered).not.toHaveProperty('Muting');
    expect(survivor(world).pod?.spec?.nodeName).toBe('one');
  });

  it('lets nobody wait longer than 10 s for the last of the record', async () => {
    const world = begun(SWAP);
    world.hook = (name) => {
      if (name === 'sidecar.mute') world.behind = Number.POSITIVE_INFINITY;
    };
    await world.run();
    expectKept(world);
    const { error, handoffs } = world.get()!.status!;
    expect(error?.code).toBe('SHADOW_E_RECORD');
    const { entered } = handoffs![0]!;
    expect(Date.parse(entered.Aborting!) - Date.parse(entered.Attaching!)).toBeLessThan(10_500);
  });

  it('cuts anew, with a new record, when a leader takes over in the middle of a cut', async () => {
    const calls = await happyCalls(SWAP);
    const cut = calls.indexOf('agent.cut') + 1;
    for (const [at, when] of [
      [cut - 1, 'after'],
      [cut, 'before'],
      [cut, 'after'],
    ] as const) {
      const world = begun(SWAP);
      const generations = new Set<number | undefined>();
      world.hook = (_name, now, n) => {
        const [first] = world.get()?.status?.handoffs ?? [];
        if (first?.step === 'Cutting') generations.add(first.freezeGeneration);
        if (n === at && now === when) throw new Crash();
      };
      await world.run();
      expectCompleted(world);
      expect(generations.size).toBe(2);
    }
  });

  it('freezes again, with a new generation, a source that found no place to stand still', async () => {
    const world = begun(SWAP);
    const tried = new Set<number | undefined>();
    world.hook = (name, when) => {
      const [first] = world.get()?.status?.handoffs ?? [];
      if (name !== 'sidecar.freeze' || when !== 'before' || first?.step !== 'Cutting' || tried.size === 3) return;
      tried.add(first.freezeGeneration);
      throw new ShadowError('SHADOW_E_FREEZE', 'a content is under way', { retryable: true });
    };
    await world.run();
    expectCompleted(world);
    expect(tried.size).toBe(3);
    const { entered } = world.get()!.status!.handoffs![0]!;
    // not in a tight loop
    expect(Date.parse(entered.Transferring!) - Date.parse(entered.Cutting!)).toBeGreaterThanOrEqual(150);
  });

  it.each<ErrorCode>(['SHADOW_E_DIVERGED', 'SHADOW_E_RECORD'])(
    'by Auto falls back to StopAndCopy after %s, says so, and gives the pod back its name the same way',
    async (code) => {
      const world = new World();
      world.migrate();
      diverge(world, 1, '0000-1-0', code);
      await world.run();
      expectCompleted(world);
      const { strategy, strategyReason, handoffs, error } = world.get()!.status!;
      expect(strategy).toBe('StopAndCopy');
      expect(strategyReason).toMatch(/ShadowPodSwap was tried first; .*another acknowledgement/);
      expect(error).toBeUndefined();
      expect(handoffs?.map(({ claim, mode, attempt }) => [claim, mode, attempt])).toEqual([
        ['0000-1-0-2', 'stop', 2],
        ['0000-1-1', 'stop', 1],
      ]);
    },
  );

  it('falls back through crashes at every call, and obeys an abort that comes between', async () => {
    const fallen = async (prepare: (world: World) => void): Promise<World> => {
      const world = new World();
      world.migrate();
      diverge(world, 1, '0000-1-0');
      prepare(world);
      await world.run();
      expectKept(world);
      return world;
    };
    const count = (await fallen(() => {})).log.length;
    for (let at = 1; at <= count; at++) {
      const crashed = await fallen((world) => {
        world.hook = (_name, when, n) => {
          if (n === at && when === 'after') throw new Crash();
        };
      });
      expect(crashed.get()?.status?.phase).toBe('Completed');
    }
    const ends = new Set<string | undefined>();
    for (let at = 1; at <= count; at++) {
      const wished = await fallen((world) => {
        world.hook = (_name, when, n) => {
          if (n === at && when === 'before') world.abort();
        };
      });
      ends.add(wished.get()?.status?.phase);
    }
    expect([...ends].sort()).toEqual(['Aborted', 'Completed']);
  });

  it('fails when asked for by name and the copy diverges: the source goes on', async () => {
    const world = begun(SWAP);
    diverge(world, 1, '0000-1-0');
    await world.run();
    expectKept(world);
    expect(world.get()?.status).toMatchObject({ phase: 'Failed', error: { code: 'SHADOW_E_DIVERGED' } });
    expect(survivor(world).pod?.spec?.nodeName).toBe('one');
  });

  it('stops and copies home what diverged on the way home, asked for by name or not', async () => {
    const world = begun(SWAP);
    world.served = false;
    diverge(world, 1, '0000-1-1');
    await world.run();
    expectCompleted(world);
    expect(world.get()?.status?.handoffs?.map(({ mode, attempt }) => [mode, attempt])).toEqual([
      ['replay', 1],
      ['stop', 2],
    ]);
  });

  it('does not cut a shadow that still has something to settle', async () => {
    const world = begun(SWAP);
    world.lingering = 40;
    await world.run();
    expectCompleted(world);
  });

  it('is undone when the source says that it can record no more', async () => {
    const world = begun(SWAP);
    world.hook = (name) => {
      const [source] = world.sidecars.values();
      if (name === 'sidecar.replay') Object.assign(source!, { lost: 'more than 64 MiB', code: 'SHADOW_E_RECORD' });
    };
    await world.run();
    expectKept(world);
    expect(world.get()?.status?.error).toMatchObject({ code: 'SHADOW_E_RECORD' });
  });
});

describe('Services', { timeout: 120_000 }, () => {
  it('turn to a copy that takes long, while the source stays ready, and it is told why', async () => {
    const world = begun(SWAP);
    world.unready.set(SHADOW, 200_000);
    const notes = new Set<string | undefined>();
    world.hook = () => {
      const { conditions, handoffs } = world.get()?.status ?? {};
      if (handoffs?.[0]?.step !== 'Switching') return;
      notes.add(conditions?.find(({ type }) => type === 'Progressing')?.message);
    };
    await world.run();
    expectCompleted(world);
    expect([...notes]).toContain(`${SHADOW} serves and is not Ready yet`);
    const { entered } = world.get()!.status!.handoffs![0]!;
    expect(Date.parse(entered.Retiring!) - Date.parse(entered.Switching!)).toBeGreaterThan(15_000);
  });

  it('keep the source for a minute at most', async () => {
    const world = begun(SWAP);
    world.served = false;
    world.unready.set(SHADOW, Number.POSITIVE_INFINITY);
    await world.run('m1', 3000);
    expectCompleted(world);
    const { entered } = world.get()!.status!.handoffs![0]!;
    const switched = Date.parse(entered.Retiring!) - Date.parse(entered.Switching!);
    expect(switched).toBeGreaterThan(60_000);
    expect(switched).toBeLessThan(75_000);
  });

  it.each([SWAP, REPLACE])(
    'are not waited for where the source passes on, however late the kubelet looks: %o',
    async (way) => {
      const world = begun(way);
      world.probeMs = 3_000;
      await world.run();
      expectCompleted(world);
      for (const { entered } of world.get()!.status!.handoffs!)
        expect(Date.parse(entered.Retiring!) - Date.parse(entered.Switching!)).toBeLessThan(600);
    },
  );

  it('leave the app of the source a moment for what it has begun to answer, where it has', async () => {
    // Passing on ahead, it has its moment in any case.
    for (const [open, protocol] of [
      [1, 1],
      [undefined, 1],
      [0, 1],
      [1, PROTOCOL],
    ] as const) {
      const world = begun(SWAP);
      world.open = open;
      Object.assign(world.spoken, { protocol });
      const at: Record<string, number> = {};
      world.hook = (name, when) => {
        if (when === 'after') at[name] ??= world.time;
      };
      await world.run();
      expectCompleted(world);
      for (const end of ['deletePod', 'agent.kill'])
        expect(at[end]! - at['agent.forward']! >= 200, `${end}, open: ${open}`).toBe(open !== 0);
    }
  });

  it.each([
    ['cannot reach its copy', { reachable: false }],
    ['has rules of a mesh in its network', { meshed: true }],
  ])('have turned away, down to kube-proxy, before a source goes that %s', async (_what, given) => {
    for (const way of [SWAP, REPLACE]) {
      const world = begun(way);
      Object.assign(world, given, { probeMs: 3_000 });
      await world.run();
      expectCompleted(world);
      const { entered } = world.get()!.status!.handoffs![0]!;
      expect(Date.parse(entered.Retiring!) - Date.parse(entered.Switching!)).toBeGreaterThan(3_000);
    }
  });

  it('get their source back when leader and sidecar are started anew after connections were turned to it', async () => {
    const world = begun(SWAP);
    let restarted = false;
    world.hook = (name, when) => {
      if (name !== 'agent.forward' || when !== 'after' || restarted) return;
      restarted = true;
      const source = world.sidecars.get(world.get()?.status?.handoffs?.[0]?.source.uid ?? '')!;
      Object.assign(source, { state: 'mute', serving: false, forwards: false });
      throw new Crash();
    };
    await world.run();
    expect(restarted).toBe(true);
    expect(world.violations.filter((each) => !/has no endpoint/.test(each))).toEqual([]);
    expect(world.get()?.status?.phase).toBe('Completed');
  });

  it('are told of a Deployment copy before its set adopts it, and the set drops the source alone', async () => {
    const world = begun(REPLACE);
    const copy = `web-7d9f-00001`;
    world.hook = (name, when, _n) => {
      const labels = world.pods.get(copy)?.metadata?.labels ?? {};
      if (when === 'before' && world.verdict('0000-1-0') === undefined && LABEL.templateHash in labels)
        world.violate('the set could adopt a copy before its commit');
      if (
        name === 'patchPod' &&
        LABEL.templateHash in labels &&
        world.endpoints.get(world.pods.get(copy)?.metadata?.uid ?? '') !== true
      )
        world.violate('adopted before it was ready');
    };
    await world.run();
    expectCompleted(world);
    expect([...world.pods.keys()]).toEqual([copy]);
    expect(world.get()?.status).toMatchObject({ targetPod: copy, deploymentName: 'web', strategy: 'ShadowPod' });
    expect(world.get()?.status?.handoffs).toHaveLength(1);
    expect(world.log).not.toContain('writeRestoreConfig');
  });
});
