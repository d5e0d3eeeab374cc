/** The edge of severed sessions: seeks another upstream for each, again and again, for as long as the app may be kept waiting. */

import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { attachOver } from './attach.ts';
import type { Connection, Log } from './connection.ts';
import { Refused } from './handshake.ts';

/** Longest time for one attempt once TCP is connected: a broker that is starting may accept and say nothing. */
const ATTEMPT_MS = 5000;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;
/** An upstream that is lost again within this time was of no use: the pauses go on growing. */
const PROVEN_MS = 10_000;
/** ACCESS_REFUSED: the broker knows the app and does not want it. All else may pass. */
const FINAL = 403;

/** Milliseconds before an attempt (0: the first). `random` in [0, 1): pods that lost one broker must not return as one. */
export const pauseBefore = (attempt: number, random: number): number =>
  Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt) * (0.5 + random / 2);

/** A broker that refuses tells more than one that is not there, and either more than our own deadline. */
const telling = (known: Error | undefined, failed: Error, over: AbortSignal): Error | undefined =>
  failed instanceof Refused || !(known instanceof Refused || over.aborted) ? failed : known;

export interface ReattachOptions {
  /** Longest time without an upstream, ms; 0: a loss is told at once. */
  readonly patienceMs: number;
  readonly dial: (connection: Connection) => Promise<net.Socket>;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

export class Reattaching {
  private readonly options: ReattachOptions;
  private readonly underWay = new Map<Connection, AbortController>();
  private readonly last = new WeakMap<Connection, { readonly at: number; readonly attempt: number }>();

  constructor(options: ReattachOptions) {
    this.options = options;
  }

  /** Sessions without an upstream. */
  get size(): number {
    return this.underWay.size;
  }

  begin(connection: Connection, why: string): void {
    const over = new AbortController();
    this.underWay.set(connection, over);
    const { id: session, broker } = connection.session;
    this.options.log.warn({ connection: session, broker, why }, 'upstream lost: seeking another');
    void this.seek(connection, over.signal).finally(() => {
      if (this.underWay.get(connection) === over) this.underWay.delete(connection);
    });
  }

  /** Its app is gone. */
  end(connection: Connection): void {
    this.underWay.get(connection)?.abort();
    this.underWay.delete(connection);
  }

  drop(): void {
    for (const connection of [...this.underWay.keys()]) this.end(connection);
  }

  private async seek(connection: Connection, ended: AbortSignal): Promise<void> {
    const { patienceMs, log } = this.options;
    const began = performance.now();
    const over = AbortSignal.any([ended, AbortSignal.timeout(patienceMs)]);
    const last = this.last.get(connection);
    let attempt = last && began - last.at < PROVEN_MS ? last.attempt + 1 : 0;
    let failure: Error | undefined;
    for (; ; attempt++) {
      await sleep(pauseBefore(attempt, Math.random()), undefined, { signal: over }).catch(() => undefined);
      if (over.aborted || connection.session.phase !== 'severed') break;
      const failed = await this.attempt(connection, over);
      if (!failed) {
        this.last.set(connection, { at: performance.now(), attempt });
        const ms = Math.round(performance.now() - began);
        log.info({ connection: connection.session.id, ms, stale: connection.session.stale }, 'attached again');
        return;
      }
      failure = telling(failure, failed, over);
      if (failed instanceof Refused && failed.code === FINAL) break;
    }
    if (ended.aborted || connection.session.phase !== 'severed') return;
    log.warn(
      { connection: connection.session.id, why: failure?.message ?? 'no answer' },
      'the app is told of its loss',
    );
    connection.giveUp(failure instanceof Refused ? failure : undefined);
  }

  /** Returns why not, if not. */
  private async attempt(connection: Connection, over: AbortSignal): Promise<Error | undefined> {
    try {
      const attachment = connection.session.attachment();
      const within = AbortSignal.any([over, AbortSignal.timeout(ATTEMPT_MS)]);
      const upstream = await attachOver(() => this.options.dial(connection), attachment, within);
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
}
