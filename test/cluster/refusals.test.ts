/** Bad input: each refused by its name, before anything is touched. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { apply, getPod, listMigrations, otherNode, waitReady } from '../../scripts/demonstration/kube.ts';
import { runPlugin } from '../../scripts/demonstration/migrate.ts';
import type { ErrorCode } from '../../webhook/api/errors.ts';
import { LABEL } from '../../webhook/api/names.ts';
import { accountIn } from './support/account.ts';
import { type Bed, closeBed, deployApp, migrateAway, nodeOf, openBed, plugin, type Spec } from './support/bed.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { expectFailure, tracesOf } from './support/untouched.ts';
import { atMoment } from './support/watch.ts';

const REPOSITORY = join(import.meta.dirname, '../..');
const SPEC: Spec = { topic: 'fit', mode: 'sequential' };
const PLAIN: Spec = { topic: 'plain', mode: 'sequential', labels: { [LABEL.inject]: 'false' } };
const POD = 'fit-0';
let bed: Bed;
let scratch: string;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'shadow-refusals-'));
  bed = await openBed('shadow-test-refusals');
  await Promise.all([deployApp(bed, SPEC), deployApp(bed, PLAIN)]);
});
afterAll(async () => {
  rmSync(scratch, { recursive: true, force: true });
  await closeBed(bed);
});

const refused = async (
  code: ErrorCode,
  said: string | RegExp,
  args: string[],
  hint?: string | RegExp,
): Promise<void> => {
  const before = await tracesOf(bed, POD);
  expectFailure(await plugin(bed, 'migrate', ...args), code, said, hint);
  expect(await tracesOf(bed, POD)).toEqual(before);
};

it('no such pod', async () => {
  await refused('SHADOW_E_POD_NOT_FOUND', `nobody-0 in namespace ${bed.namespace}`, ['pod/nobody-0']);
});

it('a pod whose name is nearly right: the right one is named', async () => {
  await refused('SHADOW_E_POD_NOT_FOUND', 'fit-1', ['fit-1'], /fit-0/);
});

it('a pod that is not injected', async () => {
  await refused('SHADOW_E_NOT_INJECTED', 'plain-0', ['pod/plain-0']);
});

it('a pod of no StatefulSet', async () => {
  const { spec } = (await getPod(bed.kube, bed.namespace, 'plain-0'))!;
  const { securityContext, containers, volumes } = spec!;
  const single = {
    securityContext: securityContext!,
    containers: containers.map((c) => ({ ...c, volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }] })),
    volumes: volumes!.filter(({ name }) => name === 'tmp'),
  };
  await apply(bed.kube, [
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'single', namespace: bed.namespace }, spec: single } as object,
  ]);
  await waitReady(bed.kube, bed.namespace, 'single');
  await refused('SHADOW_E_UNOWNED', 'single', ['single']);
});

it('no such node', async () => {
  await refused('SHADOW_E_NODE_NOT_FOUND', 'nowhere', [POD, '--to', 'nowhere'], /there are node-1, node-2/);
});

it('the node it is on', async () => {
  const home = await nodeOf(bed, POD);
  await refused('SHADOW_E_SAME_NODE', `${POD} on ${home}`, [POD, '--to', home]);
});

it('a node that is unfit', async () => {
  const name = await otherNode(bed.kube, await nodeOf(bed, POD));
  const cordon = (value: boolean): Promise<unknown> =>
    bed.kube.core.patchNode({ name, body: [{ op: 'add', path: '/spec/unschedulable', value }] });
  await cordon(true);
  try {
    await refused('SHADOW_E_NODE_UNFIT', name, [POD, '--to', name]);
    await refused('SHADOW_E_NO_NODE', name, [POD]);
  } finally {
    await cordon(false);
  }
});

it('a second migration of the pod, while the first one runs and ends well', async () => {
  let running = false;
  const armed = await atMoment(bed, { pod: POD, handoff: 0, step: 'Warming' }, () => {
    running = true;
  });
  const first = migrateAway(bed, POD);
  await expect.poll(() => running, { timeout: 30_000, interval: 20 }).toBe(true);
  const second = await plugin(bed, 'migrate', POD);
  armed.disarm();
  expectFailure(second, 'SHADOW_E_BUSY', `moves ${POD}`);
  expect(await first).toMatchObject({ exit: 0, migration: { status: { phase: 'Completed' } } });
  expect(await settledLeftovers(bed)).toEqual([]);
});

it('no permission', async () => {
  const kubeconfig = await accountIn(bed, 'nobody', scratch);
  const before = await tracesOf(bed, POD);
  const said = `in namespace ${bed.namespace}: .*system:serviceaccount:${bed.namespace}:nobody`;
  expectFailure(await runPlugin(['migrate', POD], { kubeconfig }), 'SHADOW_E_FORBIDDEN', new RegExp(said));
  expect(await tracesOf(bed, POD)).toEqual(before);
});

it('wrong usage, with its own exit code', async () => {
  const { exit, stderr } = await plugin(bed, 'migrate', POD, '--no-such-flag');
  expect(stderr).toContain('SHADOW_E_USAGE');
  expect(exit).toBe(2);
});

it('the playground without root', () => {
  // Only the right to read stays, so that the repository may lie in root's home.
  const drop = [
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    '--inh-caps=-all,+dac_read_search',
    '--ambient-caps=-all,+dac_read_search',
  ];
  const up = ['node_modules/.bin/node', 'scripts/playground/main.ts', 'up'];
  const { status, stderr, stdout } = spawnSync('setpriv', [...drop, '--', ...up], {
    cwd: REPOSITORY,
    encoding: 'utf8',
    timeout: 60_000,
  });
  expect(`${stdout}${stderr}`).toContain('SHADOW_E_ROOT');
  expect(status).toBe(1);
});

it('refused ones leave nothing, and no migration that runs', async () => {
  const open = (await listMigrations(bed.kube, bed.namespace)).filter(
    ({ status }) => status?.completionTime === undefined,
  );
  expect(open.map(({ metadata }) => metadata.name)).toEqual([]);
  expect(await settledLeftovers(bed)).toEqual([]);
});
