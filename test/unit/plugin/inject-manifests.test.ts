/** Manifests in and out: streams, kinds, and the commands. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import { afterAll, describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { parseStream, streamText } from '../../../plugin/inject/documents.ts';
import {
  type InjectFlags,
  injectManifests,
  installedOptions,
  rewrite,
  uninjectManifests,
} from '../../../plugin/inject/inject.ts';
import { injectTemplate, uninjectTemplate } from '../../../plugin/inject/template.ts';
import { type Workload, withWorkloads } from '../../../plugin/inject/workloads.ts';
import { plainIo, refusal, standInApi } from './stage.ts';

const OPTIONS = { image: 'localhost/kubectl-shadow:dev', namespace: 'shop', ipv6: false, annotations: {} };
const INJECT = 'shadow.ms2m.io/inject';

const workload = (template: V1Pod): Workload => ({
  ...{ kind: 'StatefulSet', name: 'statefulset.apps/x', namespace: undefined, template },
});

const APP = `{ containers: [{ name: app, image: a, env: [{ name: AMQP_HOST, value: mq }] }] }`;
const set = (name: string, more = ''): string => `apiVersion: apps/v1
kind: StatefulSet
metadata: { name: ${name}${more} }
spec:
  template: { metadata: { labels: { app: ${name} } }, spec: ${APP} }
`;

describe('streams', () => {
  const valuesOf = (text: string): unknown[] => parseStream('x', text).map(({ value }) => value);
  const injected = (text: string): string => {
    const documents = parseStream('x', text);
    return streamText(documents, rewrite(documents, (each) => injectTemplate(each, OPTIONS)).values, 'yaml');
  };
  test('are read as Kubernetes reads YAML', () => {
    expect(
      valuesOf(
        'a: on\nb: 0644\nc: 12:30:45\nd: 2026-11-29\ne: "yes"\nf: 1_000\ng: &x [1]\nh: *x\ni: ~\nj: [E1, ., 1e3, .5, 0x1f, .inf, 0o17]\n---\n# none\n---\n',
      ),
    ).toEqual([
      {
        a: true,
        b: 420,
        c: '12:30:45',
        d: '2026-11-29',
        e: 'yes',
        f: 1000,
        g: [1],
        h: [1],
        i: null,
        j: ['E1', '.', 1000, 0.5, 31, Number.POSITIVE_INFINITY, 15],
      },
    ]);
    expect(valuesOf('\ufeff--- # one\na: 1\r\n---\r\nb: 2')).toHaveLength(2);
    expect(valuesOf('{\n\t"kind": "List",\n\t"items": []\n}')).toEqual([{ kind: 'List', items: [] }]);
  });
  test.each(['a: [', 'a: 1\na: 2', 'a: *nothing'])('%s is refused by the name of its file', (text) => {
    expect(() => parseStream('set.yaml', text)).toThrow(
      expect.objectContaining({ code: 'SHADOW_E_INVALID', message: expect.stringContaining('set.yaml: ') }),
    );
  });
  test('keep their order, and documents that are not changed every letter', () => {
    const map = '# mine\napiVersion: v1\nkind: ConfigMap\ndata:   { a: "yes" } # so';
    const text = injected(`---\n${map}\n---\n${set('b')}---\n${map}\n`);
    expect(text.startsWith(`${map}\n---\n`)).toBe(true);
    expect(text.endsWith(`\n---\n${map}`)).toBe(true);
    expect(parseAllDocuments(text).map((document) => document.get('kind'))).toEqual([
      'ConfigMap',
      'StatefulSet',
      'ConfigMap',
    ]);
  });
  test('what looks like something else stays a text', () => {
    const odd = [
      'yes',
      'on',
      'n',
      '0644',
      '12:30:45',
      '1e3',
      '0o17',
      'null',
      '2026-11-29',
      '',
      ' x',
      '1_0',
      '.5',
      '0x1f',
    ];
    const env = odd.map((value, at) => `{ name: E${at}, value: ${JSON.stringify(value)} }`).join(', ');
    const text = injected(set('a').replace('env: [', `env: [${env}, `));
    for (const version of ['1.1', '1.2'] as const) {
      const [document] = parseAllDocuments(text, { version });
      const values = document!
        .toJS()
        .spec.template.spec.containers[0].env.map(({ value }: { value: unknown }) => value);
      expect(values.slice(0, -1)).toEqual(odd);
    }
  });
  test('Lists within Lists are gone through', () => {
    const list = `apiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: StatefulSetList\n  items: [${JSON.stringify(parse(set('a')))}]\n- { apiVersion: v1, kind: Secret }\n`;
    const value = parse(injected(list));
    expect(value.items[0].items[0].spec.template.spec.initContainers[0].name).toBe('shadow-sidecar');
    expect(value.items[1]).toEqual({ apiVersion: 'v1', kind: 'Secret' });
  });
});

describe('workloads', () => {
  const template = { metadata: { labels: { a: 'b' } }, spec: parse(APP) };
  const found = (value: unknown): string[] => {
    const names: string[] = [];
    withWorkloads(value, ({ name }) => {
      names.push(name);
      return undefined;
    });
    return names;
  };
  test.each([
    ['v1', 'Pod', { ...template }],
    ['v1', 'ReplicationController', { spec: { template } }],
    ['apps/v1', 'Deployment', { spec: { template } }],
    ['apps/v1', 'DaemonSet', { spec: { template } }],
    ['apps/v1', 'ReplicaSet', { spec: { template } }],
  ])('%s %s has its template injected, and nothing else touched', (apiVersion, kind, body) => {
    const value = { apiVersion, kind, ...body, metadata: { name: 'x', ...('metadata' in body ? body.metadata : {}) } };
    const changed = withWorkloads(value, (each) => injectTemplate(each, OPTIONS).template);
    const back = withWorkloads(changed, (each) => uninjectTemplate(each).template);
    expect(JSON.stringify(changed)).toContain('shadow-sidecar');
    expect(back).toEqual(value);
  });
  test('Jobs are passed on, for the reason the webhook has', () => {
    const job = { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'j' }, spec: { template } };
    const cron = {
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: { name: 'c' },
      spec: { jobTemplate: { spec: { template } } },
    };
    const documents = [job, cron].map((value) => ({ text: '', value }));
    const { values, told } = rewrite(documents, (each) => injectTemplate(each, OPTIONS));
    expect(values).toEqual([job, cron]);
    expect(told).toEqual([
      'job.batch/j skipped: the pod cannot be injected: it belongs to a Job',
      'cronjob.batch/c skipped: the pod cannot be injected: it belongs to a Job',
    ]);
  });
  test('of other groups are none', () => {
    expect(found({ apiVersion: 'argoproj.io/v1', kind: 'Deployment', spec: { template } })).toEqual([]);
    expect(found('text')).toEqual([]);
    expect(found({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { generateName: 'd-' } })).toEqual([
      'deployment.apps/d-',
    ]);
  });
  test('without containers are refused by name', () => {
    const broken = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd' }, spec: {} };
    expect(() => withWorkloads(broken, (each) => injectTemplate(each, OPTIONS).template)).toThrow(
      expect.objectContaining({ code: 'SHADOW_E_INVALID', message: expect.stringContaining('deployment.apps/d') }),
    );
  });
  test("the manifest's namespace goes before the one given: it tells which names are one Service", () => {
    const env = [
      { name: 'AMQP_HOST', value: 'mq' },
      { name: 'AMQP_HOSTS', value: 'mq.shop' },
    ];
    const pod: V1Pod = { spec: { containers: [{ name: 'app', image: 'a', env }] } };
    const aliasesIn = (namespace: string): number =>
      injectTemplate({ ...workload(pod), namespace }, OPTIONS).template!.spec!.hostAliases!.length;
    expect([aliasesIn('shop'), aliasesIn('other')]).toEqual([1, 2]);
  });
});

describe('the commands', () => {
  const dir = mkdtempSync(join(tmpdir(), 'shadow-inject-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const flags = (...files: string[]): InjectFlags => ({
    ...{ files, output: 'yaml', image: 'i', namespace: 'shop', requestTimeout: '1s' },
  });
  const lonely = set('lonely').replace('AMQP_HOST', 'NOTHING');

  test('print the manifests on standard output, and what was done on standard error', async () => {
    const io = plainIo();
    await injectManifests(flags(file('a.yaml', set('a')), file('b.yaml', lonely)), io);
    expect(io.told).toEqual([
      'statefulset.apps/a injected',
      expect.stringMatching(/^statefulset.apps\/lonely skipped: no broker/),
    ]);
    expect(io.printed[0]).toContain('kind: StatefulSet');
    const back = plainIo();
    await uninjectManifests(flags(file('c.yaml', io.printed[0]!)), back);
    expect(back.told).toEqual(['statefulset.apps/a uninjected', 'statefulset.apps/lonely not injected']);
    expect(parseAllDocuments(back.printed[0]!).map((document) => document.toJS())).toEqual([
      parse(set('a')),
      parse(lonely),
    ]);
  });
  test('refuse, and print nothing, where nothing can be injected, or what asks for it cannot be', async () => {
    const asking = lonely.replace('labels: {', `labels: { ${INJECT}: "true",`);
    for (const text of [lonely, `${set('a')}---\n${asking}`]) {
      const io = plainIo();
      await expect(injectManifests(flags(file('d.yaml', text)), io)).rejects.toThrow(
        expect.objectContaining({
          code: 'SHADOW_E_NO_BROKER',
          message: expect.stringContaining('statefulset.apps/lonely'),
        }),
      );
      expect(io.printed).toEqual([]);
    }
  });
  test('pass over what is injected already without a word of failure', async () => {
    const first = plainIo();
    await injectManifests(flags(file('e.yaml', set('a'))), first);
    const again = plainIo();
    await injectManifests(flags(file('f.yaml', `${first.printed[0]}\n---\n${lonely}`)), again);
    expect(again.told[0]).toBe('statefulset.apps/a injected already');
  });
  test('take a directory, and no cluster where there is no workload', async () => {
    rmSync(join(dir, 'x'), { recursive: true, force: true });
    const io = plainIo();
    const { image: _, ...without } = flags(file('map.yaml', 'apiVersion: v1\nkind: ConfigMap\n'));
    await injectManifests({ ...without, requestTimeout: 'never' }, io);
    expect(io).toMatchObject({
      printed: ['apiVersion: v1\nkind: ConfigMap'],
      told: ['no workload was found; nothing was changed'],
    });
  });
  test.each([[[]], [['/nowhere.yaml']], [['-', '-']]])('%s is wrong usage', async (files) => {
    await expect(injectManifests(flags(...files), plainIo())).rejects.toThrow(
      expect.objectContaining({ code: 'SHADOW_E_USAGE' }),
    );
  });
});

describe("the cluster's own", () => {
  const hooks = { webhooks: [{ clientConfig: { service: { namespace: 'tools' } } }] };
  const webhook = (env: object[]) => ({
    metadata: { labels: { 'app.kubernetes.io/version': '1.2.3' } },
    spec: { template: { spec: { containers: [{ name: 'webhook', image: 'i:1', env }] } } },
  });
  test('image is what the webhook was told to inject; the family that of its Services', async () => {
    const api = (clusterIP: string) =>
      standInApi(({ kind, namespace }) => {
        if (kind === 'Service') return { spec: { clusterIP } };
        if (kind === 'MutatingWebhookConfiguration') return hooks;
        return namespace === 'tools' && webhook([{ name: 'SHADOW_IMAGE', value: 'i:2' }]);
      });
    const found = { image: 'i:2', home: 'tools', version: '1.2.3' };
    expect(await installedOptions(api('10.0.0.1'))).toEqual({ ...found, ipv6: false });
    expect(await installedOptions(api('fd00::1'))).toEqual({ ...found, ipv6: true });
    const blind = standInApi((call) => (call.kind === 'Deployment' ? webhook([]) : refusal(call, 403)));
    expect(await installedOptions(blind)).toEqual({
      image: 'i:1',
      home: 'shadow-system',
      version: '1.2.3',
      ipv6: false,
    });
    expect(await installedOptions(api('10.0.0.1'), 'tools')).toMatchObject({ home: 'tools' });
  });
  test.each([
    [404, 'SHADOW_E_NOT_INSTALLED'],
    [403, 'SHADOW_E_FORBIDDEN'],
    [0, 'SHADOW_E_API'],
  ])('status %d: %s, and how to do without', async (status, code) => {
    await expect(installedOptions(standInApi((call) => refusal(call, status)))).rejects.toThrow(
      expect.objectContaining({ code, hint: expect.stringContaining('--image') }),
    );
  });
});
