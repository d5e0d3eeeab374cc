/** The objects `install` applies: the kustomize base in manifests/, read without kustomize (a list of resources and labels). */
import { parse, parseAllDocuments } from 'yaml';
import * as z from 'zod';
import { ShadowError } from '../webhook/api/errors.ts';
import { NAMESPACE } from '../webhook/api/names.ts';
import { readAsset } from './assets.ts';
import { isKind, type Obj, rankOf } from './kinds.ts';

/** More than this the base may not use: whoever applies it with kustomize must get the very same objects (issue 6). */
const Kustomization = z.strictObject({
  apiVersion: z.string().optional(),
  kind: z.literal('Kustomization').optional(),
  resources: z.array(z.string().regex(/^[\w./-]+\.ya?ml$/)).min(1),
  /** Put on every object's metadata, and on its pods' with `includeTemplates`; selectors stay as they are. */
  labels: z
    .array(z.strictObject({ pairs: z.record(z.string(), z.string()), includeTemplates: z.boolean().default(false) }))
    .default([]),
});

interface Template {
  metadata: { labels?: Record<string, string> };
}

const broken = (detail: string): ShadowError => new ShadowError('SHADOW_E_INTERNAL', `manifests: ${detail}`);

const checked = (file: string, value: unknown): Obj => {
  const object = value as Obj;
  if (typeof object?.kind !== 'string' || typeof object.metadata?.name !== 'string') {
    throw broken(`${file} holds a document without kind or name`);
  }
  if (!isKind(object.kind)) throw broken(`${file}: kind ${object.kind} is not known to install`);
  return object;
};

/** In the order they are applied; equals keep the base's order. */
export const loadManifests = (): Obj[] => {
  const base = Kustomization.safeParse(parse(readAsset('manifests/kustomization.yaml')));
  if (!base.success) throw broken(`kustomization.yaml: ${z.prettifyError(base.error)}`);
  const objects = base.data.resources.flatMap((file) =>
    parseAllDocuments(readAsset(`manifests/${file}`))
      .filter((document) => document.contents !== null)
      .map((document) => {
        if (document.errors[0]) throw broken(`${file}: ${document.errors[0].message}`);
        return checked(file, document.toJS());
      }),
  );
  for (const { pairs, includeTemplates } of base.data.labels) {
    for (const { metadata, spec } of objects as (Obj & { spec?: { template?: Template } })[]) {
      metadata.labels = { ...metadata.labels, ...pairs };
      if (includeTemplates && spec?.template)
        spec.template.metadata.labels = { ...spec.template.metadata.labels, ...pairs };
    }
  }
  return objects.sort((a, b) => rankOf(a.kind) - rankOf(b.kind));
};

/** Every value that is `from`, wherever it stands; not those that only contain it. */
const replaced = (value: unknown, from: string, to: string): unknown => {
  if (value === from) return to;
  if (Array.isArray(value)) return value.map((item) => replaced(item, from, to));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, replaced(item, from, to)]));
};

/** The objects in another namespace than the base's: also where they name it, as in bindings and webhooks. Pure. */
export const withNamespace = (objects: readonly Obj[], namespace: string): Obj[] =>
  namespace === NAMESPACE ? [...objects] : objects.map((object) => replaced(object, NAMESPACE, namespace) as Obj);

/**
 * The objects with another image: everywhere the base names its one image, in containers and in environment variables alike
 * (the webhook is told by one which image to inject).
 */
export const withImage = (objects: readonly Obj[], image: string): Obj[] => {
  const images = new Set(
    objects.flatMap((object) => {
      const workload = object as { spec?: { template?: { spec?: { containers?: { image: string }[] } } } };
      return workload.spec?.template?.spec?.containers?.map((container) => container.image) ?? [];
    }),
  );
  const [from, ...others] = images;
  if (from === undefined || others.length > 0) throw broken(`one image is expected, found: ${[...images].join(', ')}`);
  return objects.map((object) => replaced(object, from, image) as Obj);
};
