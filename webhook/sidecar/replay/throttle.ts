/**
 * How a source lets its copy catch up: while the copy lags, deliveries reach the source's app only as fast as a share of the
 * copy's own pace. Nothing is dropped: what waits is withheld, within the app's prefetch. Pure: time comes in, milliseconds.
 */
import { Valve } from '../tap.ts';

/** The lag is to be gone within about this time: it falls by a share of the copy's pace. */
const WITHIN_MS = 200;
/** The source's app is never slower than this share: its outputs must not pause (a few messages' time at most). */
const LEAST = 0.2;
/**
 * A copy always lags by a message or so on its way through both apps, or by some milliseconds of its pace. It is throttled from
 * the larger lag on, until it is down to the smaller one.
 */
const FROM = { entries: 8, ms: 80 } as const;
const UNTIL = { entries: 3, ms: 25 } as const;
/** The pace is measured over so long. */
const PACE_MS = 1000;
/** Without a report for so long the source is not held back any more. */
const SILENT_MS = 600;
/** A copy that has played nothing for so long is not waited for: it may have diverged, and users wait meanwhile. */
const STANDSTILL_MS = 300;
/** Most deliveries the credit grows to, in milliseconds at the present rate; and at least so many. */
const BURST_MS = 250;
const BURST = 2;

interface Report {
  readonly at: number;
  readonly played: number;
}

/** What the record holds: by it entries are counted in deliveries. */
export interface Recorded {
  readonly entries: number;
  readonly deliveries: number;
}

export class Throttle {
  readonly valve = new Valve();
  /** Share of the copy's pace at which deliveries reach the app; 1: they are not held back. */
  share = 1;
  private reports: Report[] = [];
  private best = 0;
  private progressedAt = 0;

  /** A report of the copy: its lag, and how many entries it has played in all. */
  report(now: number, { lag, played }: { readonly lag: number; readonly played: number }, recorded: Recorded): void {
    const last = this.reports.at(-1);
    if (!last || played > last.played) this.progressedAt = now;
    this.reports.push({ at: now, played });
    while (this.reports.length > 2 && now - this.reports[1]!.at >= PACE_MS) this.reports.shift();
    const pace = this.pace();
    this.best = Math.max(this.best, pace);
    const bound = this.share < 1 ? UNTIL : FROM;
    const converged = lag <= Math.max(bound.entries, (pace * bound.ms) / 1000);
    if (converged || now - this.progressedAt >= STANDSTILL_MS) {
      this.open();
      return;
    }
    // How fast it can be is known once it has played for a while.
    if (!last || pace === 0 || this.best === 0) return;
    this.share = Math.min(1, Math.max(LEAST, 1 - (lag * 1000) / (WITHIN_MS * pace)));
    const perEntry = recorded.entries > 0 ? recorded.deliveries / recorded.entries : 0;
    const entries = Math.max(this.share * (played - last.played), (LEAST * this.best * (now - last.at)) / 1000);
    this.give(entries * perEntry, (this.share * pace * perEntry * BURST_MS) / 1000);
  }

  private give(deliveries: number, burst: number): void {
    const { valve } = this;
    if (valve.credit === Number.POSITIVE_INFINITY) valve.credit = 0;
    valve.credit = Math.min(valve.credit + deliveries, Math.max(BURST, burst));
  }

  /** Entries a second. */
  private pace(): number {
    const first = this.reports[0];
    const last = this.reports.at(-1);
    if (!first || !last || last.at <= first.at) return 0;
    return ((last.played - first.played) * 1000) / (last.at - first.at);
  }

  /** Time has come to `now`. True if the valve has been opened by that. */
  tick(now: number): boolean {
    const last = this.reports.at(-1);
    if (this.share === 1 || !last || now - last.at < SILENT_MS) return false;
    this.open();
    return true;
  }

  private open(): void {
    this.share = 1;
    this.valve.credit = Number.POSITIVE_INFINITY;
  }
}
