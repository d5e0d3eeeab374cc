import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { V1Deployment, V1Service, V1StatefulSet } from '@kubernetes/client-node';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { CONFIGURATIONS, isInjected, PAPERS, specOf } from '../../../scripts/eval/configurations.ts';
import { endOf, manifestOf, refusalOf } from '../../../scripts/eval/migration.ts';
import { workload } from '../../../scripts/eval/workload.ts';
import { ShadowError } from '../../../webhook/api/errors.ts';
import type { Handoff, StatefulMigration } from '../../../webhook/api/migration.ts';

const status = (code: string, message = 'why', handoffs: Partial<Handoff>[] = []) =>
  ({ status: { phase: 'Failed', error: { code, message }, handoffs } }) as Pick<StatefulMigration, 'status'>;

describe('what became of a migration', () => {
  test('refused before anything was touched, as this release does it: unsupported', () => {
    for (const code of ['SHADOW_E_NOT_INJECTED', 'SHADOW_E_UNSUPPORTED'])
      expect(endOf(status(code))).toEqual({ kind: 'unsupported', code, message: 'why' });
  });

  test('anything else that did not complete has failed', () => {
    for (const code of ['SHADOW_E_BUSY', 'SHADOW_E_NODE_UNFIT', 'SHADOW_E_RESTORE', 'SHADOW_E_ABORTED'])
      expect(endOf(status(code)).kind).toBe('failed');
    expect(endOf(status('SHADOW_E_UNSUPPORTED', 'why', [{ index: 0 }])).kind).toBe('failed');
    expect(endOf({ status: { phase: 'Failed' } })).toMatchObject({ kind: 'failed', code: 'SHADOW_E_INTERNAL' });
    expect(endOf({ status: { phase: 'Completed' } })).toEqual({ kind: 'completed' });
  });

  test('a refusal of the API server is told by the code in it, a lost connection is none', () => {
    const refused = Object.assign(new Error('HTTP-Code: 400'), {
      code: 400,
      body: JSON.stringify({
        message: `admission webhook denied: ${new ShadowError('SHADOW_E_INVALID').message}: SHADOW_E_INVALID`,
      }),
    });
    expect(refusalOf(refused)).toMatchObject({ code: 'SHADOW_E_INVALID' });
    expect(refusalOf(Object.assign(new Error(), { code: 422, body: { message: 'Unsupported value' } }))).toEqual({
      code: 'SHADOW_E_API',
      message: '{"message":"Unsupported value"}',
    });
    expect(refusalOf(Object.assign(new Error(), { code: 500, body: '' }))).toBeUndefined();
    expect(refusalOf(new Error('socket hang up'))).toBeUndefined();
    expect(refusalOf(Object.assign(new Error(), { code: 'ECONNREFUSED' }))).toBeUndefined();
  });
});

type Schema = { properties?: Record<string, Schema>; enum?: string[] };
const crd = parse(readFileSync(join(import.meta.dirname, '../../../manifests/crd.yaml'), 'utf8'));
const spec: Schema = crd.spec.versions[0].schema.openAPIV3Schema.properties.spec;

const REFERENCE = [
  'sourcePod',
  'containerName',
  'targetNode',
  'checkpointImageRepository',
  'replayCutoffSeconds',
  'replayMode',
  'transferMode',
  'identitySwapMode',
  'migrationStrategy',
  'messageQueueConfig',
];

describe.each(CONFIGURATIONS)('the manifest of %s', (config) => {
  const manifest = manifestOf('eval', specOf(config, 'consumer-0', 'node-2'));

  test('says nothing the schema does not know', () => {
    for (const [field, value] of Object.entries(manifest.spec)) {
      const schema = spec.properties?.[field];
      expect(schema, field).toBeDefined();
      if (schema?.enum) expect(schema.enum).toContain(value);
      if (schema?.properties) for (const part of Object.keys(value)) expect(schema.properties).toHaveProperty(part);
    }
  });

  test('is in the shape of the reference where it is the paper', () => {
    const fields = Object.keys(manifest.spec);
    expect(fields.filter((field) => !REFERENCE.includes(field))).toEqual([]);
    expect(fields.includes('messageQueueConfig')).toBe((PAPERS as readonly string[]).includes(config));
    expect(manifest).toMatchObject({ apiVersion: 'migration.ms2m.io/v1alpha1', kind: 'StatefulMigration' });
  });

  test('is for one pod that has the sidecar, or none, and whose Service finds it under any name', () => {
    const objects = workload({ app: 'node', workMs: 16, config });
    const owner = objects.at(-1) as V1StatefulSet | V1Deployment;
    const service = objects.find(({ kind }) => kind === 'Service') as V1Service;
    expect(owner.kind).toBe(config === 'Deployment' ? 'Deployment' : 'StatefulSet');
    expect(owner.spec?.replicas).toBe(1);
    expect(owner.spec?.template.metadata?.labels).toMatchObject({
      ...service.spec?.selector,
      'shadow.ms2m.io/inject': String(isInjected(config)),
    });
    expect(Object.keys(service.spec?.selector ?? {})).toEqual(['app']);
    const env = owner.spec?.template.spec?.containers[0]?.env;
    expect(env).toContainEqual({ name: 'PROCESSING_DELAY_MS', value: '16' });
  });
});
