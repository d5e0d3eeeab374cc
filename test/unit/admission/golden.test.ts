/** golden/<case>/input.yaml → expected.yaml. GOLDEN=update writes what is expected; then read the diff. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { V1Pod } from '@kubernetes/client-node';
import { expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { sidecarOf } from '../../../webhook/admission/pods.ts';
import { type RestoreTarget, shadowPod } from '../../../webhook/admission/restore.ts';
import type { Question, Verdict } from '../../../webhook/admission/review.ts';
import { injectVerdict, restoreVerdict, type Surroundings } from '../../../webhook/admission/verdicts.ts';
import { asShadowError } from '../../../webhook/api/errors.ts';
import type { StatefulMigration } from '../../../webhook/api/migration.ts';
import { doorsOf } from '../../../webhook/sidecar/doors.ts';
import { settingsOf } from '../../../webhook/sidecar/sidecar.ts';
import { applyPatch } from './apply-patch.ts';

type Input =
  | { question: 'inject'; pod: V1Pod }
  | { question: 'restore'; pod: V1Pod; migrations: StatefulMigration[] }
  | { question: 'shadow'; pod: V1Pod; target: RestoreTarget & { migrationUid: string } };

const GOLDEN = join(import.meta.dirname, 'golden');
const around = (migrations: StatefulMigration[] = []): Surroundings => ({
  image: 'localhost/kubectl-shadow:dev',
  namespace: 'shadow-system',
  migrations: async () => migrations,
  onInjected: async () => undefined,
  onSkipped: () => undefined,
});
const asked = (pod: V1Pod): Question => ({
  uid: 'u',
  kind: { group: '', kind: 'Pod' },
  operation: 'CREATE',
  namespace: 'shop',
  dryRun: false,
  userInfo: { username: 'system:serviceaccount:kube-system:statefulset-controller' },
  object: pod as Record<string, unknown>,
  oldObject: undefined,
});

const verdictOn = async (input: Input, pod: V1Pod): Promise<Verdict> => {
  try {
    if (input.question === 'restore') return await restoreVerdict(asked(pod), around(input.migrations));
    return await injectVerdict(asked(pod), around());
  } catch (error) {
    return { allowed: false, error: asShadowError(error) };
  }
};

const answerTo = async (input: Input): Promise<unknown> => {
  if (input.question === 'shadow') return { pod: shadowPod(input.pod, input.target) };
  const { error, ...verdict } = await verdictOn(input, input.pod);
  return error ? { denied: `${error.code}: ${error.message}` } : verdict;
};

for (const name of readdirSync(GOLDEN)) {
  const dir = join(GOLDEN, name);
  const read = (): Input => parse(readFileSync(join(dir, 'input.yaml'), 'utf8'));

  test(`${name}: as expected`, async () => {
    const answer = JSON.parse(JSON.stringify(await answerTo(read())));
    const file = join(dir, 'expected.yaml');
    if (process.env.GOLDEN === 'update')
      writeFileSync(file, stringify(answer, { lineWidth: 120, aliasDuplicateObjects: false }));
    expect(answer).toEqual(parse(readFileSync(file, 'utf8')));
  });

  test(`${name}: the sidecar understands what it is told`, async () => {
    const { question, pod } = read();
    if (question !== 'inject') return;
    const { patch } = await verdictOn({ question, pod }, pod);
    const sidecar = sidecarOf(applyPatch(pod, patch ?? []) as V1Pod);
    if (!sidecar) return;
    const { brokers, blindPorts } = settingsOf(
      Object.fromEntries((sidecar.env ?? []).map((entry) => [entry.name, entry.value])),
    );
    // One broker each: what the app says must never reach another.
    expect(doorsOf(brokers, blindPorts).filter(({ blind }) => !blind)).toHaveLength(
      brokers.length + brokers.filter(({ listenToo }) => listenToo !== undefined).length,
    );
  });

  test(`${name}: the patch, applied, is a pod that neither webhook changes again, in either order`, async () => {
    const input = read();
    if (input.question === 'shadow') {
      const shadow = shadowPod(input.pod, input.target);
      expect((await verdictOn({ question: 'inject', pod: shadow }, shadow)).patch).toEqual([]);
      return;
    }
    const { allowed, patch } = await verdictOn(input, input.pod);
    if (!allowed) return;
    const after = applyPatch(input.pod, patch ?? []) as V1Pod;
    expect((await verdictOn(input, after)).patch).toEqual([]);
    if (input.question !== 'restore') return;
    expect((await verdictOn({ question: 'inject', pod: after }, after)).patch).toEqual([]);
    const { patch: first } = await verdictOn({ question: 'inject', pod: input.pod }, input.pod);
    const injected = applyPatch(input.pod, first ?? []) as V1Pod;
    const { patch: second } = await verdictOn(input, injected);
    expect(applyPatch(injected, second ?? [])).toEqual(after);
  });
}
