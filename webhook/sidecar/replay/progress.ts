/** How long nothing may come of what a copy's app is expected to make. Pure: time comes in. */

/** Shortest time without progress that is divergence, once the source is mute, milliseconds. */
const MUTE_STALL_MS = 1000;

export class Progress {
  /** As it was told last, milliseconds. */
  now = 0;
  private readonly stallMs: number;
  private at = 0;
  private some = true;
  /** Longest time that an output of the source's has been waited for. */
  private slowest = 0;

  /** `stallMs`: longest time without progress, and longest age of a recorded output that the copy has not made. */
  constructor(stallMs: number) {
    this.stallMs = stallMs;
  }

  /** Something was played, matched or told. */
  made(): void {
    this.some = true;
  }

  /** An output came that was expected from `since` on. */
  waited(since: number): void {
    this.slowest = Math.max(this.slowest, this.now - since);
  }

  /** Time has come to `now`. `idle`: nothing is owed. */
  tick(now: number, idle: boolean): void {
    this.now = now;
    if (this.some || idle) this.at = now;
    this.some = false;
  }

  /** What is missing has been so for too long. `oldest`: since when, of each kind of output. */
  overdue(oldest: readonly (number | undefined)[], ended: boolean): boolean {
    const since = Math.min(this.at, ...oldest.filter((at) => at !== undefined));
    return this.now - since > this.stallMs || this.now - this.at > this.patience(ended);
  }

  /** Once the source is mute nobody serves: then no longer than it ever took. */
  private patience(ended: boolean): number {
    return ended ? Math.min(this.stallMs, MUTE_STALL_MS + 2 * this.slowest) : this.stallMs;
  }

  /** What was missing is written off. */
  restart(): void {
    this.at = this.now;
  }
}
