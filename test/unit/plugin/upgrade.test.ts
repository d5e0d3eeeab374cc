/** install and upgrade over what is there: what is refused, kept, pruned and said. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import packageJson from '../../../package.json' with { type: 'json' };
import type { Installed } from '../../../plugin/install/installed.ts';
import { agedTable, installedVersion, planTable, refusedJump } from '../../../plugin/install/plan.ts';
import { objectsOf } from '../../../plugin/install/settings.ts';
import type { Meta, Obj, Pod } from '../../../plugin/kinds.ts';
import { releaseOf } from '../../../webhook/api/skew.ts';
import { completed, running } from './sample.ts';
import { run, serveShop, world } from './shop.ts';

const OWN = packageJson.version;
const { major, minor } = releaseOf(OWN)!;
const BEFORE = `${major}.${minor - 1}.0`;

// Some thirty calls each, on a machine that may be busy.
vi.setConfig({ testTimeout: 60_000 });
serveShop();

/** What is in the stand-in cluster, by path. */
const cluster = new Map<string, Obj>();
const migrations: unknown[] = [];

const GROUPS: Record<string, string> = {
  Namespace: 'api/v1/namespaces',
  CustomResourceDefinition: 'apis/apiextensions.k8s.io/v1/customresourcedefinitions',
  MutatingWebhookConfiguration: 'apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
  ClusterRole: 'apis/rbac.authorization.k8s.io/v1/clusterroles',
  ConfigMap: 'api/v1/namespaces/NS/configmaps',
  Deployment: 'apis/apps/v1/namespaces/NS/deployments',
  DaemonSet: 'apis/apps/v1/namespaces/NS/daemonsets',
  Pod: 'api/v1/namespaces/NS/pods',
};
const put = (object: Obj): void => {
  const { name, namespace = '' } = object.metadata;
  const path = GROUPS[object.kind];
  if (path) cluster.set(`/${path.replace('NS', namespace)}/${name}`, object);
};
const VERSIONED = 'app.kubernetes.io/version';

/** As `install` of that version left it; before 0.2 nothing said its version. */
const install = (namespace: string, version: string | undefined, image: string): void => {
  for (const object of objectsOf({ namespace, image, pullSecrets: ['pull'], nodeSetup: false })) {
    const { [VERSIONED]: _, ...labels } = object.metadata.labels ?? {};
    put({
      ...object,
      metadata: {
        ...object.metadata,
        labels: version === undefined ? labels : { ...labels, [VERSIONED]: version },
        managedFields: [{ manager: 'kubectl-shadow', operation: 'Apply' }],
      },
    });
  }
};
const ours = (kind: string, metadata: Meta, manager = 'kubectl-shadow'): Obj => ({
  apiVersion: 'v1',
  kind,
  metadata: {
    ...metadata,
    labels: { 'app.kubernetes.io/name': 'kubectl-shadow' },
    managedFields: [{ manager, operation: 'Apply' }],
  },
});

const childrenOf = (path: string): Obj[] => {
  const under = [...cluster].filter(([key]) => key.startsWith(`${path}/`) && !key.slice(path.length + 1).includes('/'));
  return under.map(([, object]) => object);
};
const listed = (url: URL): unknown => {
  const selector = url.searchParams.get('labelSelector');
  const items = childrenOf(url.pathname).filter(({ metadata }) => {
    const [key = '', value] = selector?.split('=') ?? [];
    return selector === null || metadata.labels?.[key] === value;
  });
  return { metadata: {}, items };
};

beforeEach(() => {
  cluster.clear();
  migrations.length = 0;
  world.answer = (request, url, body) => {
    if (url.pathname.endsWith('/statefulmigrations')) return { metadata: {}, items: migrations };
    if (url.pathname === '/api/v1/pods')
      return { metadata: {}, items: [injected('web-0', BEFORE), injected('web-1', OWN)] };
    if (request.method === 'PATCH') return body;
    if (request.method === 'DELETE') return {};
    return cluster.get(url.pathname) ?? (/s$/.test(url.pathname) ? listed(url) : undefined);
  };
});

const injected = (name: string, version: string | undefined, namespace = 'shop'): Pod => ({
  metadata: {
    ...{ name, namespace, annotations: version === undefined ? {} : { 'shadow.ms2m.io/version': version } },
    ownerReferences: [{ kind: 'StatefulSet', name: name.replace(/-\d+$/, ''), uid: 'u', controller: true }],
  },
  spec: {},
});

const applied = (): string[] => world.sent.filter((line) => line.startsWith('PATCH'));
const bodyOf = (kind: string, name: string): Obj =>
  world.bodies.find((body) => (body as Obj).kind === kind && (body as Obj).metadata.name === name) as Obj;
const podSpecOf = (object: Obj) =>
  (object as unknown as { spec: { template: { spec: Record<string, unknown> & { containers: { image: string }[] } } } })
    .spec.template.spec;

describe('upgrade', () => {
  test('where nothing is installed says so', async () => {
    expect(await run('upgrade')).toMatchObject({ exit: 1, code: 'SHADOW_E_NOT_INSTALLED' });
    expect(applied()).toEqual([]);
  });
  test('keeps namespace, registry, pull secret and node set-up, and takes the tag of its own version', async () => {
    install('tools', BEFORE, `registry.example/team/shadow:v${BEFORE}`);
    const { exit, told } = await run('upgrade --no-wait');
    expect(exit).toBe(0);
    for (const line of applied()) expect(line).not.toContain('shadow-system');
    const agent = podSpecOf(bodyOf('DaemonSet', 'shadow-agent'));
    expect(agent.containers[0]!.image).toBe(`registry.example/team/shadow:v${OWN}`);
    expect(agent.initContainers).toBeUndefined();
    expect(agent.imagePullSecrets).toEqual([{ name: 'pull' }]);
    expect(told.join('\n')).toMatch(/web-0 .*kubectl rollout restart statefulset\/web -n shop/);
    expect(told.join('\n')).not.toContain('web-1');
  });
  test('what is given anew takes the place of what is installed', async () => {
    install('tools', BEFORE, `registry.example/team/shadow:${BEFORE}`);
    await run('upgrade --no-wait --registry mirror.example:5000/x --node-setup --image-pull-policy Always');
    const agent = podSpecOf(bodyOf('DaemonSet', 'shadow-agent'));
    expect(agent.containers[0]).toMatchObject({
      image: `mirror.example:5000/x/team/shadow:${OWN}`,
      imagePullPolicy: 'Always',
    });
    expect(agent.initContainers).toMatchObject([{ name: 'node-setup', imagePullPolicy: 'Always' }]);
  });
  test('prunes what it has applied once and has no more; nothing that others made', async () => {
    install('tools', BEFORE, 'x:dev');
    put(ours('ConfigMap', { name: 'shadow-old', namespace: 'tools' }));
    put(ours('ClusterRole', { name: 'shadow-old' }));
    put(ours('ConfigMap', { name: 'shadow-ca', namespace: 'tools' }, 'webhook'));
    put(ours('ConfigMap', { name: 'shadow-old', namespace: 'elsewhere' }));
    const { printed } = await run('upgrade --no-wait');
    const gone = world.sent.filter((line) => line.startsWith('DELETE'));
    expect(gone.sort()).toEqual([
      'DELETE /api/v1/namespaces/tools/configmaps/shadow-old',
      'DELETE /apis/rbac.authorization.k8s.io/v1/clusterroles/shadow-old',
    ]);
    expect(printed).toContain('configmap/shadow-old pruned');
  });
  test('by a dry run changes nothing, and says what it would prune', async () => {
    install('tools', BEFORE, 'x:dev');
    put(ours('ClusterRole', { name: 'shadow-old' }));
    const { exit, printed } = await run('upgrade --dry-run=client');
    expect(exit).toBe(0);
    expect(printed).toContain('clusterrole.rbac.authorization.k8s.io/shadow-old pruned (dry run)');
    expect(world.sent.filter((line) => !line.startsWith('GET'))).toEqual([]);
    await run('upgrade --dry-run=server');
    for (const line of world.sent.filter((each) => !each.startsWith('GET'))) expect(line).toContain('dryRun=All');
  });
  test('-o yaml prints the objects, in the namespace of the installation', async () => {
    install('tools', BEFORE, 'x:dev');
    const { printed } = await run('upgrade --dry-run=client -o yaml');
    const objects = parseAllDocuments(printed[0]!).map((document) => document.toJS() as Obj);
    expect(objects).toEqual(objectsOf({ namespace: 'tools', image: 'x:dev', pullSecrets: ['pull'], nodeSetup: false }));
  });
  test.each([
    ['an older version', `${major}.${minor + 1}.0`],
    ['one that skips a minor version', `${major}.${minor - 2}.0`],
  ])('to %s is refused, unless forced', async (_what, version) => {
    install('tools', version, 'x:dev');
    expect(await run('upgrade')).toMatchObject({ exit: 1, code: 'SHADOW_E_SKEW' });
    expect(await run('install')).toMatchObject({ exit: 1, code: 'SHADOW_E_SKEW' });
    expect(applied()).toEqual([]);
    expect(await run('upgrade --force --no-wait')).toMatchObject({ exit: 0 });
    expect(applied()).not.toEqual([]);
  });
  test('while a migration runs is refused, unless forced; one that has ended is in nobody’s way', async () => {
    install('tools', BEFORE, 'x:dev');
    migrations.push(completed, running);
    expect(await run('upgrade')).toMatchObject({ exit: 1, code: 'SHADOW_E_IN_USE' });
    expect(await run('install')).toMatchObject({ exit: 1, code: 'SHADOW_E_IN_USE' });
    expect(await run('upgrade --wait-for-migrations --timeout 0')).toMatchObject({
      exit: 124,
      code: 'SHADOW_E_TIMEOUT',
    });
    expect(applied()).toEqual([]);
    expect(await run('upgrade --force --no-wait')).toMatchObject({ exit: 0 });
  });
  test('waits for migrations when asked to', async () => {
    install('tools', BEFORE, 'x:dev');
    const quiet = world.answer;
    let looks = 0;
    world.answer = (request, url, body) => {
      if (url.pathname.endsWith('/statefulmigrations')) return { metadata: {}, items: looks++ === 0 ? [running] : [] };
      return quiet(request, url, body);
    };
    const { exit, told } = await run('upgrade --wait-for-migrations --no-wait');
    expect(exit).toBe(0);
    expect(told.join('\n')).toContain('waiting: running migrations');
  });
  test('of another namespace than it is in is wrong usage', async () => {
    install('tools', BEFORE, 'x:dev');
    expect(await run('upgrade -n elsewhere')).toMatchObject({ exit: 2 });
    expect(await run('uninstall --yes -n elsewhere')).toMatchObject({ exit: 2 });
  });
});

describe('install', () => {
  test('of the version that is there keeps settings, and asks no migration to end', async () => {
    install('tools', OWN, 'x:dev');
    migrations.push(running);
    expect(await run('install --no-wait --image x:other')).toMatchObject({ exit: 0 });
    const controller = bodyOf('Deployment', 'shadow-controller');
    expect(controller.metadata.namespace).toBe('tools');
    expect(podSpecOf(controller)).toMatchObject({
      imagePullSecrets: [{ name: 'pull' }],
      containers: [{ image: 'x:other' }],
    });
  });
  test('into a second namespace is refused', async () => {
    install('tools', OWN, 'x:dev');
    expect(await run('install -n shadow-system')).toMatchObject({ exit: 1, code: 'SHADOW_E_NAMESPACE' });
    expect(applied()).toEqual([]);
  });
  test('into a namespace that somebody made for something else is refused; uninstall would take it away', async () => {
    put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: {} } });
    expect(await run('install -n shop --no-wait')).toMatchObject({ exit: 1, code: 'SHADOW_E_NAMESPACE' });
    expect(applied()).toEqual([]);
    put(ours('Namespace', { name: 'given' }));
    expect(await run('install -n given --no-wait')).toMatchObject({ exit: 0 });
  });
  test.each(['Tools', 'a.b', '-x', 'x'.repeat(64)])('into "%s", which is no name, is wrong usage', async (name) => {
    expect(await run(`install --dry-run=client --namespace=${name}`)).toMatchObject({ exit: 2 });
  });
  test('--dry-run=client asks no cluster', async () => {
    const { printed } = await run(
      'install --dry-run=client -o yaml -n tools --image-pull-secret a --image-pull-secret b',
    );
    expect(world.sent).toEqual([]);
    expect(printed[0]).not.toContain('shadow-system');
    expect(printed[0]).toMatch(/imagePullSecrets:\n +- name: a\n +- name: b/);
  });
});

test('uninstall finds the namespace by the webhook, or, when that has gone, by its label', async () => {
  install('tools', OWN, 'x:dev');
  world.answer = (
    (before) => (request, url, body) =>
      url.pathname === '/api/v1/pods' ? { metadata: {}, items: [] } : before(request, url, body)
  )(world.answer);
  await run('uninstall --yes --timeout 1 --no-node-cleanup');
  const gone = () => world.sent.filter((line) => line.startsWith('DELETE'));
  expect(gone()).toContain('DELETE /api/v1/namespaces/tools');
  expect(gone().join()).not.toContain('shadow-system');
  world.sent = [];
  cluster.delete('/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/shadow-inject');
  await run('uninstall --yes --timeout 1 --no-node-cleanup');
  expect(gone()).toContain('DELETE /api/v1/namespaces/tools');
});

describe('what is said', () => {
  const image = 'registry.example/shadow:0.1.0';
  const installed: Installed = {
    settings: { namespace: 'shadow-system', image },
    parts: [
      { name: 'CRD', version: '0.1.0' },
      { name: 'webhook', version: '0.1.0', image },
      { name: 'controller', version: '0.1.0', image },
      { name: 'agents', version: '0.1.0', image, running: { '0.1.0': 2 } },
    ],
  };
  const pods = [
    injected('consumer-0', undefined),
    injected('consumer-1', '0.2.0'),
    injected('old-0', '0.0.9', 'attic'),
    {
      metadata: {
        ...{ name: 'web-5d9c-abcde', namespace: 'shop', labels: { 'pod-template-hash': '5d9c' } },
        ownerReferences: [{ kind: 'ReplicaSet', name: 'web-5d9c', uid: 'u', controller: true }],
      },
      spec: {},
    },
  ];
  const golden = (name: string, text: string) => expect(`${text}\n`).toMatchFileSnapshot(`golden/${name}.txt`);
  test('before', () =>
    golden('upgrade-plan', planTable(installed, { namespace: 'x', image: image.replace('1', '2') }, '0.2.0', pods)));
  test('of the pods that are left as they are', () => golden('upgrade-aged', agedTable(pods, '0.2.0')));
  test('of none, where all have the new sidecar', () => expect(agedTable([injected('a', '0.2.3')], '0.2.0')).toBe(''));
  test('an upgrade that was broken off counts as its oldest part, and is no jump from its newest', () => {
    const half = { ...installed, parts: [...installed.parts, { name: 'x', version: '0.2.0' }] };
    expect(installedVersion(half)).toBe('0.1.0');
    expect(refusedJump(half, '0.2.0')).toBeUndefined();
    expect(refusedJump(half, '0.1.5')).toMatch(/older/);
  });
});
