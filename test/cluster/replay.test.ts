/** Replay beside the serving source: what of it the other tests do not come by. */
import type { V1Pod } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Curves, Report } from '../../plugin/report/schema.ts';
import { apply, isReady } from '../../scripts/demonstration/kube.ts';
import { until } from '../../scripts/demonstration/until.ts';
import { appDeployment } from './support/apps.ts';
import {
  type Bed,
  closeBed,
  deployApp,
  finish,
  instances,
  migrateAway,
  nodeOf,
  openBed,
  openLoad,
  plugin,
  type Spec,
  stateAt,
} from './support/bed.ts';
import { forbidPodToPod, killIn } from './support/faults.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { declareTopic, EXACT, type Load } from './support/load.ts';
import { atMoment } from './support/watch.ts';

let bed: Bed;
beforeAll(async () => {
  bed = await openBed('shadow-test-replay');
});
afterAll(() => closeBed(bed));

describe('the pod of a StatefulSet', () => {
  const SPEC: Spec = { topic: 'twin', mode: 'sequential', prefetch: 50 };
  const POD = 'twin-0';
  let load: Load;
  let before: string[];
  beforeAll(async () => {
    await deployApp(bed, SPEC);
    before = await instances(bed, SPEC);
    load = await openLoad(bed, SPEC, { rate: 50 });
    load.start();
    await load.flowing();
  });

  it('sends its record from pod to pod where that is allowed', async () => {
    const { exit, stderr, migration } = await migrateAway(bed, POD, 'ShadowPodSwap');
    expect({ exit, stderr }).toMatchObject({ exit: 0 });
    expect(migration?.status?.handoffs?.map(({ replay }) => replay?.link)).toEqual(['direct', 'direct']);
    expect(migration?.status?.handoffs?.[0]?.replay).toMatchObject({ lag: 0, diverged: 0 });
  });

  it('of which the report has the curves, the proof and the versions', async () => {
    const { exit, stdout, stderr } = await plugin(bed, 'report', `pod/${POD}`, '-o', 'json');
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    const { result, handoffs, versions } = JSON.parse(stdout) as Report;
    expect(result).toEqual({ state: 'done', error: null, putBack: [] });
    expect(handoffs).toHaveLength(2);
    for (const { curves, proof, steps } of handoffs) {
      expect(proof).toMatchObject({ diverged: 0, link: 'direct' });
      expect(proof?.matched).toBeGreaterThan(0);
      const most = (name: keyof Curves) => Math.max(...(curves?.[name] ?? []).filter((each) => each !== null));
      // 50 messages a second, by two replicas.
      for (const name of ['sourceRate', 'copyRate'] as const) expect(most(name), name).toBeGreaterThan(5);
      expect(most('lag')).toBeGreaterThanOrEqual(0);
      const replaying = steps.find(({ step }) => step === 'Replaying');
      const looked = (curves?.at ?? []).filter((at) => at >= replaying!.from && at <= replaying!.to!);
      expect(looked.length).toBeGreaterThan(1);
    }
    expect(versions.controller).toMatch(/^\d/);
    expect(versions.sidecar).toBe(versions.controller);
    expect(versions.nodes.map(({ criu, containerd }) => [criu, containerd].every((each) => /\d/.test(each)))).toEqual([
      true,
      true,
    ]);
  });

  it('and by the controller where pods may not talk to each other', async () => {
    const allow = await forbidPodToPod();
    const { exit, stderr, migration } = await migrateAway(bed, POD, 'ShadowPodSwap').finally(allow);
    expect({ exit, stderr }).toMatchObject({ exit: 0 });
    expect(migration?.status?.handoffs?.[0]?.replay).toMatchObject({ link: 'relay', lag: 0, diverged: 0 });
  });

  it('goes on when the app of its copy is killed before the commit', async () => {
    const home = await nodeOf(bed, POD);
    let killed = 0;
    const armed = await atMoment(bed, { pod: POD, handoff: 0, step: 'Replaying' }, ({ status }) => {
      killed = killIn(status?.handoffs?.[0]?.copy.uid ?? '', 'worker.cjs');
    });
    const { exit, migration } = await migrateAway(bed, POD, 'ShadowPodSwap');
    armed.disarm();
    expect(killed).toBeGreaterThan(0);
    expect({ exit, verdict: migration?.status?.handoffs?.[0]?.decision?.verdict }).toEqual({
      exit: 1,
      verdict: 'abort',
    });
    expect(await nodeOf(bed, POD)).toBe(home);
    await load.flowing();
    expect(await settledLeftovers(bed)).toEqual([]);
  });

  it('and after all of this the oracle agrees', async () => {
    expect(await finish(bed, SPEC, load)).toMatchObject({ ...EXACT, reordered: 0 });
    expect(await instances(bed, SPEC)).toEqual(before);
  });
});

describe('the pod of a Deployment', () => {
  const SPEC: Spec = { topic: 'crowd', mode: 'sequential', prefetch: 50 };
  const pods = async (): Promise<V1Pod[]> =>
    (await bed.kube.core.listNamespacedPod({ namespace: bed.namespace, labelSelector: `app=${SPEC.topic}` })).items;
  const only = (): Promise<V1Pod> =>
    until('one ready pod', 60_000, async () => {
      const [pod, ...more] = await pods();
      return more.length === 0 && isReady(pod) ? pod : undefined;
    });
  const nameOf = ({ metadata }: V1Pod): string => metadata?.name ?? '';

  it.each(['ShadowPod', 'StopAndCopy'] as const)(
    'is moved by %s, and its ReplicaSet adopts the copy',
    async (strategy) => {
      await declareTopic(bed.channel, SPEC.topic);
      await apply(bed.kube, [appDeployment({ ...SPEC, namespace: bed.namespace })]);
      const source = await only();
      const read = () => bed.kube.apps.readNamespacedDeployment({ namespace: bed.namespace, name: SPEC.topic });
      const { metadata } = await read();
      const { instance } = await stateAt(bed, nameOf(source), 8080);
      const load = await openLoad(bed, SPEC, { rate: 50 });
      onTestFinished(() => load.stop());
      load.start();
      await load.flowing();

      const { exit, stderr, migration, target } = await migrateAway(bed, nameOf(source), strategy);
      expect({ exit, stderr }).toMatchObject({ exit: 0 });
      expect(migration?.status).toMatchObject({ phase: 'Completed', strategy, deploymentName: SPEC.topic });
      const copy = await only();
      expect(nameOf(copy)).toBe(migration?.status?.targetPod);
      expect(copy.spec?.nodeName).toBe(target);
      expect(copy.metadata?.ownerReferences).toEqual(source.metadata?.ownerReferences);
      expect((await read()).metadata?.generation).toBe(metadata?.generation);
      await load.flowing();
      const finding = await load.finish(async () => [await stateAt(bed, nameOf(copy), 8080)]);
      expect(finding).toMatchObject({ ...EXACT, reordered: 0 });
      expect((await stateAt(bed, nameOf(copy), 8080)).instance).toBe(instance);
      expect(await settledLeftovers(bed)).toEqual([]);
      await bed.kube.apps.deleteNamespacedDeployment({ namespace: bed.namespace, name: SPEC.topic });
      await until('its pods to be gone', 60_000, async () => (await pods()).length === 0);
    },
  );
});
