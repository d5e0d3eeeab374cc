/** A superseded source that passes on, until it ends, who still comes to it (see forward.ts). */
import type { Command, RetireResult } from '../api/control.ts';
import { asShadowError } from '../api/errors.ts';
import type { Log } from '../log.ts';
import { createForwarder, type Forwarder } from './forward.ts';

export interface Retiring {
  /** What comes to which listener of ours; or why nobody can be passed on, which holds up nothing. */
  retire(command: Extract<Command, { type: 'retire' }>): Promise<RetireResult>;
  /** Goes on for as long as it was told. */
  linger(): Promise<void>;
}

export const createRetiring = (
  log: Pick<Log, 'warn'>,
  /** forward.ts if not given. */
  forwarder: Forwarder = createForwarder(),
): Retiring => {
  let lingerMs = 0;
  const retire: Retiring['retire'] = async ({ forward }) => {
    if (forward === undefined) return {};
    try {
      const forwards = await forwarder.open(forward.host, forward.dialMs);
      lingerMs = forward.lingerMs;
      return { forwards };
    } catch (error) {
      const why = asShadowError(error).message;
      log.warn({ err: error }, 'nobody can be passed on to the copy');
      return { why };
    }
  };
  return { retire, linger: () => forwarder.linger(lingerMs) };
};
