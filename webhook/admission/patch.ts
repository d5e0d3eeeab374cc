/** JSON patch (RFC 6902) from one JSON value to another, as few and as readable operations as admission needs. Pure. */
import { isDeepStrictEqual } from 'node:util';

export interface Operation {
  op: 'add' | 'remove' | 'replace';
  path: string;
  value?: unknown;
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const escaped = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

const objects = (before: Json, after: Json, path: string): Operation[] => {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].flatMap((key): Operation[] => {
    const at = `${path}/${escaped(key)}`;
    const [old, now] = [before[key], after[key]];
    if (now === undefined) return old === undefined ? [] : [{ op: 'remove', path: at }];
    if (old === undefined) return [{ op: 'add', path: at, value: now }];
    return jsonPatch(old, now, at);
  });
};

/** Items are put in front or behind, or taken away, in one place; the rest of the list stays as it is. */
const arrays = (before: unknown[], after: unknown[], path: string): Operation[] => {
  if (before.length === after.length) return before.flatMap((item, i) => jsonPatch(item, after[i], `${path}/${i}`));
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && isDeepStrictEqual(before[head], after[head])) head += 1;
  let tail = 0;
  while (tail < shorter - head && isDeepStrictEqual(before.at(-1 - tail), after.at(-1 - tail))) tail += 1;
  if (head + tail < shorter) return [{ op: 'replace', path, value: after }];
  const indices = Array.from({ length: Math.abs(before.length - after.length) }, (_, i) => head + i);
  return after.length > before.length
    ? indices.map((i) => ({ op: 'add', path: `${path}/${i}`, value: after[i] }))
    : indices.map(() => ({ op: 'remove', path: `${path}/${head}` }));
};

/** Applied in order to `before`, the operations give `after`; equal values give none. undefined stands for "absent". */
export const jsonPatch = (before: unknown, after: unknown, path = ''): Operation[] => {
  if (isDeepStrictEqual(before, after)) return [];
  if (isObject(before) && isObject(after)) return objects(before, after, path);
  if (Array.isArray(before) && Array.isArray(after)) return arrays(before, after, path);
  return [{ op: 'replace', path, value: after }];
};
