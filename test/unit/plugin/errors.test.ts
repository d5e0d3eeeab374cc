import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ApiError, type Call } from '../../../plugin/api.ts';
import { ERROR_DOC, errorDoc } from '../../../plugin/errordoc.ts';
import { printed, problemOf } from '../../../plugin/problems.ts';
import { CATALOGUE, type ErrorCode, ShadowError } from '../../../webhook/api/errors.ts';

const create: Call = { verb: 'create', kind: 'StatefulMigration', namespace: 'shop' };
const getPod: Call = { verb: 'get', kind: 'Pod', namespace: 'shop', name: 'x' };

describe('an answer of the API server', () => {
  test.each([
    [
      'SHADOW_E_FORBIDDEN',
      new ApiError(create, 403, 'Forbidden', 'User "bob" cannot'),
      /cannot create statefulmigrations\.migration\.ms2m\.io in namespace shop.*bob/,
    ],
    ['SHADOW_E_FORBIDDEN', new ApiError(getPod, 401, 'Unauthorized', 'Unauthorized'), /credentials/],
    ['SHADOW_E_NOT_INSTALLED', new ApiError(create, 404, '', '404 page not found'), /not installed/],
    [
      'SHADOW_E_API',
      new ApiError(create, 404, 'NotFound', 'namespaces "shop" not found'),
      /namespaces "shop" not found/,
    ],
    ['SHADOW_E_API', new ApiError(getPod, 500, '', 'etcd'), /get pods: etcd/],
    [
      'SHADOW_E_API',
      new ApiError(getPod, 0, 'ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:1'),
      /127\.0\.0\.1:1.*is the cluster up/,
    ],
    [
      'SHADOW_E_BUSY',
      new ApiError(
        create,
        403,
        '',
        'admission webhook "create.x" denied the request: another migration of this pod or set is running: m1 [SHADOW_E_BUSY]',
      ),
      /^another migration of this pod or set is running: m1$/,
    ],
    [
      'SHADOW_E_INVALID',
      new ApiError(
        create,
        403,
        '',
        'admission webhook "create.x" denied the request: SHADOW_E_INVALID: the object is invalid: spec.sourcePod',
      ),
      /^the object is invalid: spec\.sourcePod$/,
    ],
    ['SHADOW_E_INTERNAL', new TypeError('x is not a function'), /x is not a function/],
  ])('%s', (code, error, message) => {
    const problem = problemOf(error);
    expect(problem.code).toBe(code);
    expect(problem.message).toMatch(message);
  });
});

describe('what is printed', () => {
  const error = new ShadowError('SHADOW_E_NOT_INJECTED', 'web-0', { cause: new Error('deep') });
  test('code, message and hint, no stack', () => {
    expect(printed(error, false)).toBe(
      `error: the pod has no shadow sidecar: web-0 [SHADOW_E_NOT_INJECTED]\nhint: ${CATALOGUE.SHADOW_E_NOT_INJECTED.hint}`,
    );
  });
  test('the stack for those who ask', () => expect(printed(error, true)).toMatch(/at [\s\S]*deep/));
});

test('docs/errors.md is what the catalogue says (node plugin/errordoc.ts writes it)', () => {
  expect(readFileSync(ERROR_DOC, 'utf8')).toBe(errorDoc());
});

describe('docs/errors.md has, in the file itself, for', () => {
  const sections = readFileSync(ERROR_DOC, 'utf8').split(/^## /m).slice(1);
  const sectionOf = (code: string): string => sections.find((section) => section.startsWith(`${code}\n`)) ?? '';
  test.each(Object.keys(CATALOGUE) as ErrorCode[])('%s: what happened, what was put back, what to do', (code) => {
    const parts = sectionOf(code).split(/^\*\*(What happened|What was put back|What to do)\*\*: /m);
    const [head, ...told] = parts;
    expect(head).toContain(CATALOGUE[code].message);
    expect(told.filter((_, at) => at % 2 === 0)).toEqual(['What happened', 'What was put back', 'What to do']);
    // A sentence each, and not the message once more.
    for (const text of told.filter((_, at) => at % 2 === 1)) expect(text.trim()).toMatch(/^\S.{10,}\.$/s);
    expect(told[1]).not.toContain(`${CATALOGUE[code].message}.`);
    expect(told[5]).toContain(CATALOGUE[code].hint);
  });
  test('no code that there is not', () => {
    expect(sections.map((section) => section.split('\n')[0])).toEqual(Object.keys(CATALOGUE));
  });
});
