/**
 * How a source lets its copy catch up: while the copy lags, deliveries reach the source's app only as fast as a share of the
 * copy's own pace. Nothing is dropped: what waits is withheld, within the app's prefetch. An app that is saturated is slowed from
 * the cut on, while its copy is on its way and says nothing yet: what it does meanwhile the copy, no faster than it, has to do
 * too. Pure: time comes in, milliseconds.
 */
import { Valve } from '../tap.ts';

/** The lag is to be gone within about this time: it falls by a share of the copy's pace. */
const WITHIN_MS = 100;
/** The source's app is never slower than this share: its outputs must not pause (a few messages' time at most). */
const LEAST = 0.1;
/** And never is the time between two deliveries longer by more than this. */
const GAP_MS = 120;
/** Of its own pace, at which a saturated app is served until its copy reports: its messages are 2.5 of its own times apart. */
const BRACED = 0.4;
/** No longer than that: users must not wait for a copy that may never come. */
const BRACED_MS = 4000;
/**
 * A copy always lags by a message or so on its way through both apps, or by some milliseconds of its pace. It is throttled from
 * the larger lag on, until it is down to the smaller one.
 */
const FROM = { entries: 8, ms: 80 } as const;
const UNTIL = { entries: 3, ms: 25 } as const;
/** The pace is measured over so long, and what a measure of less than the least shows may be a burst. */
const PACE_MS = 1000;
const LEAST_PACE_MS = 200;
/** Without a report for so long the source is not held back any more. */
const SILENT_MS = 600;
/** A copy that has played nothing for so long is not waited for: it may have diverged, and users wait meanwhile. */
const STANDSTILL_MS = 300;
/**
 * Slowed for PACE_MS, the lag has fallen by less than this share of what it should have: it is not for the copy to make up (what
 * an app does by the clock, its copy does later by the time that it was not there), and users wait in vain.
 */
const IN_VAIN = 0.25;
/** Most deliveries the credit grows to, in milliseconds at the present rate; and at least so many. */
const BURST_MS = 100;
const BURST = 2;

interface Report {
  readonly at: number;
  readonly played: number;
  readonly lag: number;
}

/** What the record holds: by it what a copy owes (see `lags`) is counted in deliveries. */
export interface Recorded {
  readonly owed: number;
  readonly deliveries: number;
}

export class Throttle {
  readonly valve = new Valve();
  /** Share of the copy's pace (until it reports: the app's own) at which deliveries reach the app; 1: they are not held back. */
  share = 1;
  private reports: Report[] = [];
  /** Deliveries a second: the best pace known, and what is let through now. */
  private best = 0;
  private rate = 0;
  /** The best pace is one of the app's own, or measured over PACE_MS. */
  private known = false;
  private progressedAt = 0;
  /** Since when the app is really slowed. */
  private closedAt = 0;
  /** A lag that slowing the source did nothing about. */
  private vain = -1;
  /** No report tells a pace yet. */
  private braced = false;
  /** When credit was first given, and last. */
  private beganAt: number | undefined;
  private gaveAt = 0;

  /**
   * At the cut. `pace`: deliveries a second of an app that is saturated. `held`: what it has been handed and has not settled: it
   * lives on that first. Its time begins with the first `tick`, for a cut takes a while.
   */
  brace(pace: number, held: number): void {
    this.braced = true;
    this.best = pace;
    this.known = true;
    this.close(BRACED, held);
    this.rate = this.atLeast(BRACED * pace);
  }

  /** A report of the copy: its lag, and how much of what was lag it has made in all. `held`: as for `brace`. */
  report(
    now: number,
    { lag, played }: { readonly lag: number; readonly played: number },
    recorded: Recorded,
    held: number,
  ): void {
    const last = this.reports.at(-1);
    if (!last || played > last.played) this.progressedAt = now;
    // What it plays at first are deliveries that it is handed at once: that is no pace.
    if (last?.played === 0) this.reports = [];
    this.reports.push({ at: now, played, lag });
    while (this.reports.length > 2 && now - this.reports[1]!.at >= PACE_MS) this.reports.shift();
    const pace = this.pace();
    // What the copy has not received yet is no lag in its eyes. How fast it is is known once it has played for a while.
    if (this.braced && pace === 0) return;
    if (this.braced) this.closedAt = now;
    this.braced = false;
    const bound = this.share < 1 ? UNTIL : FROM;
    const converged = lag <= Math.max(bound.entries, (pace * bound.ms) / 1000);
    if (converged || now - this.progressedAt >= STANDSTILL_MS) {
      this.open();
      return;
    }
    if (pace === 0) return;
    const deliveries = recorded.owed > 0 ? (pace * recorded.deliveries) / recorded.owed : 0;
    if (this.inVain(now, lag, pace, deliveries)) {
      this.open();
      return;
    }
    const share = Math.min(1, Math.max(LEAST, 1 - (lag * 1000) / (WITHIN_MS * pace)));
    if (this.share === 1) {
      this.close(share, held);
      // Until then it works off what it holds, as fast as ever.
      this.closedAt = now + (deliveries > 0 ? (held * 1000) / deliveries : 0);
    }
    this.share = share;
    this.learn(now - this.reports[0]!.at, deliveries);
    this.rate = this.atLeast(share * deliveries);
  }

  /** What a copy is handed at first it is handed at once: by a short measure it is faster than it will ever be. */
  private learn(overMs: number, deliveries: number): void {
    const sure = overMs >= PACE_MS;
    if (this.known) {
      if (sure) this.best = Math.max(this.best, deliveries);
    } else if (overMs >= LEAST_PACE_MS || this.best === 0) {
      this.best = deliveries;
      this.known = sure;
    }
  }

  /** Until it is twice as much, and some more. */
  private inVain(now: number, lag: number, pace: number, deliveries: number): boolean {
    if (lag <= 2 * this.vain + FROM.entries && this.vain >= 0) return true;
    this.vain = -1;
    if (this.share === 1 || now - this.closedAt < PACE_MS || deliveries === 0) return false;
    const fallen = Math.max(...this.reports.map((report) => report.lag)) - lag;
    const slowed = Math.max(0, 1 - this.rate / deliveries);
    if (fallen < (IN_VAIN * slowed * pace * PACE_MS) / 1000) this.vain = lag;
    return this.vain >= 0;
  }

  /** What the app holds was handed to it ahead: by the time it has done that, the next one is due. */
  private close(share: number, held: number): void {
    this.share = share;
    this.beganAt = undefined;
    this.valve.credit = Math.min(this.valve.credit, BURST - share * held);
  }

  private atLeast(rate: number): number {
    if (this.best === 0) return rate;
    return Math.max(rate, LEAST * this.best, 1000 / (1000 / this.best + GAP_MS));
  }

  /** Of what counts as lag, a second. */
  private pace(): number {
    const first = this.reports[0];
    const last = this.reports.at(-1);
    if (!first || !last || last.at <= first.at) return 0;
    return ((last.played - first.played) * 1000) / (last.at - first.at);
  }

  /** Time has come to `now`; the app holds `held`. True if something may have to be handed out by that. */
  tick(now: number, held: number): boolean {
    if (this.share === 1) return false;
    this.beganAt ??= this.gaveAt = now;
    const last = this.reports.at(-1);
    const over = this.braced ? now - this.beganAt >= BRACED_MS : last !== undefined && now - last.at >= SILENT_MS;
    if (over) {
      this.open();
      return true;
    }
    const { valve, rate } = this;
    // It was faster than it was thought to be.
    if (held <= 1) valve.credit = Math.max(valve.credit, 0);
    const most = Math.max(BURST, (rate * BURST_MS) / 1000);
    valve.credit = Math.min(valve.credit + (rate * (now - this.gaveAt)) / 1000, most);
    this.gaveAt = now;
    return valve.credit >= 1;
  }

  private open(): void {
    this.share = 1;
    this.braced = false;
    this.valve.credit = Number.POSITIVE_INFINITY;
  }
}
