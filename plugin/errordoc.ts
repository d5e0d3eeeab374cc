/** docs/errors.md from the catalogue: `node plugin/errordoc.ts` writes it; a test fails when it is stale. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CATALOGUE, type ErrorCode, reasonOf, ShadowError } from '../webhook/api/errors.ts';
import { PAGE } from './errorpage.ts';

const section = (code: ErrorCode): string => {
  const { happened, putBack, more } = PAGE[code];
  return [
    `## ${code}`,
    `${CATALOGUE[code].message}.`,
    `- Exit code: ${new ShadowError(code).exit}`,
    `- Condition reason: \`${reasonOf(code)}\``,
    '',
    `**What happened**: ${happened}`,
    '',
    `**What was put back**: ${putBack}`,
    '',
    `**What to do**: ${CATALOGUE[code].hint}.${more === undefined ? '' : ` ${more}`}`,
  ].join('\n');
};

export const errorDoc = (): string =>
  [
    '<!-- Written by plugin/errordoc.ts from webhook/api/errors.ts and plugin/errorpage.ts. Change those, then run: node plugin/errordoc.ts -->',
    '# Errors',
    'Each error has a code. It stands in brackets behind the message of `kubectl shadow`, and the condition and the event of a migration that failed by it have its reason.',
    '',
    ...(Object.keys(CATALOGUE) as ErrorCode[]).map((code) => `${section(code)}\n`),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');

export const ERROR_DOC = join(import.meta.dirname, '..', 'docs', 'errors.md');

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(ERROR_DOC, errorDoc());
