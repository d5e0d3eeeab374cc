/** A migration that is only looked at: made, waited for, deleted, however the waiting ends. The pod is not touched. */
import { ShadowError } from '../../webhook/api/errors.ts';
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import type { Api } from '../api.ts';
import { follow } from './follow.ts';
import { createPassing, drop, type Wanted } from './passing.ts';

const create = (api: Api, wanted: Wanted): Promise<StatefulMigration> =>
  // A controller of an earlier release knows no dry run: to it this one is aborted before it begins.
  createPassing(api, 'shadow-check-', { ...wanted, spec: { ...wanted.spec, dryRun: true, abort: true } }, 'dry runs');

/**
 * The ended dry run: status.assessment says what was found. Throws SHADOW_E_TIMEOUT when the controller has not looked in
 * `timeoutMs`, SHADOW_E_ABORTED when `signal` was aborted before; the object is deleted in any case.
 */
export const dryRun = async (
  api: Api,
  wanted: Wanted,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<StatefulMigration> => {
  const created = await create(api, wanted);
  const late = AbortSignal.timeout(timeoutMs);
  try {
    let last = created;
    for await (const state of follow(api, created.metadata, AbortSignal.any([signal, late]))) last = state;
    if (signal.aborted) throw new ShadowError('SHADOW_E_ABORTED', 'the dry run was broken off');
    if (late.aborted && last.status?.completionTime === undefined)
      throw new ShadowError('SHADOW_E_TIMEOUT', `the controller did not look at the pod in ${timeoutMs / 1000} s`, {
        hint: 'kubectl shadow check says what is wrong with the installation',
      });
    if (last.status?.phase === 'Aborted')
      throw new ShadowError('SHADOW_E_API', 'the controller knows no dry runs: it is older than the plugin', {
        hint: 'run kubectl shadow install',
      });
    return last;
  } finally {
    await drop(api, created.metadata);
  }
};
