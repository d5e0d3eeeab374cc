/** Results as text. Pure. */
import { isFailed, type Result } from './evaluate.ts';
import { OUTCOMES, type Outcome } from './facts.ts';
import { GROUPS } from './types.ts';

/** What a rehearsal has found, for programs: status.rehearsal, and what belongs to it. */
export interface Rehearsed {
  strategy?: string | undefined;
  strategyReason?: string | undefined;
  error?: { code: string; message: string } | undefined;
  [number: string]: unknown;
}

export const OUTPUTS = ['table', 'json', 'short'] as const;
export type Output = (typeof OUTPUTS)[number];

export interface Style {
  /** Standard output is a terminal that shows more than plain text. */
  symbols: boolean;
  color: boolean;
}

const SYMBOL: Record<Outcome, string> = { pass: '√', warn: '!', fail: '×', skipped: '-' };
const WORD: Record<Outcome, string> = { pass: 'pass', warn: 'warn', fail: 'fail', skipped: 'skip' };
/** SGR codes: green, yellow, red, grey. */
const COLOR: Record<Outcome, number> = { pass: 32, warn: 33, fail: 31, skipped: 90 };

const mark = (outcome: Outcome, { symbols, color }: Style): string => {
  const text = symbols ? SYMBOL[outcome] : WORD[outcome];
  return color ? `\x1b[${COLOR[outcome]}m${text}\x1b[0m` : text;
};

const lines = ({ id, outcome, message, hint, doc }: Result, width: number, style: Style): string[] => {
  const indent = ' '.repeat(style.symbols ? 4 : 8);
  return [
    `  ${mark(outcome, style)}${style.symbols ? ' ' : '  '}${id.padEnd(width)}  ${message}`,
    ...(outcome === 'pass' || hint === undefined ? [] : [`${indent}hint: ${hint}`]),
    ...(outcome === 'warn' || outcome === 'fail' ? [`${indent}see:  ${doc}`] : []),
  ];
};

const COUNTED: Record<Outcome, string> = { pass: 'passed', warn: 'warned', fail: 'failed', skipped: 'skipped' };

/** "21 checks: 19 passed, 1 warned, 1 failed". */
export const summary = (results: readonly Result[]): string => {
  const counts = OUTCOMES.map((outcome) => [outcome, results.filter((one) => one.outcome === outcome).length] as const);
  const told = counts.filter(([, count]) => count > 0).map(([outcome, count]) => `${count} ${COUNTED[outcome]}`);
  return `${results.length} checks: ${told.join(', ')}`;
};

/** Each on its line, indented, with what to do where it did not pass. `width`: of the ids. */
export const listed = (
  results: readonly Result[],
  style: Style,
  width = Math.max(0, ...results.map(({ id }) => id.length)),
): string[] => results.flatMap((result) => lines(result, width, style));

const table = (results: readonly Result[], style: Style): string => {
  const width = Math.max(0, ...results.map(({ id }) => id.length));
  const blocks = GROUPS.flatMap((group) => {
    const own = results.filter((result) => result.group === group);
    return own.length === 0 ? [] : [[group, ...listed(own, style, width)].join('\n')];
  });
  return blocks.join('\n\n');
};

/** `short`: what did not pass. `json`: all of it, for programs. */
export const printed = (
  results: readonly Result[],
  output: Output,
  style: Style,
  rehearsal?: Rehearsed | undefined,
): string => {
  if (output === 'json') return JSON.stringify({ ok: !isFailed(results), checks: results, rehearsal }, null, 2);
  const shown = output === 'short' ? results.filter(({ outcome }) => outcome !== 'pass') : results;
  return [...(shown.length > 0 ? [table(shown, style), ''] : []), summary(results)].join('\n');
};
