/** The golden files are the webhook's: what it does to a pod, `inject` does to a template. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { injectTemplate, uninjectTemplate } from '../../../plugin/inject/template.ts';
import type { Workload } from '../../../plugin/inject/workloads.ts';
import { injectVerdict } from '../../../webhook/admission/verdicts.ts';
import { applyPatch } from '../admission/apply-patch.ts';

const GOLDEN = join(import.meta.dirname, '../admission/golden');
const OPTIONS = { image: 'localhost/kubectl-shadow:dev', namespace: 'shop', ipv6: false, annotations: {} };
const BEFORE = 'shadow.ms2m.io/before';
const INJECT = 'shadow.ms2m.io/inject';

interface Case {
  name: string;
  pod: V1Pod;
  expected: { denied?: string; patch?: Parameters<typeof applyPatch>[1] };
}
const cases = readdirSync(GOLDEN).flatMap((name): Case[] => {
  const read = (file: string) => parse(readFileSync(join(GOLDEN, name, file), 'utf8'));
  const { question, pod } = read('input.yaml');
  return question === 'inject' ? [{ name, pod, expected: read('expected.yaml') }] : [];
});
const admitted = ({ pod, expected }: Case): V1Pod => applyPatch(pod, expected.patch ?? []) as V1Pod;
const statusOf = (pod: V1Pod): string => pod.metadata?.annotations?.['shadow.ms2m.io/status'] ?? '';
const injectedCases = cases.filter((each) => statusOf(admitted(each)) === 'injected');

const workload = (template: V1Pod, kind = 'StatefulSet'): Workload => ({
  kind,
  name: 'statefulset.apps/x',
  namespace: undefined,
  template,
});
const injectedOf = (pod: V1Pod): V1Pod => injectTemplate(workload(pod), OPTIONS).template!;

/** Without what only a manifest carries: the undo, and the label by which the webhook looks at its pods. */
const asWebhook = (pod: V1Pod, before: V1Pod): unknown => {
  const copy = JSON.parse(JSON.stringify(pod));
  delete copy.metadata.annotations[BEFORE];
  if (before.metadata?.labels?.[INJECT] === undefined) delete copy.metadata.labels[INJECT];
  return copy;
};

describe('the webhook and inject agree', () => {
  test('there are cases', () => expect([cases.length, injectedCases.length]).toEqual([25, 10]));
  for (const each of cases) {
    const { name, pod, expected } = each;
    test(name, () => {
      const denied = expected.denied?.match(/^(SHADOW_E_[A-Z_]+): (.*)$/);
      if (denied) {
        const [general, ...detail] = denied[2]!.split(': ');
        expect(() => injectTemplate(workload(pod), OPTIONS)).toThrow(
          expect.objectContaining({ code: denied[1], message: [general, 'statefulset.apps/x', ...detail].join(': ') }),
        );
        return;
      }
      const { template, told, problem } = injectTemplate(workload(pod), OPTIONS);
      if (statusOf(admitted(each)) === 'injected') {
        expect(asWebhook(template!, pod)).toEqual(JSON.parse(JSON.stringify(admitted(each))));
        return;
      }
      expect(template).toBeUndefined();
      expect(problem === undefined).toBe(name === 'opted-out');
      if (problem) expect(told).toBe(statusOf(admitted(each)));
    });
  }
});

const verdictOn = async (pod: V1Pod) => {
  const told: string[] = [];
  const { patch } = await injectVerdict(
    {
      ...{ uid: 'u', kind: { group: '', kind: 'Pod' }, operation: 'CREATE', namespace: 'shop', dryRun: false },
      ...{ userInfo: { username: '' }, object: pod as Record<string, unknown>, oldObject: undefined },
    },
    {
      ...{ image: 'another:2', namespace: 'shadow-system', migrations: async () => [] },
      onInjected: async (namespace) => void told.push(namespace),
      onSkipped: () => undefined,
    },
  );
  return { patch, told };
};

describe.each(injectedCases)('$name', ({ pod }) => {
  test('injected in its manifest, the webhook leaves it alone, and brings the CA to its namespace', async () => {
    expect(await verdictOn(injectedOf(pod))).toEqual({ patch: [], told: ['shop'] });
  });
  test('its pods are sent to the webhook, whatever their namespace', () => {
    expect(injectedOf(pod).metadata?.labels?.[INJECT]).toBe('true');
  });
  test('injected again it stays as it is', () => {
    expect(injectTemplate(workload(injectedOf(pod)), OPTIONS)).toMatchObject({
      told: 'injected already',
      stands: true,
    });
  });
  test('uninjected it is what it was, each field in its place', () => {
    const back = uninjectTemplate(workload(injectedOf(pod))).template;
    expect(back).toEqual(pod);
    expect(JSON.stringify(back)).toBe(JSON.stringify(pod));
  });
});

describe('without the undo', () => {
  const lose = (pod: V1Pod): V1Pod => {
    const copy = structuredClone(injectedOf(pod));
    delete copy.metadata!.annotations![BEFORE];
    return copy;
  };
  const bare = (pod: V1Pod): unknown => {
    const copy = structuredClone(pod);
    if (copy.metadata?.labels) delete copy.metadata.labels[INJECT];
    if (Object.keys(copy.metadata?.labels ?? {}).length === 0) delete copy.metadata!.labels;
    for (const container of [...copy.spec!.containers, ...(copy.spec!.initContainers ?? [])]) {
      delete container.securityContext?.seccompProfile;
      if (Object.keys(container.securityContext ?? {}).length === 0) delete container.securityContext;
    }
    return copy;
  };
  test.each(injectedCases)('$name: it is refused or what it was, but for seccomp', ({ pod, expected }) => {
    const lost = expected.patch?.some(({ path }) => /ontainers\/\d+\/(env|args|command)/.test(path));
    if (lost) {
      const refused = expect.objectContaining({ code: 'SHADOW_E_UNINJECT' });
      expect(() => uninjectTemplate(workload(lose(pod)))).toThrow(refused);
      return;
    }
    expect(bare(uninjectTemplate(workload(lose(pod))).template!)).toEqual(bare(pod));
  });
});

describe('between inject and uninject', () => {
  const byIp = cases.find(({ name }) => name === 'broker-by-ip')!.pod;
  test("the user's own changes stay", () => {
    const injected = structuredClone(injectedOf(byIp));
    const [app] = injected.spec!.containers;
    app!.image = 'app:2';
    app!.env!.unshift({ name: 'NEW', value: 'x' });
    app!.env!.find(({ name }) => name === 'BROKER_HOSTS')!.value = 'elsewhere';
    injected.spec!.containers.push({ name: 'second', image: 's' });
    injected.spec!.volumes!.push({ name: 'mine', emptyDir: {} });
    injected.spec!.hostAliases = [{ ip: '127.0.0.1', hostnames: ['mine'] }, ...(injected.spec!.hostAliases ?? [])];
    const back = uninjectTemplate(workload(injected)).template!;
    const [first, second] = back.spec!.containers;
    expect(first).toMatchObject({ image: 'app:2', args: byIp.spec!.containers[0]!.args });
    const env = Object.fromEntries(first!.env!.map(({ name, value }) => [name, value]));
    expect(env).toMatchObject({ NEW: 'x', BROKER_HOSTS: 'elsewhere', AMQP_URL: 'amqp://u:p@$(BASE):5672/v' });
    expect(second?.name).toBe('second');
    expect(back.spec!.volumes).toEqual([{ name: 'mine', emptyDir: {} }]);
    expect(back.spec!.hostAliases).toEqual([{ ip: '127.0.0.1', hostnames: ['mine'] }]);
  });
  test('an undo that is no JSON of ours counts for none', () => {
    for (const text of ['{', '[]', '{"containers":{"app":{"args":{"was":1}}}}']) {
      const broken = structuredClone(injectedOf(byIp));
      broken.metadata!.annotations![BEFORE] = text;
      expect(() => uninjectTemplate(workload(broken))).toThrow(expect.objectContaining({ code: 'SHADOW_E_UNINJECT' }));
    }
  });
  test('annotations given by flag come and go, and never replace one of the manifest', () => {
    const annotations = { 'shadow.ms2m.io/brokers': 'mq:5672' };
    const pod = (own: { [name: string]: string }): V1Pod => ({
      metadata: { annotations: own },
      spec: { containers: [{ name: 'app', image: 'a' }] },
    });
    const own = { 'shadow.ms2m.io/brokers': 'other' };
    for (const before of [pod({ note: 'x' }), pod(own)]) {
      const { template } = injectTemplate(workload(before), { ...OPTIONS, annotations });
      const brokers = template!.metadata!.annotations!['shadow.ms2m.io/brokers'];
      expect(brokers).toBe(before.metadata!.annotations === own ? 'other' : 'mq:5672');
      expect(uninjectTemplate(workload(template!)).template).toEqual(before);
    }
  });
});
