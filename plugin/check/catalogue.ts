/**
 * Every check, as data: what it looks for, what must pass before it says anything, what to do when it fails. docs/check.md is
 * written from here (doc.ts).
 */
import { CLUSTER_CHECKS } from './cluster-checks.ts';
import { DRY_RUN, OF_POD } from './pod-checks.ts';
import { OF_REHEARSAL } from './rehearsal-checks.ts';
import type { Check } from './types.ts';

export { CLUSTER_CHECKS };
/** What a dry run needs of the cluster. */
export const NEEDED_BY_POD: readonly Check[] = CLUSTER_CHECKS.filter(
  ({ id }) => id === 'api-reachable' || DRY_RUN.includes(id),
);
export const POD_CHECKS: readonly Check[] = [...NEEDED_BY_POD, ...OF_POD];
export const REHEARSAL_CHECKS: readonly Check[] = [...POD_CHECKS, ...OF_REHEARSAL];
export const ALL_CHECKS: readonly Check[] = [...CLUSTER_CHECKS, ...OF_POD, ...OF_REHEARSAL];
