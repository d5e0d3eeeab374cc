/**
 * A queue of keys: one run a key at a time, what is added meanwhile runs once more after it, failures back off per key.
 * The work returns after how many milliseconds it wants to run again without being asked.
 */
import { backoff } from './reflector.ts';

export class KeyedQueue {
  private readonly work: (key: string) => Promise<number | undefined>;
  private readonly onError: (key: string, error: unknown) => void;
  private readonly timers = new Map<string, { timer: NodeJS.Timeout; due: number }>();
  private readonly running = new Set<string>();
  private readonly again = new Set<string>();
  private readonly failures = new Map<string, number>();
  private stopped = false;

  constructor(
    work: (key: string) => Promise<number | undefined>,
    onError: (key: string, error: unknown) => void = () => {},
  ) {
    this.work = work;
    this.onError = onError;
  }

  add(key: string, delayMs = 0): void {
    if (this.stopped) return;
    if (this.running.has(key)) {
      if (delayMs === 0) this.again.add(key);
      return;
    }
    const due = performance.now() + delayMs;
    const waiting = this.timers.get(key);
    if (waiting !== undefined) {
      if (waiting.due <= due) return;
      clearTimeout(waiting.timer);
    }
    this.timers.set(key, { due, timer: setTimeout(() => this.run(key), delayMs) });
  }

  stop(): void {
    this.stopped = true;
    for (const { timer } of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
  }

  private async run(key: string): Promise<void> {
    this.timers.delete(key);
    this.running.add(key);
    let next: number | undefined;
    try {
      next = await this.work(key);
      this.failures.delete(key);
    } catch (error) {
      const failures = this.failures.get(key) ?? 0;
      this.failures.set(key, failures + 1);
      next = backoff(failures);
      this.onError(key, error);
    }
    this.running.delete(key);
    // A wish that came during the run is not delayed by the backoff of a later failure: it may be the cure.
    if (this.again.delete(key)) this.add(key);
    else if (next !== undefined) this.add(key, next);
  }
}
