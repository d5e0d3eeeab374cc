/** What moves all worlds on: a tick a millisecond, or slower when there is much to do. */
/** No tick for so long. */
const STANDSTILL_MS = 1000;

export class Ticker {
  /** How often the machine stood still for so long that what waits by the clock may have given up. */
  standstills = 0;
  private readonly steps = new Set<() => void>();
  private timer: NodeJS.Timeout | undefined;
  private last = 0;

  /** Returns what takes it off again. */
  add(step: () => void): () => void {
    this.steps.add(step);
    this.timer ??= this.start();
    return () => {
      this.steps.delete(step);
      if (this.steps.size > 0) return;
      clearInterval(this.timer);
      this.timer = undefined;
    };
  }

  private start(): NodeJS.Timeout {
    this.last = Date.now();
    return setInterval(() => {
      const now = Date.now();
      if (now - this.last > STANDSTILL_MS) this.standstills += 1;
      this.last = now;
      for (const each of this.steps) each();
    }, 1);
  }
}
