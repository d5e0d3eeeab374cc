/** Dry runs: all that preflight would refuse, told at once, and nothing touched. */
import type { V1Pod } from '@kubernetes/client-node';
import { describe, expect, it } from 'vitest';
import packageJson from '../../../package.json' with { type: 'json' };
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { Aspect, MigrationSpec } from '../../../webhook/api/migration.ts';
import { ANNOTATION } from '../../../webhook/api/names.ts';
import { phaseOf } from '../../../webhook/controller/derive.ts';
import { POD, World } from './world.ts';

const READS = /^(readPod|listPods|listAllPods|nodes|statefulSet|replicaSet|deployment|writeStatus|createPod)$/;
const INSPECTIONS = /^(agent\.(node|inspect)|sidecar\.inspect)$/;

/** Runs it to its end; nothing but looks, and its own record, may have been called. */
const dryRun = async (prepare: (world: World) => void = () => {}, spec: MigrationSpec = {}, kind?: 'Deployment') => {
  const world = new World(kind);
  world.migrate('m1', { dryRun: true, targetNode: '', ...spec });
  prepare(world);
  const before = [...world.pods.values()].map(({ metadata }) => metadata?.uid);
  await world.run();
  const touching = world.log.filter((call) => !READS.test(call) && !INSPECTIONS.test(call));
  expect(touching).toEqual([]);
  expect([...world.pods.values()].map(({ metadata }) => metadata?.uid)).toEqual(before);
  expect(world.violations).toEqual([]);
  const migration = world.get()!;
  expect(migration.metadata.finalizers ?? []).toEqual([]);
  return migration.status!;
};
const source = (world: World): V1Pod => world.pods.get(world.pod)!;
const verdicts = (assessment: Aspect[] | undefined, verdict: Aspect['verdict']) =>
  (assessment ?? []).filter((one) => one.verdict === verdict).map(({ aspect }) => aspect);
const aspectOf = (assessment: Aspect[] | undefined, name: Aspect['aspect']) =>
  assessment?.find(({ aspect }) => aspect === name);

describe('a dry run', () => {
  it.each(['StatefulSet', 'Deployment'] as const)(
    'finds a pod of a %s fit, says how and where to, and ends',
    async (kind) => {
      const status = await dryRun(undefined, {}, kind === 'Deployment' ? kind : undefined);
      expect(status).toMatchObject({
        phase: 'Checked',
        strategy: kind === 'StatefulSet' ? 'ShadowPodSwap' : 'ShadowPod',
        fitNodes: ['two'],
        targetNode: 'two',
      });
      expect(verdicts(status.assessment, 'Fit')).toHaveLength(8);
      expect(status.error).toBeUndefined();
      expect(status.handoffs).toBeUndefined();
      const told = Object.fromEntries(
        status.conditions!.map(({ type, status, reason }) => [type, `${status} ${reason}`]),
      );
      expect(told).toMatchObject({ Preflight: 'True Fit', Complete: 'False DryRun', Committed: 'False NotCommitted' });
    },
  );

  it('warns of a sidecar one minor version behind, and finds the pod fit', async () => {
    const [major, minor] = packageJson.version.split('.').map(Number);
    const behind = `${major}.${minor! - 1}.0`;
    const status = await dryRun((world) => Object.assign(world.spoken, { version: behind }));
    expect(verdicts(status.assessment, 'Warning')).toEqual(['Session']);
    expect(aspectOf(status.assessment, 'Session')?.findings.at(-1)).toContain(`its sidecar is ${behind}`);
    expect(status.error).toBeUndefined();
  });

  it.each<[string, Aspect['aspect'], string, RegExp, (world: World) => void, MigrationSpec?]>([
    ['no such pod', 'Pod', 'SHADOW_E_POD_NOT_FOUND', /nobody-0/, () => {}, { sourcePod: 'nobody-0' }],
    [
      'an exclusive queue',
      'Session',
      'SHADOW_E_SESSION',
      /jobs, which is exclusive/,
      (world) => world.sessionHazards.push('connection 1: declared queue jobs, which is exclusive'),
    ],
    [
      'a sidecar too old for this controller',
      'Session',
      'SHADOW_E_SKEW',
      /its sidecar is 0\.0\.9, more than one minor version/,
      (world) => Object.assign(world.spoken, { version: '0.0.9' }),
    ],
    [
      'a sidecar of another protocol',
      'Session',
      'SHADOW_E_SKEW',
      /speaks protocol 99/,
      (world) => Object.assign(world.spoken, { protocol: 99 }),
    ],
    [
      'a postStart hook',
      'Spec',
      'SHADOW_E_UNSUPPORTED',
      /postStart/,
      (world) => Object.assign(source(world).spec!.containers[0]!, { lifecycle: { postStart: {} } }),
    ],
    [
      'a hostPath',
      'Spec',
      'SHADOW_E_UNSUPPORTED',
      /data is a hostPath/,
      (world) => Object.assign(source(world).spec!, { volumes: [{ name: 'data', hostPath: { path: '/x' } }] }),
    ],
    [
      'a socket on its own address',
      'Processes',
      'SHADOW_E_UNSUPPORTED',
      /own address/,
      (world) => world.processHazards.push("a socket listens on the pod's own address, 10.0.0.1:80"),
    ],
    [
      'a rollout',
      'Owner',
      'SHADOW_E_ROLLOUT',
      /r0/,
      (world) => Object.assign(source(world).metadata!.labels!, { 'controller-revision-hash': 'r0' }),
    ],
    [
      'a container of another pod',
      'Spec',
      'SHADOW_E_INVALID',
      /no container "web"; it has app/,
      () => {},
      { containerName: 'web' },
    ],
    [
      'no other node',
      'Nodes',
      'SHADOW_E_NO_NODE',
      /two: it is cordoned/,
      (world) => Object.assign(world.kubeNodes[1]!, { spec: { unschedulable: true } }),
    ],
    ['its own node', 'Nodes', 'SHADOW_E_SAME_NODE', /one/, () => {}, { targetNode: 'one' }],
    ['no such node', 'Nodes', 'SHADOW_E_NODE_NOT_FOUND', /nowhere/, () => {}, { targetNode: 'nowhere' }],
  ])('names %s', async (_what, aspect, code, text, prepare, spec) => {
    const { phase, assessment, error, conditions } = await dryRun(prepare, spec);
    expect(phase).toBe('Checked');
    expect(verdicts(assessment, 'Unfit')).toEqual([aspect]);
    expect(aspectOf(assessment, aspect)).toMatchObject({ code, findings: [expect.stringMatching(text)] });
    expect(error).toMatchObject({ code });
    expect(conditions?.find(({ type }) => type === 'Preflight')?.status).toBe('False');
  });

  it('tells everything at once: not injected, not ready, a volume, a hook, nobody who owns it', async () => {
    const { assessment } = await dryRun((world) => {
      const pod = source(world);
      Object.assign(pod.metadata!, { labels: {}, ownerReferences: [] });
      Object.assign(pod.spec!, { volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'c' } }] });
      world.unready.set(POD, 1e9);
      world.tick();
    });
    expect(verdicts(assessment, 'Unfit')).toEqual(['Pod', 'Spec', 'Owner']);
    expect(aspectOf(assessment, 'Pod')?.findings).toHaveLength(2);
    expect(verdicts(assessment, 'Unknown')).toEqual(['Session', 'Strategy', 'Nodes', 'Admission']);
  });

  it('names every hazard of a session by a line of its own', async () => {
    const { assessment } = await dryRun((world) => world.sessionHazards.push('one', 'two'));
    expect(aspectOf(assessment, 'Session')?.findings).toEqual(['one', 'two']);
  });

  it('doubts a strategy that is asked for where Auto would take another, and the connections that end', async () => {
    const database = (world: World): void => void world.peers.push('10.0.0.5:5432');
    const asked = await dryRun(database, { migrationStrategy: 'ShadowPodSwap' });
    expect(verdicts(asked.assessment, 'Warning')).toEqual(['Processes', 'Strategy']);
    expect(aspectOf(asked.assessment, 'Strategy')?.findings[0]).toMatch(
      /ShadowPodSwap is asked for, Auto would take StopAndCopy: .*10\.0\.0\.5:5432/,
    );
    expect(asked).toMatchObject({ strategy: 'ShadowPodSwap' });
    expect(asked.error).toBeUndefined();
    for (const migrationStrategy of ['Auto', 'StopAndCopy'] as const)
      expect(verdicts((await dryRun(database, { migrationStrategy })).assessment, 'Warning')).toEqual(['Processes']);
    const declared = await dryRun(
      (world) => {
        database(world);
        source(world).metadata!.annotations = { [ANNOTATION.effects]: 'messages' };
      },
      { migrationStrategy: 'ShadowPodSwap' },
    );
    expect(verdicts(declared.assessment, 'Warning')).toEqual(['Processes']);
  });

  it('warns of a preStop hook, which is cut short', async () => {
    const { assessment } = await dryRun((world) =>
      Object.assign(source(world).spec!.containers[0]!, { lifecycle: { preStop: {} } }),
    );
    expect(aspectOf(assessment, 'Spec')).toMatchObject({
      verdict: 'Warning',
      findings: [expect.stringMatching(/preStop/)],
    });
  });

  it('asks a silent sidecar for a while, then says so and judges the rest', async () => {
    const status = await dryRun((world) => {
      world.hook = (name) => {
        if (name === 'sidecar.inspect') throw new ShadowError('SHADOW_E_SIDECAR_UNREACHABLE', '', { retryable: true });
      };
    });
    expect(verdicts(status.assessment, 'Unfit')).toEqual(['Session']);
    expect(status.error?.code).toBe('SHADOW_E_SIDECAR_UNREACHABLE');
    expect(status.fitNodes).toEqual(['two']);
    const waited = Date.parse(status.completionTime!) - Date.parse(status.startTime!);
    expect(waited).toBeGreaterThanOrEqual(15_000);
    expect(waited).toBeLessThan(25_000);
  });

  it('with an abort in it is looked at all the same: an older controller would leave the pod alone', async () => {
    expect(phaseOf(await dryRun(undefined, { abort: true }))).toBe('Checked');
  });

  it('is never in the way of a migration, and sees one that runs', async () => {
    const world = new World();
    world.migrate('m1', { dryRun: true });
    world.time += 1_000;
    world.migrate('m2');
    await world.run('m2');
    expect(world.get('m2')?.status?.phase).toBe('Completed');
    const busy = new World();
    busy.migrate('m2');
    busy.change('m2', (migration) => {
      migration.status = { phase: 'Pending', startTime: new Date(busy.time).toISOString() };
    });
    busy.time += 1_000;
    busy.migrate('m1', { dryRun: true });
    await busy.run('m1');
    expect(aspectOf(busy.get('m1')?.status?.assessment, 'Pod')).toMatchObject({ code: 'SHADOW_E_BUSY' });
  });

  it('may be deleted at any time: nobody has to let it go', async () => {
    const world = new World();
    world.migrate('m1', { dryRun: true });
    world.remove();
    expect(world.get()).toBeUndefined();
  });

  it('survives a controller that dies at every call', async () => {
    const calls = async (at: number): Promise<World> => {
      const world = new World();
      world.migrate('m1', { dryRun: true });
      world.hook = (_name, when, count) => {
        if (when === 'after' && count === at) throw new ShadowError('SHADOW_E_API', 'lost', { retryable: true });
      };
      await world.run();
      return world;
    };
    for (let at = 1; at <= 12; at++) expect((await calls(at)).get()?.status?.phase).toBe('Checked');
  });
});
