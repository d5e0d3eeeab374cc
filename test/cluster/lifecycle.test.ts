/** Install and uninstall: nothing is left of it, on no node; and a node that does not come up with it is put back. */
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { Obj } from '../../plugin/kinds.ts';
import { loadManifests } from '../../plugin/manifests.ts';
import { runPlugin } from '../../scripts/demonstration/migrate.ts';
import { IMAGE } from '../../scripts/images/ours.ts';
import { NODES, nodeDir, RUN } from '../../scripts/playground/layout.ts';
import { ensureUp, kubeconfigPath, type NodeName, nodeExec } from '../../scripts/playground/lib.ts';
import { must } from '../../scripts/playground/run.ts';
import { DROP_IN } from '../../webhook/agent/setup/config.ts';
import {
  closeBed,
  deployApp,
  finish,
  instances,
  migrateAway,
  openBed,
  openLoad,
  plugin,
  type Spec,
} from './support/bed.ts';
import { EXACT } from './support/load.ts';

const SPEC: Spec = { topic: 'roamer', mode: 'sequential' };
const kubeconfig = kubeconfigPath();
const shadow = (...args: string[]) => runPlugin(args, { kubeconfig, timeoutMs: 250_000 });
const install = (timeout: string) => shadow('install', '--image', IMAGE.shadow, '--timeout', timeout);
const onDisk = (node: NodeName, path: string): string => join(nodeDir(node), 'disk', path);

const kubectlText = (...args: string[]): Promise<string> => {
  const { kubernetes } = JSON.parse(readFileSync(join(RUN, 'parts.json'), 'utf8')) as { kubernetes: string };
  return must([join(kubernetes, 'kubectl'), `--kubeconfig=${kubeconfig}`, ...args]);
};
const kubectl = async (...args: string[]): Promise<string[]> =>
  (await kubectlText(...args)).split('\n').filter(Boolean).sort();

/** Every object there is, but what reports itself and ages. */
const objects = async (): Promise<string[]> => {
  const kinds = await kubectl('api-resources', '--verbs=list', '-o', 'name');
  const kept = kinds.filter((kind) => !/^events|^leases\.|^endpoints$/.test(kind));
  const template = '{range .items[*]}{.kind} {.metadata.namespace} {.metadata.name}{"\\n"}{end}';
  return kubectl('get', kept.join(','), '-A', '-o', `jsonpath=${template}`);
};

const filesUnder = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .map((name) => join(dir, name))
    .map((path) => {
      const stat = lstatSync(path);
      if (stat.isSymbolicLink()) return `${path} -> ${readlinkSync(path)}`;
      return stat.isFile() ? `${path}: ${readFileSync(path, 'utf8')}` : path;
    })
    .sort();

/** What of a node's disk we may have touched. An empty directory is none. */
const disks = (): string[] =>
  NODES.flatMap((node) =>
    ['/etc/containerd', '/etc/criu', '/opt/shadow', '/var/lib/shadow'].flatMap((dir) =>
      filesUnder(onDisk(node, dir)).filter((file) => file !== onDisk(node, '/etc/containerd/conf.d')),
    ),
  );

const state = async (): Promise<string[]> => [...(await objects()), ...disks()];
const gone = (): Promise<unknown> =>
  expect.poll(objects, { timeout: 60_000 }).not.toContainEqual(expect.stringMatching(/shadow/));

beforeAll(() => ensureUp({ log: (line) => console.error(line) }));
afterAll(async () => {
  // A test that failed may have left it elsewhere.
  await shadow('uninstall', '--yes', '--force');
  await ensureUp({ log: () => undefined });
});

it('a cluster is after uninstall what it was before install, and its nodes too', async () => {
  const first = await shadow('uninstall', '--yes');
  expect(first).toMatchObject({ exit: 0 });
  await gone();
  const bare = await state();
  expect(bare.filter((line) => /conf\.d|criu|opt\/shadow/.test(line.split(':')[0]!))).toEqual([]);
  expect(await install('3m')).toMatchObject({ exit: 0 });
  expect(await state()).not.toEqual(bare);
  for (const node of NODES) expect(readFileSync(onDisk(node, DROP_IN), 'utf8')).toContain('shadow-runc');
  const second = await shadow('uninstall', '--yes');
  expect(second).toMatchObject({ exit: 0 });
  await gone();
  expect(await state()).toEqual(bare);
  const { stderr } = await shadow('uninstall', '--yes');
  expect(stderr).toContain('not installed');
});

it('in a namespace of its own it is found by every command, moves a pod exactly, and leaves nothing', async () => {
  const HOME = 'shadow-elsewhere';
  expect(await shadow('uninstall', '--yes')).toMatchObject({ exit: 0 });
  await gone();
  const bare = await state();
  const done = await shadow('install', '-n', HOME, '--image', IMAGE.shadow, '--timeout', '3m');
  expect(done.exit, done.stderr).toBe(0);
  expect(await kubectl('get', 'pods', '-n', 'shadow-system', '-o', 'name')).toEqual([]);
  const bed = await openBed('shadow-test-elsewhere');
  try {
    await deployApp(bed, SPEC);
    const load = await openLoad(bed, SPEC, { rate: 30 });
    load.start();
    await load.flowing();
    const check = await plugin(bed, 'check', '--wait', '--timeout', '90s');
    expect(check.exit, check.stdout).toBe(0);
    expect((await plugin(bed, 'version')).stdout).toContain('Server Version');
    expect(await plugin(bed, 'check', 'pod/roamer-0', '--wait', '--timeout', '60s')).toMatchObject({ exit: 0 });
    const before = await instances(bed, SPEC);
    const { exit, stderr } = await migrateAway(bed, 'roamer-0', 'ShadowPodSwap');
    expect(exit, stderr).toBe(0);
    expect((await plugin(bed, 'status', 'pod/roamer-0')).stdout).toContain('Completed');
    expect(await instances(bed, SPEC)).toEqual(before);
    expect(await finish(bed, SPEC, load)).toMatchObject({ ...EXACT, reordered: 0 });
    const second = await shadow('install', '-n', 'shadow-system');
    expect(second).toMatchObject({ exit: 1, stderr: expect.stringContaining('SHADOW_E_NAMESPACE') });
    const foreign = await shadow('uninstall', '--yes');
    expect(foreign).toMatchObject({ exit: 1, stderr: expect.stringContaining('SHADOW_E_IN_USE') });
  } finally {
    await closeBed(bed);
  }
  const end = await shadow('uninstall', '--yes');
  expect(end.exit, end.stderr).toBe(0);
  await gone();
  expect(await state()).toEqual(bare);
});

it('a containerd that does not come up with the handler is put back, and install says why', async () => {
  const [sound, broken] = NODES;
  const program = onDisk(broken, '/usr/local/sbin/containerd');
  const aside = onDisk(broken, '/usr/local/sbin/sound/containerd');
  const before = readFileSync(onDisk(broken, '/etc/containerd/config.toml'), 'utf8');
  mkdirSync(dirname(aside));
  renameSync(program, aside);
  writeFileSync(program, `#!/bin/sh\n[ ! -e ${DROP_IN} ] || exit 1\nexec /usr/local/sbin/sound/containerd "$@"\n`, {
    mode: 0o755,
  });
  try {
    const { exit, stderr } = await install('45s');
    expect(exit, stderr).toBe(124);
    expect(stderr).toMatch(/SHADOW_E_NODE_SETUP: .*does not start/);
    await expect.poll(() => nodeExec(broken, ['ctr', 'version']), { timeout: 60_000 }).toMatchObject({ code: 0 });
    await expect
      .poll(() => readFileSync(onDisk(broken, '/etc/containerd/config.toml'), 'utf8'), { timeout: 60_000 })
      .toBe(before);
    expect(readFileSync(onDisk(sound, DROP_IN), 'utf8')).toContain('shadow-runc');
  } finally {
    renameSync(aside, program);
    rmdirSync(dirname(aside));
  }
  expect(await install('3m')).toMatchObject({ exit: 0 });
  expect(readFileSync(onDisk(broken, DROP_IN), 'utf8')).toContain('shadow-runc');
});

it('kustomize makes of the base the very objects that install applies', async () => {
  const printed = await kubectlText('kustomize', join(import.meta.dirname, '../../manifests'));
  const byName = (all: readonly Obj[]): Obj[] =>
    [...all].sort((a, b) => `${a.kind} ${a.metadata.name}`.localeCompare(`${b.kind} ${b.metadata.name}`));
  expect(byName(parseAllDocuments(printed).map((document) => document.toJS() as Obj))).toEqual(byName(loadManifests()));
});
