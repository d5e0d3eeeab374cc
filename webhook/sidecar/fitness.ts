/** Whether a pod may be handed over now. Pure. */
import { ShadowError } from '../api/errors.ts';

export interface Standing {
  /** What can't be handed over exactly, in words for people. */
  readonly hazards: readonly string[];
  /** Something of an earlier handoff, or of an un-mute, is not over. */
  readonly carrying: boolean;
  /** Sessions without an upstream. */
  readonly severed: number;
  /** Unsettled deliveries of upstreams that were lost. */
  readonly stale: number;
}

/** Throws SHADOW_E_SESSION, where only the app can change it, else `code`, to be tried again. */
export const refuseUnfit = (pod: Standing, code: 'SHADOW_E_MUTE' | 'SHADOW_E_FREEZE'): void => {
  if (pod.hazards.length > 0) throw new ShadowError('SHADOW_E_SESSION', pod.hazards.join('; '));
  // A second source for the same delivery would settle it twice.
  if (pod.carrying) throw new ShadowError(code, 'carried deliveries are not settled yet', { retryable: true });
  if (pod.severed > 0)
    throw new ShadowError(code, 'a broker connection is lost and another is sought', { retryable: true });
  if (pod.stale > 0)
    throw new ShadowError(code, 'a broker connection was lost: what came over it is not settled yet', {
      retryable: true,
    });
};
