/** The demonstration is a test, too: the example as a user sees it, proven by its own oracle. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { kubeFrom, reachable } from '../../scripts/demonstration/kube.ts';
import type { Proof } from '../../scripts/demonstration/report.ts';
import { ensureUp, kubeconfigPath } from '../../scripts/playground/lib.ts';

const DEMO = join(import.meta.dirname, '../../scripts/demo');

const demo = (...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> =>
  new Promise((resolve, reject) => {
    const child = spawn(DEMO, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 280_000 });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });

it('scripts/demo --json proves each strategy under load, and takes down only what it made', async () => {
  if (!(await reachable(kubeconfigPath()))) await ensureUp({ log: (line) => console.error(line) });
  const { code, stdout, stderr } = await demo('--json', '--migrations', '2', '--rate', '60', '--compare');
  const proof = JSON.parse(stdout) as Proof;
  expect(proof, stderr).toMatchObject({ ok: true });
  expect(proof.migrations.map(({ strategy }) => strategy)).toEqual([
    'ShadowPodSwap',
    'ShadowPodSwap',
    'StopAndCopy',
    'StopAndCopy',
  ]);
  const exact = { lost: 0, duplicated: 0, reordered: 0, outputsLost: 0, outputsDuplicated: 0 };
  for (const migration of proof.migrations) {
    expect(migration).toMatchObject({ ...exact, stateMatches: true, reconnects: 0 });
    expect(Object.keys(migration.phaseSeconds)).not.toEqual([]);
  }
  const [there, back] = proof.migrations;
  expect(back).toMatchObject({ from: there?.to, to: there?.from });
  expect(code).toBe(0);
  expect(await reachable(kubeconfigPath())).toBe(true);
  const namespaces = await kubeFrom(kubeconfigPath()).core.listNamespace();
  expect(namespaces.items.map(({ metadata }) => metadata?.name)).not.toContain('shadow-demo');
});
