/** How long a handoff may take over a step that can still be undone. Pure. */
import type { ErrorCode } from '../api/errors.ts';
import type { Handoff, StatefulMigration, Step } from '../api/migration.ts';
import { travelsBy } from './preflight/transfer.ts';

export interface Bound {
  ms: number;
  code: ErrorCode;
  text: string;
}

/** Longest stay in a step before the commit, milliseconds, and what it is called when it is over. */
const BOUND: Partial<Record<Step, Bound>> = {
  Warming: { ms: 60_000, code: 'SHADOW_E_RESTORE', text: "the copy's pod did not come up in 60 s" },
  Muting: { ms: 10_000, code: 'SHADOW_E_MUTE', text: 'no answer in 10 s' },
  Cutting: { ms: 20_000, code: 'SHADOW_E_CHECKPOINT', text: 'not done in 20 s' },
  Transferring: { ms: 60_000, code: 'SHADOW_E_TRANSFER', text: 'not done in 60 s' },
  Restoring: { ms: 30_000, code: 'SHADOW_E_RESTORE', text: 'not done in 30 s' },
  Attaching: { ms: 15_000, code: 'SHADOW_E_ATTACH', text: 'the sidecar of the copy did not attach in 15 s' },
  Replaying: { ms: 120_000, code: 'SHADOW_E_RECORD', text: 'the copy did not catch up in 120 s' },
};
/** The copy's pod may still be coming up (see warming.ts). */
const RESTORING_BESIDE: Bound = { ms: 50_000, code: 'SHADOW_E_RESTORE', text: 'not done in 50 s' };

/** The source is mute and users wait: what the copy had nearly done before must not take long now. */
const LAST_OF_RECORD: Bound = {
  ms: 10_000,
  code: 'SHADOW_E_RECORD',
  text: 'the copy had not played all up to the end in 10 s',
};

/** All of it twice, and nothing was sent ahead. */
const BY_IMAGE: Bound = { ms: 120_000, code: 'SHADOW_E_TRANSFER', text: 'not done in 120 s' };

/** Without the sidecar: what the app is behind by is worked off meanwhile, at the app's own pace. */
const byQueues = (cutoffSeconds: number): Bound => {
  const seconds = 600 + cutoffSeconds;
  return {
    ms: seconds * 1_000,
    code: 'SHADOW_E_RECORD',
    text: `source and copy did not come to the same place in ${seconds} s`,
  };
};

export const boundOf = ({ spec }: StatefulMigration, handoff: Handoff): Bound | undefined => {
  const { step, mode, queues } = handoff;
  if (step === 'Replaying' && queues !== undefined) return byQueues(spec.replayCutoffSeconds ?? 0);
  if (step === 'Transferring' && travelsBy(spec, handoff) !== 'Agent') return BY_IMAGE;
  if (step === 'Restoring' && mode === 'replay') return RESTORING_BESIDE;
  return step === 'Attaching' && mode === 'replay' ? LAST_OF_RECORD : BOUND[step];
};
