/** Entries of the record that are received and not played yet, in its order, and what they owe. Pure. */
import { type Entry, lags } from './entries.ts';

/** Played entries are let go of when they are so many, and the most of the queue. */
const DROP = 1024;

export class Pending {
  /** Entries that count as lag: all that were received, and those that are pending. */
  owed = 0;
  behind = 0;
  /** Bytes of deliveries and replies that are pending. */
  heldBytes = 0;
  private queue: Entry[] = [];
  private head = 0;

  add(entry: Entry): void {
    this.queue.push(entry);
    if (lags(entry)) {
      this.owed += 1;
      this.behind += 1;
    }
    if (entry.kind === 'down') this.heldBytes += entry.bytes.length;
  }

  get next(): Entry | undefined {
    return this.queue[this.head];
  }

  /** `next` is played now. */
  take(entry: Entry): void {
    this.head += 1;
    if (lags(entry)) this.behind -= 1;
    if (entry.kind === 'down') this.heldBytes -= entry.bytes.length;
  }

  /** Lets go of what is played. */
  drop(): void {
    if (this.head <= DROP || this.head * 2 <= this.queue.length) return;
    this.queue = this.queue.slice(this.head);
    this.head = 0;
  }
}
