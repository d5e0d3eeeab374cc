import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonPatch } from '../../../webhook/admission/patch.ts';
import { applyPatch } from './apply-patch.ts';

const key = fc.constantFrom('a', 'b', 'a/b', 'c~d', '~1');
const { json } = fc.letrec((tie) => ({
  json: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom<unknown>(0, 1, 'x', '', true, null),
    fc.array(tie('json'), { maxLength: 4 }),
    fc.dictionary(key, tie('json'), { maxKeys: 4 }),
  ),
}));

test('whatever the two objects: the patch, applied to the first, gives the second', () => {
  fc.assert(
    fc.property(fc.dictionary(key, json), fc.dictionary(key, json), (before, after) => {
      // Through JSON, as the API server sees them.
      const [from, to] = JSON.parse(JSON.stringify([before, after]));
      expect(applyPatch(from, jsonPatch(from, to))).toEqual(to);
      expect(jsonPatch(to, to)).toEqual([]);
    }),
    { numRuns: 500 },
  );
});

test('an item put in front of a list is one operation, not a new list', () => {
  const list = [{ name: 'a' }, { name: 'b' }];
  expect(jsonPatch({ list }, { list: [{ name: 'x' }, ...list] })).toEqual([
    { op: 'add', path: '/list/0', value: { name: 'x' } },
  ]);
});
