import { describe, expect, it } from 'vitest';
import { begun, expectClean, expectCompleted, expectKept, happyCalls, survivor, type Way } from './rigour.ts';
import { cutPower, miss, powerOn } from './world-power.ts';

const WAYS: readonly Way[] = [
  { kind: 'StatefulSet', strategy: 'ShadowPodSwap' },
  { kind: 'Deployment', strategy: 'ShadowPod' },
  { kind: 'StatefulSet', strategy: 'StopAndCopy' },
];
/** As long as the node controller waits for a kubelet's word. */
const MISSED_MS = 50_000;
/** Then nobody waits for it any more. */
const SURE_MS = 8_000;

describe.each(WAYS)("the power of the source's node is cut: $strategy of a $kind", { timeout: 120_000 }, (way) => {
  it('after the commit, at any call: the copy has all, the pod gets its name, the node is waited for no longer than it takes to be sure', async () => {
    const calls = await happyCalls(way);
    const from = calls.indexOf('sidecar.live') - 1;
    for (let at = from; at <= calls.indexOf('agent.kill') + 1; at++) {
      const world = begun(way);
      world.served = false;
      let dark: number | undefined;
      world.hook = (_name, when, n) => {
        if (n === at && when === 'before' && world.verdict('0000-1-0') === 'commit') {
          cutPower(world, 'one');
          dark = world.time;
        }
        if (dark !== undefined && world.time > dark + MISSED_MS) miss(world, 'one');
      };
      await world.run('m1', 3000);
      if (dark === undefined) continue;
      expectCompleted(world);
      const { completionTime } = world.get()!.status!;
      expect(Date.parse(completionTime!) - dark).toBeGreaterThan(MISSED_MS);
      expect(Date.parse(completionTime!) - dark).toBeLessThan(MISSED_MS + SURE_MS);
    }
  });

  it('before the commit, at any call: undone by name, and over when the node is back; or decided already', async () => {
    const calls = await happyCalls(way);
    const verdicts: (string | undefined)[] = [];
    for (let at = calls.indexOf('createPod') + 2; at < calls.indexOf('sidecar.live'); at++) {
      const world = begun(way);
      world.served = false;
      let dark: ReturnType<typeof cutPower> | undefined;
      let since = 0;
      world.hook = (_name, when, n) => {
        if (n === at && when === 'before' && world.verdict('0000-1-0') === undefined) {
          dark = cutPower(world, 'one');
          since = world.time;
        }
        if (dark === undefined) return;
        if (world.time > since + MISSED_MS) miss(world, 'one');
        if (world.time < since + 180_000 || world.verdict('0000-1-0') !== 'abort') return;
        powerOn(world, 'one', dark);
        since = Number.POSITIVE_INFINITY;
      };
      await world.run('m1', 3000);
      if (dark === undefined) continue;
      const verdict = world.verdict('0000-1-0');
      verdicts.push(verdict);
      // All the copy needs was there when the light went out.
      if (verdict === 'commit') {
        expectCompleted(world);
        continue;
      }
      // Untouched so far, the source is not waited for.
      if (Number.isFinite(since)) powerOn(world, 'one', dark);
      expectClean(world);
      expect(world.get()?.status?.phase).toBe('Failed');
      expect(world.get()?.status?.error?.code).toMatch(/^SHADOW_E_/);
      const { pod, sidecar } = survivor(world);
      expect(pod?.spec?.nodeName).toBe('one');
      expect(sidecar?.process).toMatch(/^again-/);
    }
    expect(verdicts.filter((verdict) => verdict === 'abort').length).toBeGreaterThan(10);
  });

  it.each(['kubelet', 'agent'] as const)('is not taken for dead while its %s is heard', async (witness) => {
    const calls = await happyCalls(way);
    const world = begun(way);
    world.served = false;
    world.hook = (_name, when, n) => {
      if (n !== calls.indexOf('sidecar.supersede') + 1 || when !== 'before') return;
      const { disk } = cutPower(world, 'one');
      if (witness === 'kubelet') return;
      miss(world, 'one');
      world.nodes.one = disk;
    };
    await world.run('m1', 300);
    expect(world.get()?.status?.completionTime).toBeUndefined();
    expect(world.get()?.status?.handoffs?.[0]?.step).toBe('Committed');
  });
});

describe.each(WAYS)("the power of the target's node is cut: $strategy of a $kind", { timeout: 120_000 }, (way) => {
  it('before the commit, at any call: the source goes on, and nobody waits for the node to come back', async () => {
    const calls = await happyCalls(way);
    let undone = 0;
    for (let at = calls.indexOf('createPod') + 2; at < calls.indexOf('sidecar.live'); at++) {
      const world = begun(way);
      let dark: ReturnType<typeof cutPower> | undefined;
      let since = 0;
      world.hook = (_name, when, n) => {
        if (n === at && when === 'before' && world.verdict('0000-1-0') === undefined) {
          dark = cutPower(world, 'two');
          since = world.time;
        }
        if (dark !== undefined && world.time > since + MISSED_MS) miss(world, 'two');
      };
      await world.run('m1', 3000);
      if (dark === undefined) continue;
      undone += 1;
      const { phase, error, completionTime } = world.get()!.status!;
      expect([phase, world.verdict('0000-1-0')]).toEqual(['Failed', 'abort']);
      expect(error?.code).toMatch(/^SHADOW_E_((AGENT|SIDECAR)_UNREACHABLE|TRANSFER|RESTORE|ATTACH|RECORD|MUTE)$/);
      expect(Date.parse(completionTime!) - since).toBeLessThan(MISSED_MS + SURE_MS);
      expectKept(world);
      // What is on its disk its agent sweeps, when it is back.
    }
    expect(undone).toBeGreaterThan(10);
  });

  it('while the copy replays: known by its silence, and no other strategy is tried on that node', async () => {
    if (way.strategy === 'StopAndCopy') return;
    const world = begun(way);
    world.change('m1', (migration) => {
      migration.spec = { ...migration.spec, migrationStrategy: 'Auto' };
    });
    world.behind = Number.POSITIVE_INFINITY;
    let since = 0;
    world.hook = (name, when) => {
      if (name === 'sidecar.replay' && when === 'after' && since === 0) {
        cutPower(world, 'two');
        since = world.time;
      }
      if (since > 0 && world.time > since + MISSED_MS) miss(world, 'two');
    };
    await world.run('m1', 3000);
    expectKept(world);
    const { error, handoffs } = world.get()!.status!;
    expect([error?.code, handoffs![0]!.attempt]).toEqual(['SHADOW_E_SIDECAR_UNREACHABLE', 1]);
    expect(Date.parse(handoffs![0]!.decision!.at) - since).toBeGreaterThan(15_000);
    expect(Date.parse(handoffs![0]!.decision!.at) - since).toBeLessThan(25_000);
  });

  it('its copy is not taken for gone while the kubelet is heard', async () => {
    const calls = await happyCalls(way);
    const world = begun(way);
    world.hook = (_name, when, n) => {
      if (n === calls.indexOf('agent.send') + 1 && when === 'before') cutPower(world, 'two');
    };
    await world.run('m1', 300);
    expect(world.get()?.status?.completionTime).toBeUndefined();
    expect(world.get()?.status?.handoffs?.[0]?.step).toBe('Aborting');
    expect(world.pods.size).toBe(2);
  });
});

it('a source that falls silent while its copy replays is given up by name, and soon', async () => {
  const world = begun(WAYS[0]!);
  world.served = false;
  world.behind = Number.POSITIVE_INFINITY;
  let dark: ReturnType<typeof cutPower> | undefined;
  let since = 0;
  world.hook = (name, when) => {
    if (name === 'sidecar.replay' && when === 'after' && dark === undefined) {
      dark = cutPower(world, 'one');
      since = world.time;
    }
    if (dark === undefined || world.verdict('0000-1-0') === undefined || world.nodes.one !== undefined) return;
    powerOn(world, 'one', dark);
  };
  await world.run();
  expectClean(world);
  expect(world.get()?.status?.error?.code).toBe('SHADOW_E_SOURCE_LOST');
  const { decision } = world.get()!.status!.handoffs![0]!;
  expect(Date.parse(decision!.at) - since).toBeGreaterThan(15_000);
  expect(Date.parse(decision!.at) - since).toBeLessThan(25_000);
});
