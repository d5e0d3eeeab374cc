/** AdmissionReview, admission.k8s.io/v1: the API server's question and our answer. Pure. */
import type { V1Pod } from '@kubernetes/client-node';
import * as z from 'zod';
import type { ShadowError } from '../api/errors.ts';
import { jsonPatch } from './patch.ts';

const AnyObject = z.looseObject({}).nullish();

export const Review = z.object({
  apiVersion: z.literal('admission.k8s.io/v1'),
  kind: z.literal('AdmissionReview'),
  request: z.object({
    uid: z.string().min(1),
    kind: z.object({ group: z.string().default(''), kind: z.string() }),
    operation: z.enum(['CREATE', 'UPDATE', 'DELETE', 'CONNECT']),
    namespace: z.string().default(''),
    dryRun: z.boolean().default(false),
    userInfo: z.object({ username: z.string().default('') }).default({ username: '' }),
    object: AnyObject,
    oldObject: AnyObject,
  }),
});
export type Question = z.infer<typeof Review>['request'];

const PodShape = z.looseObject({
  metadata: z.looseObject({}),
  spec: z.looseObject({ containers: z.array(z.looseObject({ name: z.string() })).min(1) }),
});

/** The question is none we can answer: HTTP 400. */
export class Malformed extends Error {}

/** The pod of a question; the API server has checked the rest of it against its own schema. */
export const podOf = (object: unknown): V1Pod => {
  const parsed = PodShape.safeParse(object);
  if (!parsed.success) throw new Malformed(`no pod: ${z.prettifyError(parsed.error)}`);
  return object as V1Pod;
};

export interface Verdict {
  allowed: boolean;
  patch?: ReturnType<typeof jsonPatch>;
  warnings?: string[];
  /** Of a denial. */
  error?: ShadowError;
}

export const changed = (before: V1Pod, after: V1Pod, warnings: string[] = []): Verdict => ({
  allowed: true,
  patch: jsonPatch(before, after),
  warnings,
});

export const answerTo = (uid: string, { allowed, patch = [], warnings = [], error }: Verdict) => ({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  response: {
    uid,
    allowed,
    ...(patch.length > 0 && {
      patchType: 'JSONPatch',
      patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
    }),
    ...(warnings.length > 0 && { warnings }),
    ...(error && {
      status: { code: 403, reason: 'Forbidden', message: `${error.code}: ${error.message} (${error.hint})` },
    }),
  },
});
