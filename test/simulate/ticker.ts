/** What moves all worlds on: a tick a millisecond, or slower when there is much to do. */
export class Ticker {
  private readonly steps = new Set<() => void>();
  private timer: NodeJS.Timeout | undefined;

  /** Returns what takes it off again. */
  add(step: () => void): () => void {
    this.steps.add(step);
    this.timer ??= setInterval(() => {
      for (const each of this.steps) each();
    }, 1);
    return () => {
      this.steps.delete(step);
      if (this.steps.size > 0) return;
      clearInterval(this.timer);
      this.timer = undefined;
    };
  }
}
