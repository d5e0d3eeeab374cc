/** One migration by its manifest, as `kubectl apply` would make it, and what became of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubernetesObject } from '@kubernetes/client-node';
import { isErrorCode } from '../../webhook/api/errors.ts';
import {
  API_VERSION,
  GROUP,
  isEnded,
  KIND,
  type MigrationSpec,
  PLURAL,
  type StatefulMigration,
  VERSION,
} from '../../webhook/api/migration.ts';
import type { Kube } from '../demonstration/kube.ts';
import { NAMESPACE } from './workload-names.ts';

export const manifestOf = (name: string, spec: MigrationSpec): KubernetesObject & { spec: MigrationSpec } => ({
  apiVersion: API_VERSION,
  kind: KIND,
  metadata: { name, namespace: NAMESPACE },
  spec,
});

export interface Refusal {
  code: string;
  message: string;
}

/** This release can't do it, or not with such a pod; anything else that fails is a failure. */
const UNSUPPORTED: readonly string[] = ['SHADOW_E_UNSUPPORTED', 'SHADOW_E_NOT_INJECTED', 'SHADOW_E_INVALID'];

export type End = { kind: 'completed' } | ({ kind: 'failed' | 'unsupported' } & Refusal);

/** Of a migration that has ended. */
export const endOf = ({ status }: Pick<StatefulMigration, 'status'>): End => {
  if (status?.phase === 'Completed') return { kind: 'completed' };
  const { code, message } = status?.error ?? { code: 'SHADOW_E_INTERNAL', message: `phase ${status?.phase}` };
  const touched = (status?.handoffs?.length ?? 0) > 0;
  return { kind: !touched && UNSUPPORTED.includes(code) ? 'unsupported' : 'failed', code, message };
};

/** What the API server or the validating webhook said; undefined: it was something else that went wrong. */
export const refusalOf = (error: unknown): Refusal | undefined => {
  const status = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  if (typeof status !== 'number' || status < 400 || status >= 500) return undefined;
  const body = 'body' in (error as object) ? (error as { body: unknown }).body : '';
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const code = /SHADOW_E_[A-Z_]+/.exec(text)?.[0] ?? '';
  return { code: isErrorCode(code) ? code : 'SHADOW_E_API', message: text };
};

/** A schema or webhook that does not know a field has not touched anything. */
const refusedEnd = (refusal: Refusal): End => ({
  kind: [...UNSUPPORTED, 'SHADOW_E_API'].includes(refusal.code) ? 'unsupported' : 'failed',
  ...refusal,
});

export interface Migrated {
  end: End;
  /** performance.now() before it was made and when it was seen to have ended. */
  from: number;
  to: number;
  migration: StatefulMigration | undefined;
}

/** Each look is a TLS handshake on the cores of the cluster that is measured; the times are those of the record. */
const POLL_MS = 500;

/** Resolves when it has ended; after `timeoutMs` as failed. Rejects when `signal` is aborted. */
export const migrate = async (
  kube: Kube,
  name: string,
  spec: MigrationSpec,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Migrated> => {
  const where = { group: GROUP, version: VERSION, plural: PLURAL, namespace: NAMESPACE };
  const from = performance.now();
  try {
    await kube.custom.createNamespacedCustomObject({ ...where, body: manifestOf(name, spec) });
  } catch (error) {
    const refusal = refusalOf(error);
    if (!refusal) throw error;
    return { end: refusedEnd(refusal), from, to: performance.now(), migration: undefined };
  }
  for (;;) {
    const migration = (await kube.custom.getNamespacedCustomObject({ ...where, name })) as StatefulMigration;
    const to = performance.now();
    if (isEnded(migration)) return { end: endOf(migration), from, to, migration };
    if (to - from > timeoutMs) {
      const message = `not ended after ${timeoutMs / 1000} s, in phase ${migration.status?.phase}`;
      return { end: { kind: 'failed', code: 'SHADOW_E_TIMEOUT', message }, from, to, migration };
    }
    await sleep(POLL_MS, undefined, { signal });
  }
};
