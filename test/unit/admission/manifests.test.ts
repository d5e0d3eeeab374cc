/** The manifests say what the code says. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { ASPECTS, DRIVERS, PHASES, PLURAL, STEPS, STRATEGIES, VERDICTS } from '../../../webhook/api/migration.ts';
import * as names from '../../../webhook/api/names.ts';
import { MOST_REHEARSE_SECONDS, REHEARSAL_VERDICTS } from '../../../webhook/api/rehearsal.ts';
import { withLooks } from '../../../webhook/controller/series.ts';

const DIR = join(import.meta.dirname, '../../../manifests');
// biome-ignore lint/suspicious/noExplicitAny: any manifest
type Any = any;
const files = readdirSync(DIR).filter((file) => file.endsWith('.yaml'));
const objects: Any[] = files
  .filter((file) => file !== 'kustomization.yaml')
  .flatMap((file) => parseAllDocuments(readFileSync(join(DIR, file), 'utf8')).map((document) => document.toJS()));
const one = (kind: string, name: string): Any => {
  const found = objects.filter((object) => object.kind === kind && object.metadata.name === name);
  expect(found, `${kind} ${name}`).toHaveLength(1);
  return found[0];
};
const podSpecs = objects.flatMap(({ kind, spec }) =>
  /Deployment|DaemonSet/.test(kind) ? [{ kind, spec: spec.template.spec }] : [],
);

test('the base lists every file', () => {
  const { resources } = parse(readFileSync(join(DIR, 'kustomization.yaml'), 'utf8'));
  expect([...resources, 'kustomization.yaml'].sort()).toEqual(files.sort());
});

test('the CRD knows every phase, step, strategy and driver, requires nothing, and keeps nothing it does not know', () => {
  const crd = one('CustomResourceDefinition', `${PLURAL}.migration.ms2m.io`);
  const { spec, status } = crd.spec.versions[0].schema.openAPIV3Schema.properties;
  expect(spec.properties.migrationStrategy.enum).toEqual(['', ...STRATEGIES]);
  expect(spec.properties.checkpointDriver.enum).toEqual([...DRIVERS]);
  expect(spec.required).toBeUndefined();
  expect(status.properties.phase.enum).toEqual([...PHASES]);
  expect(status.properties.handoffs.items.properties.step.enum).toEqual([...STEPS]);
  // What the API server does not know it drops, without a word.
  const { series } = status.properties.handoffs.items.properties;
  expect(Object.keys(series.properties)).toEqual(Object.keys(withLooks(undefined, [{ at: 0 }])!));
  expect(JSON.stringify(crd)).not.toContain('preserve-unknown-fields');
});

test("nothing but an opted-in pod's injection, a claim and a migration ever waits for us; pods never fail with us", () => {
  const entries = ['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration'].flatMap((kind) =>
    objects.filter((object) => object.kind === kind).flatMap(({ webhooks }) => webhooks as Any[]),
  );
  for (const { name, rules, failurePolicy, timeoutSeconds, namespaceSelector, matchConditions } of entries) {
    const pods = rules.some(({ resources }: Any) => resources.includes('pods'));
    if (pods) expect(failurePolicy, name).toBe('Ignore');
    if (pods) expect(namespaceSelector ?? matchConditions, name).toBeDefined();
    expect(timeoutSeconds).toBeLessThanOrEqual(5);
  }
  const inject = one('MutatingWebhookConfiguration', names.INJECT_WEBHOOK_CONFIG).webhooks as Any[];
  for (const { namespaceSelector } of inject) {
    expect(namespaceSelector.matchExpressions).toContainEqual({
      key: 'kubernetes.io/metadata.name',
      operator: 'NotIn',
      values: ['kube-system', names.NAMESPACE],
    });
  }
});

test('all pods but the agent meet PodSecurity restricted; ports are those of the API', () => {
  for (const { kind, spec } of podSpecs) {
    const [container] = spec.containers;
    expect(container.ports.find(({ name }: Any) => name === 'metrics').containerPort).toBe(names.PORT.metrics);
    if (kind === 'DaemonSet') continue;
    expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  }
  expect(one('DaemonSet', names.AGENT).spec.template.spec.containers[0].ports[0].containerPort).toBe(names.PORT.agent);
  expect(one('Service', names.CONTROLLER).spec).toMatchObject({
    selector: { [names.LABEL.leader]: 'true' },
    ports: [{ port: names.PORT.controller }],
  });
});

test("no role reads Secrets but the CA's own and those for registries, by name; no role has wildcards", () => {
  const rules = objects
    .filter(({ kind }) => /Role$/.test(kind))
    .flatMap((role) => role.rules.map((rule: Any) => ({ role, ...rule })));
  for (const { role, apiGroups, resources, verbs, resourceNames } of rules) {
    expect([...apiGroups, ...resources, ...verbs].join()).not.toContain('*');
    if (!resources.includes('secrets') || verbs.join() === 'create') continue;
    if (role.kind === 'ClusterRole' && role.metadata.name === names.CONTROLLER) {
      expect([resourceNames, verbs]).toEqual([[names.REGISTRY.secret], ['get']]);
      continue;
    }
    expect(role.kind).toBe('Role');
    expect(resourceNames).toEqual([names.CA, ...Object.values(names.TLS_SECRET)]);
  }
});

test('who may check reads, and no Secrets; of the reports the controller writes the one object that is there, agents none', () => {
  for (const kind of ['ClusterRole', 'Role'])
    for (const { resources, verbs } of one(kind, 'shadow-check').rules) {
      expect(['get', 'list']).toEqual(expect.arrayContaining(verbs));
      expect(resources).not.toContain('secrets');
    }
  expect(one('ConfigMap', names.NODE_REPORTS)).not.toHaveProperty('data');
  const writers = objects.filter(
    ({ kind, rules }) => /Role$/.test(kind) && JSON.stringify(rules).includes(names.NODE_REPORTS),
  );
  expect(writers.map(({ metadata }) => metadata.name).sort()).toEqual(['shadow-check', names.CONTROLLER]);
  expect(one('Role', names.CONTROLLER).rules).toContainEqual({
    apiGroups: [''],
    resources: ['configmaps'],
    resourceNames: [names.NODE_REPORTS],
    verbs: ['patch'],
  });
  for (const { verbs } of one('ClusterRole', names.AGENT).rules) expect([['create'], ['get']]).toContainEqual(verbs);
});

test('a dry run is known to the CRD with all it can find', () => {
  const crd = one('CustomResourceDefinition', `${PLURAL}.migration.ms2m.io`);
  const { spec, status } = crd.spec.versions[0].schema.openAPIV3Schema.properties;
  expect(spec.properties.dryRun.type).toBe('boolean');
  const { aspect, verdict } = status.properties.assessment.items.properties;
  expect([aspect.enum, verdict.enum]).toEqual([[...ASPECTS], [...VERDICTS]]);
});

test('a rehearsal is known to the CRD with all it can find, and a commit of one is refused by the API server', () => {
  const crd = one('CustomResourceDefinition', `${PLURAL}.migration.ms2m.io`);
  const schema = crd.spec.versions[0].schema.openAPIV3Schema;
  const { spec, status } = schema.properties;
  expect(spec.properties.rehearse.type).toBe('boolean');
  expect(spec.properties.rehearseSeconds).toMatchObject({ minimum: 1, maximum: MOST_REHEARSE_SECONDS });
  expect(status.properties.phase.enum).toEqual([...PHASES]);
  expect(status.properties.rehearsal.properties.verdict.enum).toEqual([...REHEARSAL_VERDICTS]);
  const rules = (of: { 'x-kubernetes-validations'?: { rule: string }[] }) =>
    (of['x-kubernetes-validations'] ?? []).map(({ rule }) => rule);
  // Tried on a real API server in test/cluster/rehearse.test.ts.
  expect(rules(schema)).toEqual([expect.stringMatching(/rehearse.*verdict == 'commit'/)]);
  expect(rules(spec)).toEqual([
    expect.stringContaining('dryRun'),
    expect.stringContaining('oldSelf.rehearse'),
    expect.stringContaining('oldSelf.abort'),
  ]);
});

test('the two of a kind are spread over nodes at each rollout anew, and made again soon when their node dies', () => {
  for (const name of [names.WEBHOOK, names.CONTROLLER]) {
    const { replicas, template } = one('Deployment', name).spec;
    expect(replicas).toBe(2);
    const [spread] = template.spec.topologySpreadConstraints;
    expect(spread).toMatchObject({ topologyKey: 'kubernetes.io/hostname', matchLabelKeys: ['pod-template-hash'] });
    for (const key of ['unreachable', 'not-ready'])
      expect(template.spec.tolerations).toContainEqual({
        key: `node.kubernetes.io/${key}`,
        operator: 'Exists',
        effect: 'NoExecute',
        tolerationSeconds: 30,
      });
  }
});
