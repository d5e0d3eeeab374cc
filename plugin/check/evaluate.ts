/** From facts to results. Pure. */
import { NAMESPACE } from '../../webhook/api/names.ts';
import type { Finding, Outcome } from './facts.ts';
import { type Check, GROUPS, type Group } from './types.ts';

export interface Result {
  id: string;
  group: Group;
  outcome: Outcome;
  message: string;
  /** Not of what passed, nor of what is skipped for another that failed. */
  hint?: string;
  /** Path below the repository's root, with an anchor. */
  doc: string;
}

const CHECK_DOC = 'docs/check.md';

interface Judged {
  result: Result;
  /** It failed, or was skipped for one that did. */
  blocks: boolean;
}

const judge = <F extends object>(check: Check<F>, facts: F, blocking: string | undefined): Finding => {
  if (blocking !== undefined) return { outcome: 'skipped', message: `${blocking} failed` };
  const finding = check.judge(facts);
  if (finding.outcome === 'pass') return finding;
  const { hint } = { hint: check.hint, ...finding };
  const { home = NAMESPACE } = facts as { home?: string };
  return { ...finding, hint: hint.replaceAll(NAMESPACE, home) };
};

/**
 * One result a check, group by group. A check of which a prerequisite failed is skipped and names the first cause; one whose
 * prerequisite could not be looked at is judged all the same.
 */
export const evaluate = <F extends object>(checks: readonly Check<F>[], facts: F): Result[] => {
  const known = new Map<string, Judged & { cause: string }>();
  const open = [...checks];
  // In the order of need: a prerequisite may stand in a later group.
  while (open.length > 0) {
    const at = open.findIndex(({ needs }) => needs.every((id) => !open.some((other) => other.id === id)));
    const [check] = open.splice(Math.max(at, 0), 1);
    if (check === undefined) break;
    const { id, group, needs } = check;
    const cause = needs.map((need) => known.get(need)).find((one) => one?.blocks)?.cause;
    const { outcome, message, hint, doc } = judge(check, facts, cause);
    const told = hint === undefined ? {} : { hint };
    known.set(id, {
      result: { id, group, outcome, message, ...told, doc: doc ?? `${CHECK_DOC}#${id}` },
      blocks: cause !== undefined || outcome === 'fail',
      cause: cause ?? id,
    });
  }
  const results = checks.flatMap(({ id }) => known.get(id)?.result ?? []);
  return results.sort((a, b) => GROUPS.indexOf(a.group) - GROUPS.indexOf(b.group));
};

export const isFailed = (results: readonly Result[]): boolean => results.some(({ outcome }) => outcome === 'fail');
