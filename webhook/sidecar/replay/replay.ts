/**
 * The commands' part in record and play: at most one of a source's record and a copy's play. Each is loaded when it is needed:
 * what is in memory is in every checkpoint.
 */
import type { Command, LinkTls, Recorded, StateChange, Wanted } from '../../api/control.ts';
import { ShadowError } from '../../api/errors.ts';
import type { Log } from '../../log.ts';
import type { Control } from '../control.ts';
import type { Handoff } from '../handoff.ts';
import type { Following } from './following.ts';
import type { Giving } from './giving.ts';
import type { ReplayRelay } from './relay-replay.ts';

export interface ReplayOptions {
  readonly relay: ReplayRelay;
  readonly control: () => Pick<Control, 'connection' | 'send'>;
  readonly handoff: () => Handoff;
  readonly tell: () => void;
  readonly lose: (why: string) => void;
  readonly replayed: () => void;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

export interface Replay {
  /** Loads what a record needs; what it returns, called when halted, begins it. */
  prepare(claim: string): Promise<() => void>;
  /** Thawed: what is recorded is given to whoever asks. */
  begin(): void;
  end(): void;
  serve(tls: LinkTls): Promise<number>;
  follow(command: Extract<Command, { type: 'replay' }>): Promise<void>;
  wanted(message: Wanted): void;
  recorded(message: Recorded): void;
  opened(): void;
  /** A session is lost. */
  lost(why: string): void;
  report(): Pick<StateChange, 'record' | 'play' | 'code'>;
  /** Outputs of a copy's app that went nowhere. */
  swallowed(): number;
  stop(): void;
}

export const createReplay = (options: ReplayOptions): Replay => {
  const { relay, control, handoff, tell, log } = options;
  let giving: Giving | undefined;
  let following: Following | undefined;
  let code: string | undefined;

  const lose = (why: string, as: string): void => {
    code = as;
    log.warn({ why, code }, 'of no use to the handoff any more');
    options.lose(why);
  };

  return {
    prepare: async (claim) => {
      const { Giving } = await import('./giving.ts');
      return () => {
        giving = new Giving({
          claim,
          relay,
          send: (message) => control().send(message),
          connected: () => control().connection() !== 0,
          tell,
          lost: (why) => lose(why, 'SHADOW_E_RECORD'),
          log,
        });
        giving.brace(relay.load());
        relay.record(giving.recorder, giving.throttle.valve);
      };
    },
    begin: () => giving?.begin(),
    end: () => giving?.end(),
    serve: (tls) => {
      if (!giving) throw new ShadowError('SHADOW_E_RECORD', 'nothing is recorded');
      return giving.serve(tls);
    },
    follow: async ({ claim, onDivergence, stallMs, attachMs, direct }) => {
      const { Following } = await import('./following.ts');
      following = new Following({
        claim,
        onDivergence,
        stallMs,
        attachMs,
        direct,
        relay,
        send: (message) => control().send(message),
        tell,
        replayed: options.replayed,
        failed: (as, why) => lose(why, as),
        log,
      });
      following.begin();
    },
    wanted: (message) => giving?.wanted(message, undefined),
    recorded: (message) => following?.recorded(message),
    opened: () => {
      giving?.opened();
      following?.opened();
    },
    lost: (why) => giving?.lost(why),
    report: () => ({
      ...(giving ? { record: giving.report() } : {}),
      ...(following ? { play: following.report() } : {}),
      ...(code !== undefined && handoff().lost !== '' ? { code } : {}),
    }),
    swallowed: () => following?.player.swallowed ?? 0,
    stop: () => {
      giving?.stop();
      following?.stop();
      giving = undefined;
      following = undefined;
      code = undefined;
    },
  };
};
