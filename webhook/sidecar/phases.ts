/** What a session is in, and what it tells its edge. */
import type { Settlement } from '../api/control.ts';

export type Phase =
  | 'opening'
  | 'open'
  | 'muting'
  | 'mute'
  | 'detached'
  | 'attached'
  /** The upstream half is left behind; what the broker says comes from the source's record, what the app says goes nowhere. */
  | 'replaying'
  /** The upstream is lost, the app does not know, and another is sought. */
  | 'severed'
  /** Not AMQP 0-9-1: bytes pass, nothing is known. */
  | 'blind';

/** What came of the inputs since the last `take`. */
export interface Actions {
  readonly toApp: Buffer[];
  readonly toBroker: Buffer[];
  readonly settlements: Settlement[];
  /** What can't be made good: the upstream, or a channel of it, is lost while it is needed. */
  readonly lost: string | undefined;
  /** The broker has closed the connection, and has its answer: the upstream is lost. */
  readonly forced: boolean;
  /** Another upstream is to be sought (see `restore` and `giveUp`). */
  readonly severed: boolean;
}
