/** What users type: sets and selections, dry runs, Ctrl-C on a terminal and without one, and injection by manifest. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { KubernetesObject } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  apply,
  getPod,
  listMigrations,
  manifestObjects,
  otherNode,
  waitReady,
} from '../../scripts/demonstration/kube.ts';
import { PLUGIN } from '../../scripts/demonstration/migrate.ts';
import { until } from '../../scripts/demonstration/until.ts';
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { CA, LABEL, SIDECAR } from '../../webhook/api/names.ts';
import { appSet } from './support/apps.ts';
import {
  type Bed,
  closeBed,
  deployApp,
  finish,
  instances,
  nodeOf,
  openBed,
  openLoad,
  plugin,
  type Spec,
} from './support/bed.ts';
import { settledLeftovers } from './support/leftovers.ts';
import { declareTopic, EXACT, type Load } from './support/load.ts';

const SPEC: Spec = { topic: 'ux', mode: 'sequential', replicas: 2, prefetch: 20, declares: true };
const PODS = ['ux-0', 'ux-1'];
let bed: Bed;
let load: Load;
let before: string[];

beforeAll(async () => {
  bed = await openBed('shadow-test-ux');
  await deployApp(bed, SPEC);
  before = await instances(bed, SPEC);
  load = await openLoad(bed, SPEC, { rate: 40 });
  load.start();
  await load.flowing();
});
afterAll(() => closeBed(bed));

const nodes = (): Promise<string[]> => Promise.all(PODS.map((pod) => nodeOf(bed, pod)));
const migrations = (): Promise<StatefulMigration[]> => listMigrations(bed.kube, bed.namespace);

/** Made by the command, in the order in which they were made. */
const madeBy = async <T>(command: () => Promise<T>): Promise<{ result: T; made: StatefulMigration[] }> => {
  const known = new Set((await migrations()).map(({ metadata }) => metadata.uid));
  const result = await command();
  const made = (await migrations()).filter(({ metadata }) => !known.has(metadata.uid));
  return { result, made: made.sort((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion)) };
};

describe('several pods', () => {
  it('sts/NAME: each replica that is not on the target, the highest ordinal first', async () => {
    const target = await otherNode(bed.kube, await nodeOf(bed, 'ux-1'));
    const moving = (await nodes()).flatMap((node, at) => (node === target ? [] : [PODS[at]])).reverse();
    const { result, made } = await madeBy(() => plugin(bed, 'migrate', 'sts/ux', '--to', target));
    expect(result, result.stderr).toMatchObject({ exit: 0 });
    expect(made.map(({ spec }) => spec.sourcePod)).toEqual(moving);
    // One begins when the one before has ended.
    for (const [at, { status }] of made.slice(1).entries())
      expect(Date.parse(status!.startTime!)).toBeGreaterThanOrEqual(Date.parse(made[at]!.status!.completionTime!));
    expect(await nodes()).toEqual([target, target]);
    expect(await instances(bed, SPEC)).toEqual(before);
    expect(await settledLeftovers(bed)).toEqual([]);
  });

  it('sts/NAME again: there is nothing to move', async () => {
    const [target] = await nodes();
    const { result, made } = await madeBy(() => plugin(bed, 'migrate', 'statefulset.apps/ux', '--to', target!));
    expect(result).toMatchObject({ exit: 0, stderr: expect.stringContaining('nothing to move') });
    expect(made).toEqual([]);
  });

  it('a selector, of the pods of one node', async () => {
    const [home] = await nodes();
    const target = await otherNode(bed.kube, home);
    const args = ['migrate', '-l', 'app=ux', '--from-node', home!, '--to', target];
    const { result, made } = await madeBy(() => plugin(bed, ...args));
    expect(result, result.stderr).toMatchObject({ exit: 0, stdout: expect.stringContaining('2 moved, 0 not moved') });
    expect(made.map(({ spec }) => spec.sourcePod)).toEqual(['ux-1', 'ux-0']);
    expect(await nodes()).toEqual([target, target]);
    expect(await instances(bed, SPEC)).toEqual(before);
    expect(await settledLeftovers(bed)).toEqual([]);
  });

  it('what names nothing is refused', async () => {
    for (const [code, exit, ...args] of [
      ['SHADOW_E_POD_NOT_FOUND', 1, '-l', 'app=nobody'],
      ['SHADOW_E_USAGE', 2, '-l', 'app in'],
      ['SHADOW_E_USAGE', 2, '-l', ''],
      ['SHADOW_E_OWNER_NOT_FOUND', 1, 'sts/xu'],
      ['SHADOW_E_OWNER_NOT_FOUND', 1, 'deploy/ux'],
    ] as const) {
      const { result, made } = await madeBy(() => plugin(bed, 'migrate', ...args));
      expect(result).toMatchObject({ exit, stderr: expect.stringContaining(code) });
      expect(made).toEqual([]);
    }
  });
});

describe('a dry run', () => {
  it('by the server keeps nothing, and is refused as the real one would be', async () => {
    const target = await otherNode(bed.kube, await nodeOf(bed, 'ux-0'));
    const { result, made } = await madeBy(() => plugin(bed, 'migrate', 'ux-0', '--to', target, '--dry-run=server'));
    expect(result).toMatchObject({ exit: 0 });
    expect(result.stdout).toMatch(/^statefulmigration\.migration\.ms2m\.io\/ux-0-\w+ created \(server dry run\)$/m);
    expect(made).toEqual([]);
    const refused = await plugin(bed, 'migrate', 'ux-9', '--dry-run=server');
    expect(refused).toMatchObject({ exit: 1, stderr: expect.stringContaining('SHADOW_E_POD_NOT_FOUND') });
  });

  it('by the client prints an object that the API server takes', async () => {
    const { stdout } = await plugin(bed, 'migrate', 'ux-0', '--dry-run=client', '-o', 'yaml');
    const [object] = manifestObjects(stdout);
    const created = await bed.kube.objects.create(object!, undefined, 'All');
    expect((created as StatefulMigration).spec).toMatchObject({ sourcePod: 'ux-0' });
  });
});

/** All that a child has said so far. */
const heard = (child: ChildProcess): (() => string) => {
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return () => text;
};

const ended = (child: ChildProcess): Promise<number | null> => new Promise((resolve) => child.once('close', resolve));

const says = (text: () => string, pattern: RegExp): Promise<unknown> =>
  until(`${pattern}`, 60_000, async () => pattern.test(stripVTControlCharacters(text())), 20);

/** The migration of ux-0 that this test began. */
const newest = async (): Promise<StatefulMigration> => {
  const own = (await migrations()).filter(({ spec }) => spec.sourcePod === 'ux-0');
  return own.sort(
    (a, b) => Date.parse(`${b.metadata.creationTimestamp}`) - Date.parse(`${a.metadata.creationTimestamp}`),
  )[0]!;
};

describe('Ctrl-C', () => {
  const env = () => ({ ...process.env, KUBECONFIG: bed.kubeconfig, TERM: 'xterm', LANG: 'C.UTF-8' });

  it('without a terminal leaves it running, and what it says aborts it', async () => {
    const target = await otherNode(bed.kube, await nodeOf(bed, 'ux-0'));
    // node itself, not the shell before it, gets the signal: the plugin's front replaces itself by node.
    const child = spawn(PLUGIN, ['migrate', 'ux-0', '-n', bed.namespace, '--to', target], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: env(),
    });
    const text = heard(child);
    const over = ended(child);
    await says(text, /Warming/);
    child.kill('SIGINT');
    expect(await over, text()).toBe(130);
    const { metadata } = await newest();
    const command = `kubectl shadow abort ${metadata.name} -n ${bed.namespace}`;
    expect(text()).toContain(command);
    const aborted = await plugin(bed, 'abort', metadata.name, '--wait');
    // A start-up time later it may have committed: then it goes on to its end.
    if (aborted.exit !== 0) expect(aborted.stderr).toMatch(/SHADOW_E_(COMMITTED|FINISHED)/);
    const { exit } = await plugin(bed, 'status', metadata.name, '--watch');
    expect(exit).toBe(aborted.exit === 0 ? 1 : 0);
    expect((await newest()).status?.phase).toBe(aborted.exit === 0 ? 'Aborted' : 'Completed');
    expect(await settledLeftovers(bed)).toEqual([]);
  });

  it('on a terminal asks, while the tree is shown; "a" aborts', async () => {
    const target = await otherNode(bed.kube, await nodeOf(bed, 'ux-0'));
    const home = await nodeOf(bed, 'ux-0');
    // Of a replay there is time enough before its commit.
    const line = `stty cols 100 rows 40; exec ${PLUGIN} migrate ux-0 -n ${bed.namespace} --to ${target} --strategy ShadowPodSwap`;
    const child = spawn('script', ['-qefc', line, '/dev/null'], { stdio: ['pipe', 'pipe', 'pipe'], env: env() });
    const text = heard(child);
    const over = ended(child);
    await says(text, /copy +(Starting|Waiting)/);
    child.stdin!.write('\x03');
    await says(text, /Abort it, leave it running, or watch on\?/);
    child.stdin!.write('a\r');
    const exit = await over;
    const { status } = await newest();
    const screen = stripVTControlCharacters(text());
    expect(screen).toMatch(/├─● ux-0 +source +Serving/);
    // The commit may have been faster: then that was told, and the end waited for.
    if (status?.phase === 'Completed') {
      expect([exit, screen]).toEqual([0, expect.stringContaining('cannot be aborted')]);
    } else {
      expect([exit, status?.phase, await nodeOf(bed, 'ux-0')]).toEqual([1, 'Aborted', home]);
      expect(screen).toContain('SHADOW_E_ABORTED');
    }
    expect(await settledLeftovers(bed)).toEqual([]);
  });
});

describe('injection by manifest', () => {
  const INJECTED: Spec = { topic: 'byhand', mode: 'sequential' };
  const scratch = mkdtempSync(join(tmpdir(), 'shadow-ux-'));
  let other: Bed;

  beforeAll(async () => {
    other = await openBed('shadow-test-ux-inject');
    // Nothing opts in here but the manifest.
    const body = [{ op: 'remove', path: `/metadata/labels/${LABEL.injection.replace('/', '~1')}` }];
    await other.kube.core.patchNamespace({ name: other.namespace, body });
    await declareTopic(other.channel, INJECTED.topic);
  });
  afterAll(async () => {
    rmSync(scratch, { recursive: true, force: true });
    await closeBed(other);
  });

  const file = (name: string, text: string): string => {
    writeFileSync(join(scratch, name), text);
    return join(scratch, name);
  };

  it("gives pods that move, in a namespace that isn't opted in, with the cluster's own image", async () => {
    const plain = appSet({ ...INJECTED, namespace: other.namespace });
    const made = await plugin(other, 'inject', '-f', file('plain.json', JSON.stringify(plain)));
    expect(made).toMatchObject({ exit: 0, stderr: 'statefulset.apps/byhand injected\n' });
    await apply(other.kube, manifestObjects(made.stdout));
    const pod = await waitReady(other.kube, other.namespace, 'byhand-0');
    const sidecars = [...pod.spec!.initContainers!, ...pod.spec!.containers].filter(
      ({ name }) => name === SIDECAR.container,
    );
    expect(sidecars).toHaveLength(1);
    const webhook = await other.kube.apps.readNamespacedDeployment({
      name: 'shadow-webhook',
      namespace: 'shadow-system',
    });
    expect(sidecars[0]?.image).toBe(webhook.spec?.template.spec?.containers[0]?.image);
    // Without it the sidecar could not trust the controller.
    await other.kube.core.readNamespacedConfigMap({ name: CA, namespace: other.namespace });
    const target = await otherNode(other.kube, pod.spec?.nodeName);
    const moved = await plugin(other, 'migrate', 'sts/byhand', '--to', target);
    expect(moved, moved.stderr).toMatchObject({ exit: 0 });
    expect(await nodeOf(other, 'byhand-0')).toBe(target);
  });

  it('is taken out again: what the cluster has, uninjected, is the template it was', async () => {
    const live = await other.kube.apps.readNamespacedStatefulSet({ name: 'byhand', namespace: other.namespace });
    const typed = { ...live, apiVersion: 'apps/v1', kind: 'StatefulSet' };
    const { stdout, stderr } = await plugin(other, 'uninject', '-f', file('live.json', JSON.stringify(typed)));
    expect(stderr).toBe('statefulset.apps/byhand uninjected\n');
    const [back] = manifestObjects(stdout) as (KubernetesObject & typeof live)[];
    const was = appSet({ ...INJECTED, namespace: other.namespace }).spec!.template;
    // The API server drops what is the default.
    for (const { env = [] } of was.spec!.containers) for (const each of env) if (each.value === '') delete each.value;
    expect(back!.spec!.template).toMatchObject({ metadata: { labels: was.metadata!.labels }, spec: was.spec });
    for (const ours of ['shadow.ms2m.io', SIDECAR.container, SIDECAR.runVolume, '127.0.0.1'])
      expect(JSON.stringify(back!.spec)).not.toContain(ours);
    expect((await getPod(other.kube, other.namespace, 'byhand-0'))?.metadata?.labels?.[LABEL.injected]).toBe('true');
  });
});

it('after all of this the oracle agrees', async () => {
  expect(await finish(bed, SPEC, load)).toMatchObject(EXACT);
  expect(await instances(bed, SPEC)).toEqual(before);
});
