/**
 * Tags not settled yet, each with a value. Tags are added in rising order, and mostly settled in that order too: a queue, in
 * which what is settled before its turn leaves a hole until the holes are more than the rest.
 */
import { Malformed } from './frames.ts';

/** Places without an entry that are not worth clearing away. */
const SLACK = 64;

export class Ledger<T extends object | true> {
  /** Rising; from `head` on, holes included. */
  private readonly order: number[] = [];
  private readonly values: (T | undefined)[] = [];
  private head = 0;
  size = 0;

  add(tag: number, value: T): void {
    const { order, values } = this;
    const last = order.length - 1;
    if (last >= this.head && order[last]! >= tag) throw new Malformed(`tag ${tag} after ${order[last]}`);
    order.push(tag);
    values.push(value);
    this.size += 1;
  }

  get(tag: number): T | undefined {
    return this.values[this.find(tag)];
  }

  delete(tag: number): boolean {
    const at = this.find(tag);
    if (this.values[at] === undefined) return false;
    this.values[at] = undefined;
    this.size -= 1;
    this.tidy();
    return true;
  }

  /** Deletes those with tag ≤ limit; which they were, rising. */
  takeUpTo(limit: number): number[] {
    const { order, values } = this;
    const taken: number[] = [];
    for (let at = this.head; at < order.length && order[at]! <= limit; at += 1) {
      if (values[at] === undefined) continue;
      values[at] = undefined;
      taken.push(order[at]!);
    }
    this.size -= taken.length;
    if (taken.length > 0) this.tidy();
    return taken;
  }

  private tidy(): void {
    const { order, values } = this;
    while (this.head < values.length && values[this.head] === undefined) this.head += 1;
    if (this.head > SLACK && 2 * this.head > order.length) {
      order.splice(0, this.head);
      values.splice(0, this.head);
      this.head = 0;
    } else if (order.length - this.head > 2 * this.size + SLACK) this.compact();
  }

  /** Entries with tag ≤ limit, rising. */
  upTo(limit: number): [number, T][] {
    const found: [number, T][] = [];
    const { order, values } = this;
    for (let at = this.head; at < order.length && order[at]! <= limit; at += 1) {
      const value = values[at];
      if (value !== undefined) found.push([order[at]!, value]);
    }
    return found;
  }

  /** Rising. Not to be gone on with once anything has changed. */
  *all(): Generator<[number, T]> {
    const { order, values } = this;
    for (let at = this.head; at < order.length; at += 1) {
      const value = values[at];
      if (value !== undefined) yield [order[at]!, value];
    }
  }

  /** As `all`. */
  *tags(): Generator<number> {
    for (const [tag] of this.all()) yield tag;
  }

  clear(): void {
    this.order.length = 0;
    this.values.length = 0;
    this.head = 0;
    this.size = 0;
  }

  /** Where it is, or -1. Without gaps between tags it is where one would look first, and never further on. */
  private find(tag: number): number {
    const { order, head } = this;
    if (head === order.length) return -1;
    let high = Math.min(head + tag - order[head]!, order.length - 1);
    if (order[high] === tag) return high;
    let low = head;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const there = order[middle]!;
      if (there === tag) return middle;
      if (there < tag) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  private compact(): void {
    const entries = [...this.all()];
    this.clear();
    for (const [tag, value] of entries) this.add(tag, value);
  }
}
