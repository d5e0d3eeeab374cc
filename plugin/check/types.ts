/** What a check is. */
import type { Facts, Finding } from './facts.ts';

export const GROUPS = ['api', 'access', 'installation', 'certificates', 'nodes', 'pod', 'rehearsal'] as const;
export type Group = (typeof GROUPS)[number];

export interface Check<F = Facts> {
  /** Also its heading in docs/check.md. */
  id: string;
  group: Group;
  /** What is so when it passes. */
  title: string;
  /** Checks of whose failure this one would only tell again: it is skipped then. */
  needs: readonly string[];
  /** What to do when it does not pass. */
  hint: string;
  /** For docs/check.md: what else there is to know. */
  more: string;
  judge(facts: F): Finding;
}
