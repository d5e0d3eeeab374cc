/** The edge of severed sessions: seeks another upstream for each, again and again, for as long as the app may be kept waiting. */

import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { attachOver } from './attach.ts';
import { type Attachment, Gone } from './attachment.ts';
import { Refused } from './handshake.ts';
import type { Log, Losses } from './relay-api.ts';
import type { Refusal } from './severance.ts';

/** Longest time for one attempt once it is connected (a broker that is starting may accept and say nothing), and more for each request. */
const ATTEMPT_MS = 5000;
const REQUEST_MS = 5;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;
/** An upstream that is lost again within this time was of no use: pauses go on growing, and patience is not renewed. */
const PROVEN_MS = 10_000;
/** ACCESS_REFUSED: the broker knows the app and does not want it. All else may pass. */
const FINAL = 403;

/** Milliseconds before an attempt (0: the first). `random` in [0, 1): pods that lost one broker must not return as one. */
export const pauseBefore = (attempt: number, random: number): number =>
  Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt) * (0.5 + random / 2);

/** A broker that refuses tells more than one that is not there, and either more than our own deadline. */
const telling = (known: Error | undefined, failed: Error, over: AbortSignal): Error | undefined =>
  failed instanceof Refused || !(known instanceof Refused || over.aborted) ? failed : known;

const rejection = (signal: AbortSignal): Promise<never> => {
  const promise = new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(new Error('no broker in time')), { once: true }),
  );
  promise.catch(() => undefined);
  return promise;
};

/** What is sought for. */
export interface Severable {
  readonly session: {
    readonly id: number;
    readonly broker: string;
    readonly phase: string;
    readonly stale: number;
    attachment(probing: true): Attachment;
  };
  restore(attachment: Attachment, upstream: net.Socket): void;
  /** `refusal`: what the broker said, if it did. */
  giveUp(refusal: Refusal | undefined): void;
}

/** When a search ended well. */
interface Found {
  readonly at: number;
  /** Time without an upstream that counts as one with the next, ms. */
  readonly spent: number;
  readonly attempt: number;
}

export interface ReattachOptions<C extends Severable> {
  /** Longest time without an upstream, ms; 0: a loss is told at once. */
  readonly patienceMs: number;
  readonly dial: (connection: C) => Promise<net.Socket>;
  /** What it dialled last was of no use: of several hosts another may be. */
  readonly shun: (connection: C) => void;
  /** ATTEMPT_MS if not given. */
  readonly attemptMs?: number;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

export class Reattaching<C extends Severable> {
  private readonly options: ReattachOptions<C>;
  private readonly underWay = new Map<C, AbortController>();
  private readonly found = new WeakMap<C, Found>();
  private hidden = 0;
  private givenUp = 0;

  constructor(options: ReattachOptions<C>) {
    this.options = options;
  }

  get losses(): Losses {
    const { hidden, givenUp } = this;
    return { severed: this.underWay.size, hidden, givenUp };
  }

  begin(connection: C, why: string): void {
    const over = new AbortController();
    this.underWay.set(connection, over);
    const { id: session, broker } = connection.session;
    this.options.log.warn({ connection: session, broker, why }, 'upstream lost: seeking another');
    void this.seek(connection, over.signal).finally(() => {
      if (this.underWay.get(connection) === over) this.underWay.delete(connection);
    });
  }

  /** Its app is gone. */
  end(connection: C): void {
    this.underWay.get(connection)?.abort();
    this.underWay.delete(connection);
  }

  drop(): void {
    for (const connection of [...this.underWay.keys()]) this.end(connection);
  }

  private async seek(connection: C, ended: AbortSignal): Promise<void> {
    const { patienceMs, log } = this.options;
    const now = performance.now();
    const found = this.found.get(connection);
    const flapping = found !== undefined && now - found.at < PROVEN_MS;
    const spent = flapping ? found.spent : 0;
    const over = AbortSignal.any([ended, AbortSignal.timeout(Math.max(0, Math.ceil(patienceMs - spent)))]);
    const late = rejection(over);
    let failure: Error | undefined;
    for (let attempt = flapping ? found.attempt + 1 : 0; ; attempt++) {
      await sleep(pauseBefore(attempt, Math.random()), undefined, { signal: over }).catch(() => undefined);
      if (over.aborted || connection.session.phase !== 'severed') break;
      const failed = await this.attempt(connection, over, late);
      if (!failed) {
        this.hidden += 1;
        const at = performance.now();
        this.found.set(connection, { at, spent: spent + at - now, attempt });
        const ms = Math.round(at - now);
        log.info({ connection: connection.session.id, ms, stale: connection.session.stale }, 'attached again');
        return;
      }
      failure = telling(failure, failed, over);
      // The app may make it anew, if it knows.
      if (failed instanceof Gone || (failed instanceof Refused && failed.code === FINAL)) break;
    }
    if (ended.aborted || connection.session.phase !== 'severed') return;
    log.warn(
      { connection: connection.session.id, why: failure?.message ?? 'no answer' },
      'the app is told of its loss',
    );
    this.givenUp += 1;
    connection.giveUp(failure instanceof Refused ? failure : undefined);
  }

  /** Returns why not, if not. */
  private async attempt(connection: C, over: AbortSignal, late: Promise<never>): Promise<Error | undefined> {
    try {
      const attachment = connection.session.attachment(true);
      // A name that is not resolved, or an address that does not answer, is not waited for any longer than anything else.
      const upstream = await Promise.race([late, this.reach(connection, attachment, over)]);
      if (!over.aborted && connection.session.phase === 'severed') {
        connection.restore(attachment, upstream);
        return undefined;
      }
      upstream.destroy();
      return new Error('too late');
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  private async reach(connection: C, attachment: Attachment, over: AbortSignal): Promise<net.Socket> {
    const { dial, shun, attemptMs = ATTEMPT_MS } = this.options;
    const upstream = await dial(connection);
    const within = AbortSignal.any([over, AbortSignal.timeout(attemptMs + REQUEST_MS * attachment.size)]);
    try {
      return await attachOver(() => Promise.resolve(upstream), attachment, within);
    } catch (error) {
      if (!over.aborted) shun(connection);
      throw error;
    }
  }
}
