/** Who may claim a checkpoint, and what a StatefulMigration may say. */
import type { V1Pod } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { probePod, provesLive, restoreWebhookConfig } from '../../../webhook/admission/restore-config.ts';
import type { Question } from '../../../webhook/admission/review.ts';
import { restoreTarget } from '../../../webhook/admission/targets.ts';
import {
  injectVerdict,
  restoreVerdict,
  type Surroundings,
  validateVerdict,
} from '../../../webhook/admission/verdicts.ts';
import {
  type Handoff,
  isEnded,
  type MigrationSpec,
  PHASES,
  STEPS,
  type StatefulMigration,
} from '../../../webhook/api/migration.ts';
import { applyPatch } from './apply-patch.ts';

const handoff = (over: Partial<Handoff> = {}): Handoff => ({
  index: 1,
  claim: 'm-1-1',
  source: { name: 'c-0-shadow', node: 'n2' },
  copy: { name: 'c-0', node: 'n2' },
  step: 'Warming',
  entered: {},
  attempt: 1,
  ...over,
});
const migration = (over: Partial<Handoff> = {}, status: StatefulMigration['status'] = {}): StatefulMigration => ({
  metadata: { name: 'm', namespace: 'shop', uid: 'm-1', resourceVersion: '1' },
  spec: { sourcePod: 'c-0' },
  status: { phase: 'Restoring', statefulSetName: 'c', handoffs: [handoff(over)], ...status },
});
const successor = (claim?: string): V1Pod => ({
  metadata: {
    name: 'c-0',
    labels: { 'controller-revision-hash': 'r1' },
    ...(claim !== undefined && { annotations: { 'shadow.ms2m.io/restore': claim } }),
    ownerReferences: [{ apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'c', uid: 's', controller: true }],
  },
  spec: { containers: [{ name: 'app', image: 'a', env: [{ name: 'AMQP_HOST', value: 'mq' }] }] },
});
const around = (...migrations: StatefulMigration[]): Surroundings => ({
  image: 'i',
  namespace: 'shadow-system',
  migrations: async () => migrations,
  onInjected: async () => undefined,
  onSkipped: () => undefined,
});
const CONTROLLER = 'system:serviceaccount:shadow-system:shadow-controller';
const SETS = 'system:serviceaccount:kube-system:statefulset-controller';
const asked = (object: unknown, over: Partial<Question> = {}): Question => ({
  uid: 'u',
  kind: { group: '', kind: 'Pod' },
  operation: 'CREATE',
  namespace: 'shop',
  dryRun: false,
  userInfo: { username: SETS },
  object: object as Record<string, unknown>,
  oldObject: undefined,
  ...over,
});

describe('a successor is a restore target only', () => {
  test('of a handoff 1 that is warming, of a migration that runs', () => {
    expect(restoreTarget(successor(), [migration()]).claim).toBe('m-1-1');
    for (const step of STEPS.filter((name) => name !== 'Warming')) {
      expect(() => restoreTarget(successor(), [migration({ step })]), step).toThrow(/no migration waits/);
    }
    for (const phase of PHASES.filter((name) => isEnded({ status: { phase: name } }))) {
      expect(() => restoreTarget(successor(), [migration({}, { phase })]), phase).toThrow(/no migration waits/);
    }
    expect(() => restoreTarget(successor(), [migration({ index: 0 })])).toThrow(/no migration waits/);
    expect(() => restoreTarget(successor(), [migration({ copy: { name: 'c-1', node: 'n2' } })])).toThrow(
      /no migration/,
    );
  });

  test('when it comes from the StatefulSet and revision of the source', () => {
    const orphan = successor();
    delete orphan.metadata!.ownerReferences;
    expect(() => restoreTarget(orphan, [migration()])).toThrow(/does not come from StatefulSet/);
    expect(() => restoreTarget(successor(), [migration({}, { statefulSetName: 'other' })])).toThrow(
      /does not come from/,
    );
    expect(() => restoreTarget(successor(), [migration({ revision: 'r2' })])).toThrow(/revision/);
    expect(restoreTarget(successor(), [migration({ revision: 'r1' })]).node).toBe('n2');
  });
});

describe('a claim on a pod', () => {
  const judge = (question: Question, ...migrations: StatefulMigration[]) =>
    validateVerdict(question, around(...migrations));
  test("is the controller's to set", async () => {
    expect((await judge(asked(successor('anything'), { userInfo: { username: CONTROLLER } }))).allowed).toBe(true);
    // The same name in another namespace is somebody else.
    const other = { username: 'system:serviceaccount:shop:shadow-controller' };
    await expect(judge(asked(successor('anything'), { userInfo: other }))).rejects.toMatchObject({
      code: 'SHADOW_E_CLAIM',
    });
  });
  test('is right on a successor when it is the recorded one, and forged otherwise', async () => {
    expect((await judge(asked(successor('m-1-1')), migration())).allowed).toBe(true);
    await expect(judge(asked(successor('m-2-1')), migration())).rejects.toMatchObject({ code: 'SHADOW_E_CLAIM' });
    await expect(judge(asked(successor('m-1-1')))).rejects.toMatchObject({ code: 'SHADOW_E_CLAIM' });
  });
  test('is never added or altered later; other changes of a pod that carries one pass', async () => {
    const update = (old: V1Pod, now: V1Pod) =>
      judge(asked(now, { operation: 'UPDATE', oldObject: old as Record<string, unknown> }), migration());
    await expect(update(successor(), successor('m-1-1'))).rejects.toMatchObject({ code: 'SHADOW_E_CLAIM' });
    await expect(update(successor('m-1-1'), successor('m-1-2'))).rejects.toMatchObject({ code: 'SHADOW_E_CLAIM' });
    expect((await update(successor('m-1-1'), successor('m-1-1'))).allowed).toBe(true);
    expect((await update(successor('m-1-1'), successor())).allowed).toBe(true);
  });
});

test('the version of a successor is that of the sidecar it restores, whatever the webhook injects', async () => {
  const versions = { controller: '0.2.0', sidecar: '0.1.0', nodes: [] };
  const upgraded = { ...around(migration({}, { versions })), version: '0.2.0' };
  const { patch } = await restoreVerdict(asked(successor()), upgraded);
  const after = applyPatch(successor(), patch!) as V1Pod;
  expect(after.metadata?.annotations).toMatchObject({ 'shadow.ms2m.io/version': '0.1.0' });
});

test("an injected pod says its sidecar's version, and where the controller is if it is not in shadow-system", async () => {
  const plain: V1Pod = {
    metadata: { name: 'web', labels: { 'shadow.ms2m.io/inject': 'true' } },
    spec: { containers: [{ name: 'app', image: 'a', env: [{ name: 'AMQP_HOST', value: 'mq' }] }] },
  };
  const injected = async (over: Partial<Surroundings>): Promise<V1Pod> =>
    applyPatch(plain, (await injectVerdict(asked(plain), { ...around(), ...over })).patch!) as V1Pod;
  const env = (pod: V1Pod) =>
    pod.spec?.initContainers?.[0]?.env?.find(({ name }) => name === 'SHADOW_NAMESPACE')?.value;
  const [usual, moved] = [await injected({}), await injected({ namespace: 'tools', version: '0.2.0' })];
  expect([env(usual), env(moved)]).toEqual([undefined, 'tools']);
  expect(usual.metadata?.annotations).not.toHaveProperty(['shadow.ms2m.io/version']);
  expect(moved.metadata?.annotations).toMatchObject({ 'shadow.ms2m.io/version': '0.2.0' });
});

test('the probe proves the webhook live only if it could read the migrations; a real pod is never taken for one', async () => {
  const probe = probePod({ namespace: 'shop', pod: 'c-0' }, 'i');
  const { webhooks } = restoreWebhookConfig([{ namespace: 'shop', pod: 'c-0' }], 'CA', 'tools');
  expect(probe.metadata?.labels).toMatchObject(webhooks![0]!.objectSelector!.matchLabels!);
  expect(webhooks![0]).toMatchObject({ failurePolicy: 'Fail', sideEffects: 'None' });
  expect(webhooks![0]!.clientConfig.service?.namespace).toBe('tools');
  expect(provesLive(probe)).toBe(false);
  const { patch } = await restoreVerdict(asked(probe, { dryRun: true }), around());
  expect(provesLive(applyPatch(probe, patch!) as V1Pod)).toBe(true);
  await expect(restoreVerdict(asked(probe), around())).rejects.toMatchObject({ code: 'SHADOW_E_CLAIM' });
  const blind = { ...around(), migrations: () => Promise.reject(new Error('down')) };
  await expect(restoreVerdict(asked(probe, { dryRun: true }), blind)).rejects.toMatchObject({
    code: 'SHADOW_E_WEBHOOK',
  });
  await expect(restoreVerdict(asked(successor()), blind)).rejects.toMatchObject({ code: 'SHADOW_E_WEBHOOK' });
});

describe('a StatefulMigration', () => {
  const judge = (now: StatefulMigration, old?: StatefulMigration) =>
    validateVerdict(
      asked(now, {
        kind: { group: 'migration.ms2m.io', kind: 'StatefulMigration' },
        operation: old ? 'UPDATE' : 'CREATE',
        oldObject: old as unknown as Record<string, unknown>,
      }),
      around(),
    );
  const made = (spec: MigrationSpec): StatefulMigration => ({ metadata: migration().metadata, spec });
  test('names its pod, and the message names the field', async () => {
    await expect(judge(made({}))).rejects.toThrow(/spec.sourcePod is empty/);
    await expect(judge(made({ sourcePod: 'pod/c-0' }))).rejects.toThrow(/spec.sourcePod/);
    await expect(judge(made({ sourcePod: 'c-0', targetNode: 'Node 2' }))).rejects.toThrow(/spec.targetNode/);
    const old = {
      sourcePod: 'c-0',
      migrationStrategy: '',
      targetNode: '',
      messageQueueConfig: { queueName: 'q' },
    } as const;
    expect((await judge(made(old))).allowed).toBe(true);
  });
  test('is a dry run or a rehearsal, not both', async () => {
    await expect(judge(made({ sourcePod: 'c-0', dryRun: true, rehearse: true }))).rejects.toThrow(/exclude each other/);
    expect((await judge(made({ sourcePod: 'c-0', dryRun: false, rehearse: true }))).allowed).toBe(true);
  });
  test('says what a pod, a registry and a broker can be called, and what to write instead', async () => {
    const wrong: [MigrationSpec, RegExp][] = [
      [{ containerName: 'My App' }, /spec\.containerName: "My App".*leave it empty/],
      [{ transferMode: 'Registry', checkpointImageRepository: 'r:5000/x:tag' }, /no tag/],
      [{ transferMode: 'Registry' }, /transferMode Registry needs it/],
      [{ messageQueueConfig: { brokerUrl: 'rabbitmq:5672' } }, /brokerUrl begins with rabbitmq:.*write amqp:/],
      [{ messageQueueConfig: { brokerUrl: '//mq' } }, /brokerUrl is no URL: write amqp:/],
      [{ messageQueueConfig: { queueName: 'ä'.repeat(121) } }, /queueName is longer than 240 bytes/],
    ];
    for (const [spec, text] of wrong) await expect(judge(made({ sourcePod: 'c-0', ...spec }))).rejects.toThrow(text);
    const right: MigrationSpec = {
      checkpointImageRepository: 'registry.local:5000/team/check_points',
      transferMode: 'Registry',
      messageQueueConfig: { queueName: 'ä'.repeat(120), brokerUrl: 'amqps://u:p%2F@mq/v', exchangeName: 'e' },
    };
    expect((await judge(made({ sourcePod: 'c-0', ...right }))).allowed).toBe(true);
  });
  test('does not change once begun, but for an abort before its commit', async () => {
    const begun = migration();
    const changed = (spec: MigrationSpec) => ({ ...begun, spec });
    await expect(judge(changed({ sourcePod: 'c-0', targetNode: 'n3' }), begun)).rejects.toThrow(/spec.targetNode/);
    for (const spec of [{ rehearse: true }, { rehearseSeconds: 20 }])
      await expect(judge(changed({ sourcePod: 'c-0', ...spec }), begun)).rejects.toThrow(/spec.rehearse/);
    const aborted = changed({ sourcePod: 'c-0', abort: true });
    expect((await judge(aborted, begun)).allowed).toBe(true);
    await expect(judge(begun, aborted)).rejects.toThrow(/taken back/);
    const decision = { verdict: 'commit', at: '2026-01-01T00:00:00Z', epoch: 1 } as const;
    await expect(judge(aborted, migration({ decision }))).rejects.toMatchObject({ code: 'SHADOW_E_COMMITTED' });
    await expect(judge(aborted, migration({}, { phase: 'Failed' }))).rejects.toMatchObject({
      code: 'SHADOW_E_FINISHED',
    });
    expect(
      (await judge({ ...aborted, spec: {}, metadata: { ...begun.metadata, deletionTimestamp: 'x' } }, begun)).allowed,
    ).toBe(true);
  });
});
