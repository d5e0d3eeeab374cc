/**
 * Manifests as they are read and written: a stream of YAML or JSON documents. A document that nothing changes is written as it
 * was read, comments too. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import { parseDocument, stringify, type Tags } from 'yaml';
import { ShadowError } from '../../webhook/api/errors.ts';

export interface Document {
  /** As it was read. */
  text: string;
  value: unknown;
}

/** Of YAML 1.1's types those that sigs.k8s.io/yaml knows, too. */
const KNOWN: readonly string[] = ['map', 'seq', 'str', 'null', 'bool', 'int', 'merge'].map(
  (name) => `tag:yaml.org,2002:${name}`,
);

/** The library's floats of 1.1 take `.` and `E1` for numbers, those of 1.2 do not; sexagesimal numbers are texts. */
const known = (tags: Tags): Tags => [
  ...tags.filter(
    (tag) => typeof tag !== 'string' && KNOWN.includes(tag.tag) && !('format' in tag && tag.format === 'TIME'),
  ),
  ...(['floatNaN', 'floatExp', 'float', 'intOct'] as const),
];

const invalid = (source: string, detail: string): ShadowError =>
  new ShadowError('SHADOW_E_INVALID', `${source}: ${detail.trim().split('\n')[0]}`);

/** YAML 1.1, as Kubernetes reads it: `on` is true, 0644 is octal. JSON is left to JSON's own parser, which takes tabs. */
const read = (source: string, text: string): unknown => {
  if (/^\s*[[{]/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // A flow mapping of YAML.
    }
  }
  const document = parseDocument(text, { version: '1.1', customTags: known, strict: true, uniqueKeys: true });
  const [error] = document.errors;
  if (error) throw invalid(source, error.message);
  try {
    return document.toJS();
  } catch (thrown) {
    throw invalid(source, (thrown as Error).message);
  }
};

/** Where kubectl begins a document. A line of a block scalar is indented, so it is none. */
const BEGINS = /^---(?=\s|$)/m;

/** Documents without content are left out. Throws SHADOW_E_INVALID, naming the source. */
export const parseStream = (source: string, text: string): Document[] =>
  text
    .replace(/^\ufeff/, '')
    .split(BEGINS)
    .map((part) => part.replace(/^[ \t]*\r?\n/, ''))
    .flatMap((part): Document[] => {
      const value = read(source, part);
      return value === null || value === undefined ? [] : [{ text: part.trimEnd(), value }];
    });

/** Quoted wherever YAML 1.1 or 1.2 would take a text for something else. */
const yamlOf = (value: unknown): string =>
  stringify(value, { version: '1.1', compat: 'core', lineWidth: 0, aliasDuplicateObjects: false }).trimEnd();

/** `values`: what each document is now, in their order. */
export const streamText = (
  documents: readonly Document[],
  values: readonly unknown[],
  output: 'yaml' | 'json',
): string => {
  if (output === 'json') {
    const [only, ...more] = values;
    const all = more.length === 0 && only !== undefined ? only : { apiVersion: 'v1', kind: 'List', items: values };
    return JSON.stringify(all, null, 2);
  }
  return documents
    .map(({ text, value }, at) => (isDeepStrictEqual(value, values[at]) ? text : yamlOf(values[at])))
    .join('\n---\n');
};
