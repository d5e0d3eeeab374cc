/** JSON patch applied, as the API server does: the tests' own reading of RFC 6902, for add, remove and replace. */
import type { Operation } from '../../../webhook/admission/patch.ts';

// biome-ignore lint/suspicious/noExplicitAny: any JSON value
type Json = any;

export const applyPatch = (document: unknown, operations: readonly Operation[]): unknown => {
  const copy: Json = JSON.parse(JSON.stringify(document));
  for (const { op, path, value } of operations) {
    const keys = path
      .slice(1)
      .split('/')
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop()!;
    const parent: Json = keys.reduce((at: Json, key) => {
      if (at?.[key] === undefined) throw new Error(`${path}: no ${key}`);
      return at[key];
    }, copy);
    if (op !== 'add' && parent[last] === undefined) throw new Error(`${path}: nothing to ${op}`);
    if (!Array.isArray(parent)) {
      if (op === 'remove') delete parent[last];
      else parent[last] = structuredClone(value);
      continue;
    }
    if (op === 'add' && Number(last) > parent.length) throw new Error(`${path}: beyond the end`);
    parent.splice(Number(last), op === 'add' ? 0 : 1, ...(op === 'remove' ? [] : [structuredClone(value)]));
  }
  return copy;
};
