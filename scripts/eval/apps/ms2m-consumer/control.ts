/**
 * The control protocol of MS2M, as the reference implementation asks it of an app: JSON `{type, payload: {queue}}` on the
 * durable queue `ms2m.control.<pod>`. START_REPLAY turns the app's consumption to the replay queue, END_REPLAY back. Pure.
 */
export const REPLAY_SUFFIX = '.ms2m-replay';

export type Control = { type: 'START_REPLAY'; queue: string } | { type: 'END_REPLAY' };

export const controlQueue = (pod: string): string => `ms2m.control.${pod}`;

/** The queue named is the replay queue, or the primary one it belongs to. undefined: it is none of ours. */
export const controlOf = (body: string, primary: string): Control | undefined => {
  let message: { type?: unknown; payload?: { queue?: unknown } | null } | null;
  try {
    message = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (message?.type === 'END_REPLAY') return { type: 'END_REPLAY' };
  if (message?.type !== 'START_REPLAY') return undefined;
  const named = message.payload?.queue;
  const queue = typeof named === 'string' && named !== '' ? named : primary;
  return { type: 'START_REPLAY', queue: queue.endsWith(REPLAY_SUFFIX) ? queue : `${queue}${REPLAY_SUFFIX}` };
};
