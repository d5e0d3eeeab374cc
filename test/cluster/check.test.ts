/** Defects on purpose, one after the other on the real cluster: `check` names the right cause of each, and all is put back. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { V1StatefulSet } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Result } from '../../plugin/check/evaluate.ts';
import { apply, getPod, listMigrations, otherNode, waitReady } from '../../scripts/demonstration/kube.ts';
import { PLUGIN, runPlugin } from '../../scripts/demonstration/migrate.ts';
import { until } from '../../scripts/demonstration/until.ts';
import { issue, newCA } from '../../webhook/admission/ca/authority.ts';
import { API_VERSION, GROUP, KIND, PLURAL, VERSION } from '../../webhook/api/migration.ts';
import { AGENT, CONTROLLER, LABEL, NAMESPACE, NODE_DIR, TLS_SECRET, WEBHOOK } from '../../webhook/api/names.ts';
import { accountIn } from './support/account.ts';
import { appSet } from './support/apps.ts';
import { type Bed, closeBed, deployApp, nodeOf, openBed, openLoad, plugin, type Spec } from './support/bed.ts';
import { hideFile, pidsOf, signal } from './support/faults.ts';
import { declareTopic } from './support/load.ts';
import { startPostgres } from './support/postgres.ts';

const FIT: Spec = { topic: 'fit', mode: 'sequential' };
const POD = 'fit-0';
const DAY_MS = 86_400_000;
let bed: Bed;
let scratch: string;

interface Checked {
  exit: number;
  ok: boolean;
  checks: Result[];
}
const check = async (...args: string[]): Promise<Checked> => {
  const { exit, stdout, stderr } = await plugin(bed, 'check', '-o', 'json', ...args);
  expect(stdout, stderr).not.toBe('');
  return { exit, ...JSON.parse(stdout) };
};
const failed = ({ checks }: Checked): string[] =>
  checks.filter(({ outcome }) => outcome === 'fail').map(({ id }) => id);
const told = ({ checks }: Checked, id: string): Result => checks.find((one) => one.id === id)!;

/** What an agent sees shows in the controller's next report, half a minute later. */
const failing = (ids: readonly string[]): Promise<Checked> =>
  until(`check to fail by ${ids}`, 120_000, async () => {
    const checked = await check();
    return JSON.stringify(failed(checked)) === JSON.stringify(ids) ? checked : undefined;
  });

/** All is as it was: by --wait, as a user would. */
const wellAgain = async (): Promise<void> => {
  const { exit, stdout, stderr } = await plugin(bed, 'check', '--wait', '--timeout', '3m', '-o', 'short');
  expect({ exit, stderr }, stdout).toMatchObject({ exit: 0 });
};

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'shadow-check-'));
  bed = await openBed('shadow-test-check');
  await deployApp(bed, FIT);
});
afterAll(async () => {
  rmSync(scratch, { recursive: true, force: true });
  await closeBed(bed);
});

const scale = async (name: string, replicas: number): Promise<void> => {
  await bed.kube.apps.patchNamespacedDeploymentScale({
    namespace: NAMESPACE,
    name,
    body: [{ op: 'replace', path: '/spec/replicas', value: replicas }],
  });
  await until(`${replicas} of ${name}`, 120_000, async () => {
    const { status } = await bed.kube.apps.readNamespacedDeployment({ namespace: NAMESPACE, name });
    return (status?.availableReplicas ?? 0) === replicas && (status?.replicas ?? 0) === replicas;
  });
};

/** Dry runs that are still there. */
const dryRuns = async (): Promise<string[]> =>
  (await listMigrations(bed.kube, bed.namespace))
    .filter(({ spec }) => spec.dryRun)
    .map(({ metadata }) => metadata.name);

describe('a cluster', () => {
  it('that is fit passes; no check is skipped for its administrator', async () => {
    await wellAgain();
    const checked = await check();
    expect(checked.checks.filter(({ outcome }) => outcome === 'fail' || outcome === 'skipped')).toEqual([]);
    expect(checked).toMatchObject({ exit: 0, ok: true });
    expect(told(checked, 'api-version').message).toContain('v1.34');
    expect(told(checked, 'criu').message).toContain('4.2');
    expect(told(checked, 'checkpoint-api')).toMatchObject({ outcome: 'pass' });
    const { stdout } = await plugin(bed, 'check');
    expect(stdout).not.toContain('\x1b');
    expect(stdout).toMatch(/^api\n {2}pass {2}api-reachable/);
  });

  it('whose webhook is down, with a certificate that has expired meanwhile', async () => {
    const old = Date.now() - 200 * DAY_MS;
    const { cert } = issue(newCA(old), 'webhook', old);
    await scale(WEBHOOK, 0);
    try {
      const checked = await check();
      expect(failed(checked)).toEqual(['webhook-runs']);
      expect(told(checked, 'webhook-runs').message).toContain('scaled to 0');
      expect(told(checked, 'webhook-answers')).toMatchObject({ outcome: 'skipped', message: 'webhook-runs failed' });
      expect(checked.exit).toBe(1);
      // Nobody is there to renew it; whoever comes back makes a new one.
      await bed.kube.core.patchNamespacedSecret({
        namespace: NAMESPACE,
        name: TLS_SECRET.webhook,
        body: [{ op: 'replace', path: '/data/tls.crt', value: Buffer.from(cert).toString('base64') }],
      });
      const expired = await check();
      expect(failed(expired)).toEqual(['webhook-runs', 'serving-certificates']);
      expect(told(expired, 'serving-certificates').message).toContain(`${TLS_SECRET.webhook} has expired on`);
    } finally {
      await scale(WEBHOOK, 2);
    }
    await wellAgain();
  });

  it('where one node has no CRIU, and the other not the handler', async () => {
    const undo = [
      hideFile('node-1', join(NODE_DIR.bin, 'criu')),
      hideFile('node-2', join(NODE_DIR.bin, 'shadow-runc')),
    ];
    try {
      const checked = await failing(['runtime-handler', 'criu']);
      // The machine's own, an older one, may be seen then.
      expect(told(checked, 'criu').message).toMatch(
        /^node-1: (criu is not there, or does not start|CRIU 3\S* is older)/,
      );
      expect(told(checked, 'runtime-handler').message).toContain('node-2: /opt/shadow/bin/shadow-runc is not there');
    } finally {
      for (const back of undo) back();
    }
    await wellAgain();
  });

  it('where a node has no agent', async () => {
    const patch = (operation: object): Promise<unknown> =>
      bed.kube.apps.patchNamespacedDaemonSet({
        namespace: NAMESPACE,
        name: AGENT,
        body: [{ path: '/spec/template/spec/affinity', ...operation }],
      });
    const matchExpressions = [{ key: 'kubernetes.io/hostname', operator: 'NotIn', values: ['node-2'] }];
    const terms = { nodeSelectorTerms: [{ matchExpressions }] };
    const value = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } };
    await patch({ op: 'add', value });
    try {
      // The other node's is rolled out anew, by the same patch.
      const checked = await until('the agent of node-1 to be back', 60_000, async () => {
        const now = await failing(['agents']);
        return told(now, 'agents').message.includes('node-1') ? undefined : now;
      });
      expect(told(checked, 'agents').message).toBe('node-2: no agent runs there');
      expect(told(checked, 'node-reports')).toMatchObject({ outcome: 'skipped', message: 'agents failed' });
    } finally {
      await patch({ op: 'remove' });
    }
    await wellAgain();
  });
});

describe('a caller', () => {
  it('without rights is told which are missing, and what cannot be seen is skipped', async () => {
    const kubeconfig = await accountIn(bed, 'nobody', scratch);
    const { exit, stdout } = await runPlugin(['check', '-o', 'json', '-n', bed.namespace], { kubeconfig });
    const checked: Checked = { exit, ...JSON.parse(stdout) };
    expect(failed(checked)).toEqual(['access-migrate']);
    expect(told(checked, 'access-migrate').message).toMatch(
      /create.* statefulmigrations\.migration\.ms2m\.io; nor get pods/,
    );
    expect(checked.exit).toBe(1);
  });

  it('who may edit the namespace can have its pods looked at', async () => {
    const kubeconfig = await accountIn(bed, 'editor', scratch);
    const { namespace } = bed;
    const subjects = [{ kind: 'ServiceAccount', name: 'editor', namespace }];
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'edit' };
    const metadata = { name: 'editor', namespace };
    await apply(bed.kube, [
      { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata, roleRef, subjects } as object,
    ]);
    const { exit, stdout, stderr } = await runPlugin(['check', `pod/${POD}`, '-o', 'json', '-n', namespace], {
      kubeconfig,
    });
    expect({ exit, stderr }, stdout).toMatchObject({ exit: 0 });
    expect(told({ exit, ...JSON.parse(stdout) }, 'pod-strategy').outcome).toBe('pass');
    expect(await dryRuns()).toEqual([]);
  });
});

describe('a pod', () => {
  const untouched = async (pod: string, act: () => Promise<Checked>): Promise<Checked> => {
    const before = (await getPod(bed.kube, bed.namespace, pod))?.metadata;
    const checked = await act();
    expect((await getPod(bed.kube, bed.namespace, pod))?.metadata?.uid).toBe(before?.uid);
    expect(await dryRuns()).toEqual([]);
    return checked;
  };
  const looked = (pod: string, ...args: string[]): Promise<Checked> =>
    untouched(pod, () => check(`pod/${pod}`, ...args));

  it('that is fit: where to, and how', async () => {
    const checked = await looked(POD);
    expect(checked).toMatchObject({ exit: 0, ok: true });
    expect(told(checked, 'pod-strategy').message).toMatch(/^ShadowPodSwap: /);
    expect(told(checked, 'pod-nodes').message).toContain(await otherNode(bed.kube, await nodeOf(bed, POD)));
    const home = await nodeOf(bed, POD);
    expect(failed(await looked(POD, '--to', home))).toEqual(['pod-nodes']);
    expect(failed(await looked('nobody-0'))).toEqual(['pod-state']);
  });

  it('with an exclusive queue', async () => {
    await deployApp(bed, { topic: 'own', mode: 'exclusive' });
    const checked = await looked('own-0');
    expect(failed(checked)).toEqual(['pod-session']);
    expect(told(checked, 'pod-session')).toMatchObject({
      message: expect.stringContaining('own.own, which is exclusive'),
      doc: 'docs/errors.md#shadow_e_session',
    });
  });

  it('with hooks: postStart is refused, preStop told', async () => {
    const hooked: V1StatefulSet = appSet({ topic: 'hooked', mode: 'sequential', namespace: bed.namespace });
    const sleep = { sleep: { seconds: 1 } };
    hooked.spec!.template.spec!.containers[0]!.lifecycle = { postStart: sleep, preStop: sleep };
    await declareTopic(bed.channel, 'hooked');
    await apply(bed.kube, [hooked]);
    await waitReady(bed.kube, bed.namespace, 'hooked-0');
    const checked = await looked('hooked-0');
    expect(failed(checked)).toEqual(['pod-spec']);
    expect(told(checked, 'pod-spec').message).toMatch(/postStart hook.*preStop hook/);
  });

  it('that is not injected', async () => {
    await deployApp(bed, { topic: 'plain', mode: 'sequential', labels: { [LABEL.inject]: 'false' } });
    const checked = await looked('plain-0');
    expect(failed(checked)).toEqual(['pod-state']);
    expect(told(checked, 'pod-state').doc).toBe('docs/errors.md#shadow_e_not_injected');
    expect(told(checked, 'pod-session').outcome).toBe('skipped');
  });

  it('with a database: Auto stops it, and ShadowPodSwap asked for is doubted by the name of the peer', async () => {
    const database = await startPostgres();
    try {
      await database.query('create table applied (seq int, consumer text)');
      const spec: Spec = { topic: 'rows', mode: 'database', env: { DATABASE_URL: database.url } };
      await deployApp(bed, spec);
      const load = await openLoad(bed, spec, { rate: 20 });
      load.start();
      await load.flowing();
      const auto = await looked('rows-0');
      expect(auto).toMatchObject({ exit: 0, ok: true });
      expect(told(auto, 'pod-strategy').message).toMatch(/^StopAndCopy: /);
      expect(told(auto, 'pod-processes')).toMatchObject({
        outcome: 'warn',
        message: expect.stringContaining(new URL(database.url).host),
      });
      const asked = await looked('rows-0', '--strategy', 'ShadowPodSwap');
      expect(failed(asked)).toEqual(['pod-strategy']);
      expect(told(asked, 'pod-strategy').message).toContain(new URL(database.url).host);
      await load.stop();
    } finally {
      await database.stop();
    }
  });
});

describe('a dry run', () => {
  it('is told by its phase and its conditions, and has nothing that would keep it', async () => {
    const where = { group: GROUP, version: VERSION, namespace: bed.namespace, plural: PLURAL };
    const name = 'by-hand';
    await bed.kube.custom.createNamespacedCustomObject({
      ...where,
      body: { apiVersion: API_VERSION, kind: KIND, metadata: { name }, spec: { sourcePod: POD, dryRun: true } },
    });
    const ended = await until('the controller to look', 30_000, async () =>
      (await listMigrations(bed.kube, bed.namespace)).find(
        ({ metadata, status }) => metadata.name === name && status?.completionTime !== undefined,
      ),
    );
    expect(ended.status).toMatchObject({ phase: 'Checked', strategy: 'ShadowPodSwap' });
    expect(ended.status?.conditions?.find(({ type }) => type === 'Preflight')?.status).toBe('True');
    expect(ended.metadata.finalizers ?? []).toEqual([]);
    const listed = await plugin(bed, 'list');
    expect(listed.stdout).toMatch(new RegExp(`${name}.*Checked`));
    const told = await plugin(bed, 'status', name);
    expect(told.stdout).toMatch(
      /Verdict: +fit to go to node-\d\n[\s\S]*Assessment:\n {2}pass {2}pod-state +fit-0 is ready/,
    );
    await bed.kube.custom.deleteNamespacedCustomObject({ ...where, name });
    expect(await dryRuns()).toEqual([]);
  });

  it('broken off by Ctrl-C is gone, also when no controller is there to let it go', async () => {
    const { items } = await bed.kube.core.listNamespacedPod({
      namespace: NAMESPACE,
      labelSelector: 'app.kubernetes.io/component=controller',
    });
    const controllers = items.flatMap(({ metadata }) => pidsOf(metadata?.uid ?? '', 'controller.cjs'));
    expect(signal(controllers, 'SIGSTOP')).toBeGreaterThan(0);
    try {
      const child = spawn(PLUGIN, ['check', `pod/${POD}`, '-n', bed.namespace], {
        stdio: 'ignore',
        env: { ...process.env, KUBECONFIG: bed.kubeconfig },
      });
      const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
      await until('the dry run to be made', 20_000, async () => (await dryRuns()).length > 0, 50);
      child.kill('SIGINT');
      expect(await ended).toBe(130);
      expect(await dryRuns()).toEqual([]);
    } finally {
      signal(controllers, 'SIGCONT');
    }
    await wellAgain();
  });

  it('is not made where no controller would look', async () => {
    await scale(CONTROLLER, 0);
    try {
      const checked = await check(`pod/${POD}`);
      expect(failed(checked)).toEqual(['controller-runs']);
      expect(told(checked, 'pod-state')).toMatchObject({ outcome: 'skipped', message: 'controller-runs failed' });
      expect(await dryRuns()).toEqual([]);
    } finally {
      await scale(CONTROLLER, 2);
    }
    await wellAgain();
  });
});

it('wrong usage, and a time that is over, have exit codes of their own', async () => {
  expect(await plugin(bed, 'check', '--to', 'node-2')).toMatchObject({ exit: 2 });
  const late = await plugin(bed, 'check', 'pod/nobody-0', '--wait', '--timeout', '1s');
  expect(late.stderr).toContain('SHADOW_E_TIMEOUT');
  expect(late.exit).toBe(124);
});
