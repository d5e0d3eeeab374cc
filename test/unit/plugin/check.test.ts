import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { anchorOf } from '../../../plugin/check/anchor.ts';
import { ALL_CHECKS, CLUSTER_CHECKS, POD_CHECKS } from '../../../plugin/check/catalogue.ts';
import { styleOf } from '../../../plugin/check/check.ts';
import { CHECK_DOC, checkDoc } from '../../../plugin/check/doc.ts';
import { evaluate, isFailed, type Result } from '../../../plugin/check/evaluate.ts';
import type { Facts } from '../../../plugin/check/facts.ts';
import { missingFields } from '../../../plugin/check/judge/installation.ts';
import { printed } from '../../../plugin/check/print.ts';
import { newCA } from '../../../webhook/admission/ca/authority.ts';
import { CATALOGUE, type ErrorCode } from '../../../webhook/api/errors.ts';
import type { Aspect } from '../../../webhook/api/migration.ts';
import type { NodeEntry } from '../../../webhook/api/node-reports.ts';
import {
  agentPod,
  authority,
  configured,
  DAY,
  entry,
  fitCluster,
  leafOf,
  lookedAt,
  NOW,
  nodeObject,
  reported,
} from './check-facts.ts';

const spoilt = (spoil: Partial<Facts>, checks = CLUSTER_CHECKS): Result[] =>
  evaluate(checks, { ...fitCluster(), ...spoil });
const of = (results: readonly Result[], outcome: Result['outcome']): string[] =>
  results.filter((one) => one.outcome === outcome).map(({ id }) => id);
const one = (results: readonly Result[], id: string): Result => results.find((result) => result.id === id)!;

test('a fit cluster and a fit pod pass every check', () => {
  for (const checks of [CLUSTER_CHECKS, POD_CHECKS, ALL_CHECKS]) {
    const results = evaluate(checks, fitCluster());
    expect(results.filter(({ outcome }) => outcome !== 'pass')).toEqual([]);
    expect(results).toHaveLength(checks.length);
  }
});

const denied = { denied: 'forbidden' } as const;
const scaledDown = fitCluster().webhook as { got: { spec: object } };
const uncallable = (cause: string) => ({
  failed: `Internal error occurred: failed calling webhook "create.migrations.shadow.ms2m.io": failed to call webhook: ${cause}`,
});
const expiredCa = newCA(NOW - 900 * DAY);
const aspect = (name: Aspect['aspect'], verdict: Aspect['verdict'], findings: string[], code?: ErrorCode): Aspect => ({
  aspect: name,
  verdict,
  findings,
  ...(code === undefined ? {} : { code }),
});

describe('a defect is told by the one check that is about it, and no other fails', () => {
  test.each<[string, string, RegExp, Partial<Facts>]>([
    ['API server out of reach', 'api-reachable', /refused/, { version: { failed: 'connection refused' } }],
    [
      'API server too old',
      'api-version',
      /v1\.29\.8 is older than 1\.30/,
      { version: { got: { gitVersion: 'v1.29.8' } } },
    ],
    ['not installed', 'crd', /not installed/, { crd: { absent: true } }],
    [
      'webhook scaled to 0',
      'webhook-runs',
      /scaled to 0/,
      { webhook: { got: { ...scaledDown.got, spec: { ...scaledDown.got.spec, replicas: 0 } } } as Facts['webhook'] },
    ],
    [
      'webhook down, and the caller may not look at it',
      'webhook-answers',
      /no endpoints available/,
      {
        webhook: denied,
        validation: uncallable('Post "https://…": no endpoints available for service "shadow-webhook"'),
      },
    ],
    [
      'webhook certificate not the one trusted',
      'webhook-answers',
      /x509/,
      {
        certificates: { webhook: denied, controller: denied, agent: denied },
        validation: uncallable('tls: x509: unknown'),
      },
    ],
    ['no validating webhook', 'webhook-answers', /asked no webhook/, { validation: { got: 'accepted' } }],
    ['no injection', 'webhook-injects', /was not injected/, { injection: { got: 'silent' } }],
    [
      'expired CA',
      'ca-bundle',
      /the CA in shadow-inject has expired on/,
      {
        webhooks: { got: [configured('shadow-inject', expiredCa.cert), configured('shadow-validate', authority.cert)] },
      },
    ],
    [
      'no CA yet',
      'ca-bundle',
      /shadow-validate has no CA/,
      { webhooks: { got: [configured('shadow-inject', authority.cert), configured('shadow-validate', '')] } },
    ],
    [
      'expired certificate of the agents',
      'serving-certificates',
      /shadow-agent-tls has expired on 2026/,
      { certificates: { ...fitCluster().certificates, agent: { got: leafOf('agent', NOW - 100 * DAY) } } },
    ],
    [
      'a certificate of another CA',
      'serving-certificates',
      /shadow-agent-tls is signed by none/,
      {
        certificates: {
          ...fitCluster().certificates,
          agent: { got: leafOf('agent', NOW - DAY, newCA(NOW - 5 * DAY)) },
        },
      },
    ],
    [
      'a Lease nobody holds',
      'controller-leads',
      /held by nobody/,
      { lease: { got: { lease: { metadata: { name: '' } }, renewed: false } } },
    ],
    ['another handler', 'runtime-class', /handler runc/, { runtimeClass: { got: { handler: 'runc' } } }],
    ['agent missing', 'agents', /^node-2: no agent runs there$/, { pods: { got: [agentPod('node-1')] } }],
    [
      'agent not ready',
      'agents',
      /^node-2: its agent is not ready$/,
      { pods: { got: [agentPod('node-1'), agentPod('node-2', false)] } },
    ],
    [
      'agent out of reach',
      'node-reports',
      /no answer of node-2: connect ETIMEDOUT/,
      { reports: reported([entry('node-1'), { node: 'node-2', error: { code: 'X', message: 'connect ETIMEDOUT' } }]) },
    ],
    [
      'old containerd',
      'containerd',
      /^node-2: containerd 1\.7\.22 is older than 2\.0$/,
      { nodes: { got: [nodeObject('node-1'), nodeObject('node-2', 'containerd://1.7.22')] } },
    ],
    [
      'old containerd, told by its agent',
      'containerd',
      /^node-2: containerd 1\.7\.22 is older than 2\.0$/,
      { nodes: denied, reports: reported([entry('node-1'), entry('node-2', { containerd: '1.7.22' })]) },
    ],
    [
      'another runtime',
      'containerd',
      /^node-2: it runs cri-o 1\.31\.0, not containerd$/,
      { nodes: { got: [nodeObject('node-1'), nodeObject('node-2', 'cri-o://1.31.0')] } },
    ],
    [
      'no runc',
      'runc',
      /node-2: runc is not there/,
      { reports: reported([entry('node-1'), entry('node-2', { runc: '' })]) },
    ],
    [
      'handler program missing',
      'runtime-handler',
      /node-2: \/opt\/shadow\/bin\/shadow-runc is not there/,
      { reports: reported([entry('node-1'), entry('node-2', { handlerInstalled: false })]) },
    ],
    [
      'handler not in containerd',
      'runtime-handler',
      /node-2: containerd has no runtime handler shadow/,
      {
        nodes: {
          got: [
            nodeObject('node-1'),
            { ...nodeObject('node-2'), status: { ...nodeObject('').status, runtimeHandlers: [{ name: 'runc' }] } },
          ],
        },
        reports: reported([entry('node-1'), entry('node-2', { handlerConfigured: false })]),
      },
    ],
    [
      'containerd not restarted',
      'runtime-handler',
      /node-2: containerd's configuration has the handler shadow, but it was not restarted/,
      {
        nodes: {
          got: [
            nodeObject('node-1'),
            { ...nodeObject('node-2'), status: { ...nodeObject('').status, runtimeHandlers: [{ name: 'runc' }] } },
          ],
        },
      },
    ],
    [
      'criu missing',
      'criu',
      /^node-2: criu is not there/,
      { reports: reported([entry('node-1'), entry('node-2', { criu: '' })]) },
    ],
    [
      'criu discontent',
      'criu',
      /node-2: criu check says: no CAP/,
      { reports: reported([entry('node-1'), entry('node-2', { criuCheck: 'no CAP' })]) },
    ],
    [
      'CPUs that nothing can go between',
      'cpu-flags',
      /node-1 to node-2, which lacks avx; node-2 to node-1, which lacks sse/,
      { reports: reported([entry('node-1'), entry('node-2', { cpu: 1 })], [['avx'], ['sse']]) },
    ],
    [
      'a clock minutes off',
      'clocks',
      /node-2 is 300\.0 s behind/,
      { reports: reported([entry('node-1'), entry('node-2', { aheadMs: -300_000 })]) },
    ],
    [
      'no RBAC',
      'access-migrate',
      /in namespace shop you may not create, watch statefulmigrations\.migration\.ms2m\.io; nor get pods/,
      {
        rights: fitCluster().rights.map((right) =>
          /create|watch/.test(right.verb) || right.resource === 'pods' ? { ...right, allowed: { got: false } } : right,
        ),
      },
    ],
  ])('%s: %s', (_defect, id, message, spoil) => {
    const results = spoilt(spoil);
    expect(of(results, 'fail')).toEqual([id]);
    expect(one(results, id).message).toMatch(message);
    expect(one(results, id).hint).toBeTruthy();
  });

  test('CRIU is brought by set-up, what a kernel lacks is not', () => {
    const hint = (...nodes: NodeEntry[]) => one(spoilt({ reports: reported(nodes) }), 'criu').hint;
    const [old, short] = [entry('node-1', { criu: '3.17' }), entry('node-2', { criuCheck: 'no CAP' })];
    expect(hint(old, short)).toContain('node-setup');
    expect(hint(entry('node-1'), short)).toMatch(/kernel/);
    expect(hint(entry('node-1'), short)).not.toContain('node-setup');
  });

  test.each<[string, string, RegExp, Partial<Facts>]>([
    [
      'exclusive queue',
      'pod-session',
      /declared queue jobs, which is exclusive/,
      {
        dryRun: lookedAt(
          aspect('Session', 'Unfit', ['connection 1: declared queue jobs, which is exclusive'], 'SHADOW_E_SESSION'),
        ),
      },
    ],
    [
      'postStart hook',
      'pod-spec',
      /postStart hook/,
      { dryRun: lookedAt(aspect('Spec', 'Unfit', ['container app has a postStart hook'], 'SHADOW_E_UNSUPPORTED')) },
    ],
    [
      'a database connection with ShadowPodSwap asked for',
      'pod-strategy',
      /Auto would take StopAndCopy: .*10\.0\.0\.5:5432/,
      {
        dryRun: lookedAt(
          aspect('Strategy', 'Warning', ['ShadowPodSwap is asked for, Auto would take StopAndCopy: … 10.0.0.5:5432']),
        ),
      },
    ],
    [
      'no controller',
      'controller-leads',
      /held by nobody/,
      { lease: { got: { lease: { metadata: { name: '' } }, renewed: false } }, dryRun: { failed: 'late' } },
    ],
  ])('%s: %s', (_defect, id, message, spoil) => {
    const results = spoilt(spoil, POD_CHECKS);
    expect(of(results, 'fail')).toEqual([id]);
    expect(one(results, id).message).toMatch(message);
  });
});

describe('a warning is no failure', () => {
  test.each<[string, string, RegExp, Partial<Facts>]>([
    [
      'one of two webhooks',
      'webhook-runs',
      /1 of 2 pods ready/,
      {
        webhook: {
          got: {
            ...(fitCluster().webhook as { got: object }).got,
            status: { observedGeneration: 1, replicas: 2, updatedReplicas: 2, availableReplicas: 1 },
          },
        } as Facts['webhook'],
      },
    ],
    [
      'overdue renewal',
      'ca-bundle',
      /renewal is overdue/,
      { webhooks: { got: [configured('shadow-inject', newCA(NOW - 700 * DAY).cert)] } },
    ],
    [
      'a cordoned node without an agent',
      'agents',
      /it takes no pods now/,
      {
        pods: { got: [agentPod('node-1')] },
        nodes: { got: [nodeObject('node-1'), { ...nodeObject('node-2'), spec: { unschedulable: true } }] },
      },
    ],
    [
      'no checkpoint API',
      'checkpoint-api',
      /node-2: off; the default driver/,
      { reports: reported([entry('node-1'), entry('node-2', { checkpointApi: 'off' })]) },
    ],
    [
      'a way of no return',
      'cpu-flags',
      /node-1 to node-2, which lacks sse$/,
      { reports: reported([entry('node-1'), entry('node-2', { cpu: 1 })], [['avx', 'sse'], ['avx']]) },
    ],
    [
      'a clock seconds off',
      'clocks',
      /node-2 is 1\.5 s ahead/,
      { reports: reported([entry('node-1'), entry('node-2', { aheadMs: 1500 })]) },
    ],
    [
      'a handler of which the kubelet does not tell',
      'runtime-handler',
      /could not be told/,
      { nodes: denied, reports: reported([entry('node-1', { handlerConfigured: false }), entry('node-2')]) },
    ],
  ])('%s', (_what, id, message, spoil) => {
    const results = spoilt(spoil);
    expect(of(results, 'warn').filter((each) => each === id)).toEqual([id]);
    expect(one(results, id).message).toMatch(message);
    expect(isFailed(results.filter(({ id: each }) => each !== 'serving-certificates'))).toBe(false);
  });
});

describe('what is skipped', () => {
  test('names the first cause, not the next link', () => {
    const results = spoilt({ crd: { absent: true } });
    expect(of(results, 'fail')).toEqual(['crd']);
    expect(one(results, 'webhook-injects').message).toBe('crd failed');
    expect(one(results, 'criu').message).toBe('crd failed');
    expect(of(results, 'pass')).toEqual(['api-reachable', 'api-version', 'access-migrate', 'containerd']);
  });
  test('what the caller may not see is skipped, and blocks nothing', () => {
    const results = spoilt(
      {
        ...{ crd: denied, webhook: denied, controller: denied, agentSet: denied, pods: denied, lease: denied },
        ...{ runtimeClass: denied, webhooks: denied, nodes: denied, reports: denied },
        certificates: { webhook: denied, controller: denied, agent: denied },
      },
      ALL_CHECKS,
    );
    expect(of(results, 'fail')).toEqual([]);
    expect(of(results, 'pass')).toEqual(expect.arrayContaining(['webhook-answers', 'webhook-injects', 'pod-session']));
    expect(one(results, 'crd').hint).toContain('shadow-check');
  });
  test('old reports say nothing, and only one check says so', () => {
    const { got } = reported([entry('node-1', { criu: '' })]);
    const results = spoilt({ reports: { got: { ...got, at: new Date(NOW - 3_600_000).toISOString() } } });
    expect(of(results, 'fail')).toEqual(['node-reports']);
    expect(one(results, 'criu').outcome).toBe('skipped');
  });
  test('a pod that is not there has no session to be fit', () => {
    const status = { assessment: [aspect('Pod', 'Unfit', ['no such pod: shop/x'], 'SHADOW_E_POD_NOT_FOUND')] };
    const results = spoilt({ dryRun: { got: { ...lookedAt().got, status } } }, POD_CHECKS);
    expect(of(results, 'fail')).toEqual(['pod-state']);
    expect(of(results, 'skipped')).toHaveLength(7);
  });
  test('a controller that could not look fails by its own words', () => {
    const error = { code: 'SHADOW_E_API', message: 'etcd is down' } as const;
    const results = spoilt({ dryRun: { got: { ...lookedAt().got, status: { error } } } }, POD_CHECKS);
    expect(one(results, 'pod-state').message).toContain('etcd is down');
  });
});

test('a field that the cluster does not know makes its CRD old', () => {
  const given = structuredClone(fitCluster().ownCrd);
  const { spec } = given.spec.versions[0]!.schema!.openAPIV3Schema!.properties!;
  delete spec!.properties!.dryRun;
  expect(one(spoilt({ crd: { got: given } }), 'crd').message).toBe('it is older than the plugin: it lacks spec.dryRun');
  expect(missingFields({ items: { properties: { a: {} } } }, { items: {} })).toEqual(['[].a']);
});

describe('versions', () => {
  const labelled = (version: string) => ({ name: 'x', labels: { 'app.kubernetes.io/version': version } });
  const versions = (facts: Partial<Facts>) => one(spoilt(facts), 'versions');
  test('of parts that differ are a warning, and each is named', () => {
    const agentSet = { got: { metadata: labelled('1.1.0') } };
    expect(versions({ agentSet })).toMatchObject({ outcome: 'warn', message: expect.stringContaining('agents 1.1.0') });
    // What does not say its version is 0.1.
    expect(versions({ agentSet: { got: { metadata: { name: 'x' } } } }).message).toContain('agents 0.1.0');
  });
  test('of the plugin: one minor version off is a warning, two are a failure', () => {
    expect(versions({ ownVersion: '1.2.0' }).outcome).toBe('pass');
    expect(versions({ ownVersion: '1.3.0' }).outcome).toBe('warn');
    expect(versions({ ownVersion: '1.1.9' }).outcome).toBe('warn');
    expect(versions({ ownVersion: '1.4.0' }).outcome).toBe('fail');
    expect(versions({ ownVersion: '2.0.0' }).outcome).toBe('fail');
  });
});

test('hints name the namespace that kubectl-shadow is in', () => {
  const results = spoilt({ home: 'tools', lease: { absent: true } });
  expect(one(results, 'controller-leads').hint).toContain('kubectl -n tools logs');
});

describe('every check', () => {
  const anchors = (file: string): Set<string> =>
    new Set(
      [...readFileSync(join(CHECK_DOC, '../..', file), 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
        anchorOf(heading!.replaceAll(' ', '-')),
      ),
    );
  const exists = (doc: string): boolean => {
    const [file = '', anchor = ''] = doc.split('#');
    return anchors(file).has(anchor);
  };
  test('has a section in docs/check.md, which is as the catalogue says (node plugin/check/doc.ts writes it)', () => {
    expect(readFileSync(CHECK_DOC, 'utf8')).toBe(checkDoc());
    expect(ALL_CHECKS.filter(({ id }) => !exists(`docs/check.md#${id}`))).toEqual([]);
  });
  test('is known by its id alone, and needs checks that are there', () => {
    const ids = ALL_CHECKS.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ALL_CHECKS.flatMap(({ needs }) => needs).filter((need) => !ids.includes(need))).toEqual([]);
  });
  test('leads to a section that exists, by its code too, and so does each page a hint names', () => {
    for (const code of Object.keys(CATALOGUE) as ErrorCode[]) {
      const dryRun = lookedAt(aspect('Session', 'Unfit', ['x'], code));
      const { doc } = one(spoilt({ dryRun }, POD_CHECKS), 'pod-session');
      expect([doc, exists(doc)]).toEqual([doc, true]);
    }
    const texts = [...evaluate(ALL_CHECKS, { ...fitCluster(), crd: denied }), ...ALL_CHECKS].map(
      ({ hint }) => hint ?? '',
    );
    const named = texts.flatMap((text) => text.match(/docs\/[\w.]+#[\w-]+/g) ?? []);
    const linked = ALL_CHECKS.flatMap(({ more }) => [...more.matchAll(/\]\((\w+\.md#[\w-]+)\)/g)]);
    named.push(...linked.map(([, doc]) => `docs/${doc}`));
    expect(named.length).toBeGreaterThan(4);
    expect(named.filter((doc) => !exists(doc))).toEqual([]);
  });
});

describe('what is printed', () => {
  const results = spoilt({
    injection: { got: 'unknown' },
    reports: reported([entry('node-1'), entry('node-2', { criu: '', checkpointApi: 'off' })]),
  });
  const golden = (name: string, text: string) => expect(`${text}\n`).toMatchFileSnapshot(`golden/${name}.txt`);
  test('where there is no terminal', () =>
    golden('check', printed(results, 'table', { symbols: false, color: false })));
  test('on a terminal', () => golden('check-terminal', printed(results, 'table', { symbols: true, color: true })));
  test('short: what did not pass', () =>
    golden('check-short', printed(results, 'short', { symbols: false, color: false })));
  test('short, when all is well', () => {
    expect(printed(spoilt({}), 'short', { symbols: true, color: true })).toBe('22 checks: 22 passed');
  });
  test('json: all fields, for programs', () => {
    const { ok, checks } = JSON.parse(printed(results, 'json', { symbols: true, color: true }));
    expect(ok).toBe(false);
    expect(checks).toHaveLength(CLUSTER_CHECKS.length);
    expect(checks.find(({ id }: Result) => id === 'criu')).toEqual({
      id: 'criu',
      group: 'nodes',
      outcome: 'fail',
      message: 'node-2: criu is not there, or does not start',
      hint: expect.stringContaining('CRIU'),
      doc: 'docs/check.md#criu',
    });
  });
  test('colours only on a terminal that has them, of a user who wants them', () => {
    const tty = { isTTY: true };
    expect(styleOf(tty, true, {})).toEqual({ symbols: true, color: true });
    expect(styleOf(tty, false, {})).toEqual({ symbols: true, color: false });
    expect(styleOf(tty, true, { NO_COLOR: '1' })).toEqual({ symbols: true, color: false });
    expect(styleOf(tty, true, { TERM: 'dumb' })).toEqual({ symbols: false, color: false });
    expect(styleOf({}, true, {})).toEqual({ symbols: false, color: false });
  });
});
