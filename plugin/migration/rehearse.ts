/** A rehearsal: made, followed, deleted however the waiting ends; and waited for until it is put back, which its finalizer tells. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ShadowError } from '../../webhook/api/errors.ts';
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { type Api, getOrNone } from '../api.ts';
import { follow } from './follow.ts';
import { createPassing, drop, type Wanted } from './passing.ts';

export interface Rehearsing extends Wanted {
  /** Longest time the copy plays. */
  seconds: number;
  /** Longest wait for the end, milliseconds. */
  timeoutMs: number;
  /** Breaks it off. */
  signal: AbortSignal;
  show(state: StatefulMigration): void;
}

const POLL_MS = 250;
/** An abort takes a second or two; with an agent or a node gone, its grace of 20 s on top. */
const PUT_BACK_MS = 60_000;

/** Throws SHADOW_E_TIMEOUT. */
const putBack = async (api: Api, { namespace, name, uid }: StatefulMigration['metadata']): Promise<void> => {
  await drop(api, { namespace, name, uid, resourceVersion: '' });
  for (const until = performance.now() + PUT_BACK_MS; performance.now() < until; await sleep(POLL_MS)) {
    const left = await getOrNone<StatefulMigration>(api, 'StatefulMigration', name, namespace);
    if (left?.metadata.uid !== uid) return;
  }
  throw new ShadowError('SHADOW_E_TIMEOUT', `${name} is still being put back after ${PUT_BACK_MS / 1000} s`, {
    hint: `the controller goes on; kubectl shadow status ${name} -n ${namespace} shows it`,
  });
};

const watch = async (api: Api, created: StatefulMigration, rehearsing: Rehearsing): Promise<StatefulMigration> => {
  const { timeoutMs, signal, show } = rehearsing;
  const late = AbortSignal.timeout(Math.max(1, Math.round(timeoutMs)));
  let last = created;
  for await (const state of follow(api, created.metadata, AbortSignal.any([signal, late]))) {
    last = state;
    show(state);
  }
  if (last.status?.completionTime !== undefined) return last;
  if (signal.aborted) throw new ShadowError('SHADOW_E_ABORTED', 'the rehearsal was broken off and put back');
  throw new ShadowError('SHADOW_E_TIMEOUT', 'the rehearsal had not ended; it was broken off and put back', {
    hint: 'give it longer by --timeout, or look at kubectl -n shadow-system logs deploy/shadow-controller',
  });
};

/**
 * The ended rehearsal: status.rehearsal says what was found. Throws SHADOW_E_TIMEOUT when it had not ended in time,
 * SHADOW_E_ABORTED when `signal` was aborted before; all is put back in any case.
 */
export const rehearse = async (api: Api, rehearsing: Rehearsing): Promise<StatefulMigration> => {
  const { namespace, spec, podUid, seconds } = rehearsing;
  const wanted = { namespace, podUid, spec: { ...spec, rehearse: true, rehearseSeconds: seconds } };
  const created = await createPassing(api, 'shadow-rehearsal-', wanted, 'rehearsals');
  try {
    return await watch(api, created, rehearsing);
  } finally {
    await putBack(api, created.metadata);
  }
};
