import { describe, expect, test } from 'vitest';
import packageJson from '../../../package.json' with { type: 'json' };
import { type Api, ApiError, type Call, methodOf, pathOf } from '../../../plugin/api.ts';
import { applyAll } from '../../../plugin/install/apply.ts';
import { cleanupOf, withoutNodeSetup } from '../../../plugin/install/nodes.ts';
import { probeWebhook } from '../../../plugin/install/probe.ts';
import {
  daemonSetMissing,
  deploymentMissing,
  handlersMissing,
  reportsMissing,
  webhookMissing,
} from '../../../plugin/install/ready.ts';
import { removalOf } from '../../../plugin/install/remove.ts';
import { assertServer } from '../../../plugin/install/server.ts';
import { usedBy } from '../../../plugin/install/uninstall.ts';
import { type Kind, RESOURCE } from '../../../plugin/kinds.ts';
import { loadManifests, withImage, withNamespace } from '../../../plugin/manifests.ts';
import type { NodeReports } from '../../../webhook/api/node-reports.ts';
import { completed, running } from './sample.ts';
import { refusal, standInApi } from './stage.ts';

const objects = loadManifests();
const keyOf = ({ kind, metadata }: { kind: string; metadata: { name: string; namespace?: string } }): string =>
  `${kind} ${metadata.namespace ?? ''}/${metadata.name}`;

describe('the base', () => {
  test('names each object once, in a namespace if and only if its kind has one', () => {
    expect(new Set(objects.map(keyOf)).size).toBe(objects.length);
    for (const object of objects) {
      expect([keyOf(object), object.metadata.namespace !== undefined]).toEqual([
        keyOf(object),
        RESOURCE[object.kind as Kind].namespaced,
      ]);
    }
  });
  test('is applied so that what others need comes first', () => {
    const at = (kind: string): number => objects.findIndex((object) => object.kind === kind);
    const order = [
      'Namespace',
      'CustomResourceDefinition',
      'ServiceAccount',
      'ClusterRoleBinding',
      'MutatingWebhookConfiguration',
      'Deployment',
    ].map(at);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(order[0]).toBe(0);
  });
  test('is of the version of package.json, on objects and on pods, and selects by none', () => {
    const { version } = packageJson;
    for (const object of objects) {
      const { metadata, spec } = object as typeof object & { spec?: { template?: { metadata: { labels: object } } } };
      expect(metadata.labels?.['app.kubernetes.io/version'], keyOf(object)).toBe(version);
      if (spec?.template)
        expect(spec.template.metadata.labels, keyOf(object)).toMatchObject({ 'app.kubernetes.io/version': version });
      expect(JSON.stringify((spec as { selector?: object } | undefined)?.selector ?? {})).not.toContain('version');
    }
  });
  test('in another namespace names its own nowhere', () => {
    const moved = withNamespace(objects, 'tools');
    expect(JSON.stringify(moved)).not.toContain('shadow-system');
    expect(moved.map(({ kind }) => kind)).toEqual(objects.map(({ kind }) => kind));
    expect(withNamespace(moved, 'tools')).toEqual(moved);
    const back = JSON.parse(JSON.stringify(moved).replaceAll('"tools"', '"shadow-system"'));
    expect(back).toEqual(objects);
  });
  test('another image is used everywhere, also in what is told the webhook to inject', () => {
    const changed = JSON.stringify(withImage(objects, 'registry.example/shadow:2'));
    const old = (
      objects.find(({ kind }) => kind === 'Deployment') as unknown as {
        spec: { template: { spec: { containers: { image: string }[] } } };
      }
    ).spec.template.spec.containers[0]!.image;
    expect(changed).not.toContain(old);
    expect(changed).toContain('{"name":"SHADOW_IMAGE","value":"registry.example/shadow:2"}');
  });
});

describe('node set-up', () => {
  const agentOf = (all: typeof objects) =>
    all.find(({ kind }) => kind === 'DaemonSet') as Parameters<typeof cleanupOf>[0];
  test('can be left out, and nothing else with it', () => {
    const without = withoutNodeSetup(objects);
    expect(agentOf(objects).spec.template.spec.initContainers).toMatchObject([{ name: 'node-setup' }]);
    expect(agentOf(without).spec.template.spec.initContainers).toBeUndefined();
    expect(agentOf(without).spec.template.spec.containers).toEqual(agentOf(objects).spec.template.spec.containers);
    expect(without.filter(({ kind }) => kind !== 'DaemonSet')).toEqual(
      objects.filter(({ kind }) => kind !== 'DaemonSet'),
    );
  });
  test('is undone wherever an agent may be, by its image, and holds nothing of the node open', () => {
    const [changed] = withImage([agentOf(objects)], 'registry.example/shadow:2');
    const cleanup = cleanupOf(changed as typeof agentOf extends (...all: never) => infer A ? A : never);
    const { spec } = (cleanup as ReturnType<typeof agentOf>).spec.template;
    expect(spec.containers).toMatchObject([{ image: 'registry.example/shadow:2', args: ['/app/setup.cjs', 'remove'] }]);
    for (const field of ['tolerations', 'nodeSelector', 'hostPID'] as const)
      expect(spec[field]).toEqual(agentOf(objects).spec.template.spec[field]);
    expect(spec.volumes).toBeUndefined();
    expect(cleanup.metadata.labels).not.toMatchObject({ 'app.kubernetes.io/component': 'agent' });
  });
});

const recorder = (answer: (call: Call) => unknown): Api & { calls: Call[] } => {
  const calls: Call[] = [];
  return {
    calls,
    async call<T>(call: Call) {
      calls.push(call);
      return (await answer(call)) as T;
    },
    watch: () => {
      throw new Error('no watch');
    },
  };
};

test('apply: server-side, forced, in our name; a busy server is asked again', async () => {
  let busy = 1;
  const api = recorder((call) => {
    if (busy-- > 0) throw new ApiError(call, 500, '', 'webhook not ready');
    return call.body;
  });
  const lines: string[] = [];
  await applyAll(api, objects.slice(0, 2), 'none', (_, line) => lines.push(line));
  expect(api.calls).toHaveLength(3);
  expect(`${methodOf(api.calls[0]!)} ${pathOf(api.calls[0]!)}`).toBe(
    'PATCH /api/v1/namespaces/shadow-system?fieldManager=kubectl-shadow&force=true',
  );
  expect(lines).toEqual([
    'namespace/shadow-system serverside-applied',
    'customresourcedefinition.apiextensions.k8s.io/statefulmigrations.migration.ms2m.io serverside-applied',
  ]);
});

test('apply: a refusal is not hidden', async () => {
  const api = recorder((call) => Promise.reject(new ApiError(call, 403, 'Forbidden', 'no')));
  await expect(applyAll(api, objects, 'none', () => {})).rejects.toMatchObject({ status: 403 });
  expect(api.calls).toHaveLength(1);
});

describe('ready', () => {
  const spec = { replicas: 2, template: { spec: { containers: [] } } };
  const metadata = { name: 'x', generation: 2 };
  const good = { observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2 };
  test.each([
    [undefined, good],
    [/controller/, { ...good, observedGeneration: 1 }],
    [/1 of 2 pods updated/, { ...good, updatedReplicas: 1 }],
    [/1 old/, { ...good, replicas: 3 }],
    [/1 of 2 pods ready/, { ...good, availableReplicas: 1 }],
  ])('Deployment: %s', (missing, status) => {
    const found = deploymentMissing({ metadata, spec, status });
    if (missing) expect(found).toMatch(missing);
    else expect(found).toBeUndefined();
  });
  test('DaemonSet: every node, and at least one', () => {
    const status = { observedGeneration: 2, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2 };
    expect(daemonSetMissing({ metadata, status })).toBeUndefined();
    expect(daemonSetMissing({ metadata, status: { ...status, numberAvailable: 1 } })).toBe('1 of 2 nodes ready');
    expect(daemonSetMissing({ metadata, status: { ...status, updatedNumberScheduled: 0 } })).toBe(
      '0 of 2 nodes updated',
    );
    expect(daemonSetMissing({ metadata, status: { observedGeneration: 2, desiredNumberScheduled: 0 } })).toBeDefined();
  });
  test('reports: of each node where an agent runs, and the silent one is named with what became of the question', () => {
    const agent = (nodeName: string) => ({ metadata: { name: `agent-${nodeName}` }, spec: { nodeName } });
    const heard = (node: string, change: object) => ({
      at: '2026-11-30T00:00:00Z',
      cpus: [],
      nodes: [{ node, ...change }],
    });
    const found = { found: {} } as Partial<NodeReports['nodes'][number]>;
    const error = { code: 'SHADOW_E_AGENT_UNREACHABLE', message: 'connection refused' };
    expect(reportsMissing([agent('n')], undefined)).toContain('not asked');
    expect(reportsMissing([agent('n')], heard('n', { error }))).toBe('n: connection refused');
    expect(reportsMissing([agent('n'), agent('m')], heard('n', found))).toBe('m: not asked yet');
    expect(reportsMissing([agent('n')], heard('n', found))).toBeUndefined();
    // A node that has no agent is told by check; nothing is waited for there.
    expect(reportsMissing([], heard('dead', { error }))).toBeUndefined();
  });
  test('handlers: by the word of the kubelet, of nodes where an agent runs, where kubelets tell', () => {
    const agents = [{ metadata: { name: 'agent' }, spec: { nodeName: 'n' } }];
    const node = (name: string, handlers?: string[]) => ({
      metadata: { name },
      status: handlers ? { runtimeHandlers: handlers.map((each) => ({ name: each })) } : {},
    });
    expect(handlersMissing(agents, [node('n', ['', 'runc'])])).toContain('kubelet of n');
    expect(handlersMissing(agents, [node('n', ['', 'shadow'])])).toBeUndefined();
    expect(handlersMissing(agents, [node('n'), node('m', ['runc'])])).toBeUndefined();
  });
  test('webhooks: every one has the CA', () => {
    const webhooks = [
      { name: 'a', clientConfig: { caBundle: 'x' } },
      { name: 'b', clientConfig: {} },
    ];
    expect(webhookMissing({ metadata, webhooks })).toContain('b');
    expect(webhookMissing({ metadata, webhooks: webhooks.slice(0, 1) })).toBeUndefined();
  });
  test('the webhook answers only if the trial pod comes back touched', async () => {
    const touched = { metadata: { name: '', annotations: { 'shadow.ms2m.io/status': 'injected' } } };
    const refuse = (status: number, message: string) =>
      recorder((call) => Promise.reject(new ApiError(call, status, '', message)));
    expect(await probeWebhook(recorder(() => touched))).toBe('answers');
    expect(await probeWebhook(recorder(() => ({ metadata: { name: '' } })))).toBe('silent');
    expect(await probeWebhook(refuse(403, 'denied: SHADOW_E_INJECT'))).toBe('answers');
    expect(await probeWebhook(refuse(403, 'violates PodSecurity'))).toBe('unknown');
    await expect(probeWebhook(refuse(500, 'etcd'))).rejects.toThrow('etcd');
    const api = recorder(() => touched);
    await probeWebhook(api);
    expect(api.calls[0]?.query?.dryRun).toBe('All');
  });
});

describe('uninstall', () => {
  const pod = { metadata: { name: 'web-0', namespace: 'shop' }, spec: {} };
  test('names what still needs us', () => {
    expect(usedBy([completed], [])).toBe('');
    expect(usedBy([completed, running], [pod])).toBe(
      'running migrations: shop/consumer-0-bbbbb; injected pods: shop/web-0',
    );
    expect(
      usedBy(
        [],
        Array.from({ length: 7 }, () => pod),
      ),
    ).toMatch(/ and 2 more$/);
    expect(usedBy([], [{ ...pod, metadata: { ...pod.metadata, deletionTimestamp: 'x' } }])).toBe('');
  });
  test('removes what was applied and the restore configuration; hooks first, the namespace last', () => {
    const { hooks, rest } = removalOf(objects, 'shadow-system');
    const names = [...hooks, ...rest].map(({ call }) =>
      keyOf({
        kind: call.kind,
        metadata: { name: call.name!, ...(call.namespace ? { namespace: call.namespace } : {}) },
      }),
    );
    expect(names).toEqual(expect.arrayContaining(objects.map(keyOf)));
    expect(names[0]).toBe('MutatingWebhookConfiguration /shadow-restore');
    expect(hooks.map(({ call }) => call.kind).every((kind) => kind.endsWith('WebhookConfiguration'))).toBe(true);
    expect(rest.some(({ call }) => call.kind.endsWith('WebhookConfiguration'))).toBe(false);
    expect(names.at(-1)).toBe('Namespace /shadow-system');
  });
});

describe('the API server', () => {
  const asked = (answer: unknown) => assertServer(standInApi(() => answer));
  test.each(['v1.29.14', 'v1.27.3+k3s1', 'v1.9.0'])('of %s is refused by name', async (gitVersion) => {
    const error = await asked({ gitVersion }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'SHADOW_E_API_VERSION', message: expect.stringContaining(gitVersion) });
  });
  test.each(['v1.30.0', 'v1.34.1', 'v1.31.2-eks-1234', 'v2.0.0'])('of %s is not', (gitVersion) =>
    expect(asked({ gitVersion })).resolves.toBeUndefined(),
  );
  test('that keeps its version to itself is taken as it is; one that does not answer is not', async () => {
    const call: Call = { verb: 'get', kind: 'Version' };
    await asked(refusal(call, 403));
    await expect(asked(refusal(call, 0))).rejects.toThrow(ApiError);
  });
});
