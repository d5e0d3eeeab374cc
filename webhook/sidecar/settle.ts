/**
 * Settle-through: the copy's settlements of carried deliveries travel copy → controller → source and are settled on the
 * source's channels, which alone know the tags. Each side of it; what is sent and taken when is decided in handoff.ts.
 */
import type { Settle, Settled, Settlement } from '../api/control.ts';
import type { Log } from '../log.ts';
import type { Control } from './control.ts';
import * as pure from './handoff.ts';

export interface SettleOptions {
  readonly handoff: () => pure.Handoff;
  readonly control: () => Pick<Control, 'connection' | 'send'>;
  /** Resolves when proven by a barrier. */
  readonly settle: (items: Settlement[]) => Promise<void>;
  /** At this source. */
  readonly outstanding: () => number;
  /** Something was settled. */
  readonly progressed: () => void;
  readonly log: Pick<Log, 'warn' | 'error'>;
}

export interface SettleThrough {
  /** A new handoff begins. */
  reset(): void;
  /** Copy: to be settled at the source. */
  enqueue(items: readonly Settlement[]): void;
  /** Copy: the connection is open anew; what is not answered goes out again. */
  resend(): void;
  onSettled(message: Settled): void;
  /** Copy: all is answered. */
  answered(): boolean;
  /** Copy: the source has closed its upstream connections, or they are gone with it. */
  sourceClosed(): boolean;
  onSettle(message: Settle): void;
  /** Source: it is superseded now. */
  begin(): void;
  /** Source: a batch is on its way to the broker. */
  busy(): boolean;
}

export const createSettleThrough = (options: SettleOptions): SettleThrough => {
  const { handoff, control, log } = options;
  let outbox = pure.emptyOutbox;
  let inbox = pure.emptyInbox;
  let pumping = false;
  /** Highest batch that came for a session that is no more. */
  let orphaned = 0;
  let sourceClosed = false;

  const depart = (): void => {
    // Without a connection they stay where they are; `resend` sends what is due.
    if (control().connection() === 0) return;
    const next = pure.departing(outbox, handoff().claim);
    outbox = next.outbox;
    for (const batch of next.batches) control().send(batch);
  };

  const answer = (seq: number): void => {
    const { claim, state } = handoff();
    const message: Settled = {
      type: 'settled',
      claim,
      seq,
      outstanding: options.outstanding(),
      closed: state === 'closed',
    };
    control().send(message);
  };

  const pump = async (): Promise<void> => {
    if (pumping || handoff().state !== 'superseded') return;
    pumping = true;
    for (let next = pure.take(inbox); next !== undefined; next = pure.take(inbox)) {
      const { seq, items } = next.batch;
      inbox = next.inbox;
      // Never tried again: what was settled of it would be settled twice. A connection that is gone has nothing to settle.
      await options
        .settle(items)
        .catch((error: unknown) => log.error({ err: error, seq }, 'settlements were lost with their connection'));
      inbox = pure.proved(inbox, seq);
      answer(seq);
    }
    pumping = false;
    options.progressed();
  };

  return {
    reset: () => {
      outbox = pure.emptyOutbox;
      inbox = pure.emptyInbox;
      orphaned = 0;
      sourceClosed = false;
    },
    enqueue: (items) => {
      outbox = pure.enqueue(outbox, items);
      depart();
    },
    resend: () => {
      for (const batch of outbox.sent) control().send(batch);
      depart();
    },
    onSettled: ({ claim, seq, closed }) => {
      if (claim !== handoff().claim) return;
      sourceClosed ||= closed;
      outbox = pure.answered(outbox, seq);
      depart();
      options.progressed();
    },
    answered: () => pure.isEmpty(outbox),
    sourceClosed: () => sourceClosed,
    onSettle: (message) => {
      const { claim, state, session } = handoff();
      if (message.claim !== claim || state === 'idle') {
        log.warn({ claim: message.claim, state }, 'settlements for another handoff');
      } else if (state === 'closed') answer(message.seq);
      else if (!session) orphaned = Math.max(orphaned, message.seq);
      else {
        // A source that is still mute keeps them: only supersede proves the commit to it.
        const received = pure.receive(inbox, message);
        inbox = received.inbox;
        if (received.again) answer(inbox.proven);
        void pump();
      }
    },
    begin: () => {
      if (orphaned > 0 && handoff().state === 'closed') answer(orphaned);
      void pump();
    },
    busy: () => pumping,
  };
};
