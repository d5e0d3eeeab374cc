/** Tags not settled yet, each with a value. Tags are added in rising order, so all up to one are found without a search. */
export class Ledger<T> {
  private readonly entries = new Map<number, T>();
  /** No entry lies below. */
  private lowest = 1;

  add(tag: number, value: T): void {
    if (this.entries.size === 0) this.lowest = tag;
    this.entries.set(tag, value);
  }

  get(tag: number): T | undefined {
    return this.entries.get(tag);
  }

  delete(tag: number): boolean {
    return this.entries.delete(tag);
  }

  /** Entries with tag ≤ limit, rising. */
  upTo(limit: number): [number, T][] {
    const found: [number, T][] = [];
    if (limit - this.lowest > 4 * this.entries.size + 64) {
      // Far more tags than entries: walk the entries (a Map keeps the order they were added in).
      for (const entry of this.entries) if (entry[0] <= limit) found.push(entry);
      return found;
    }
    for (let tag = this.lowest; tag <= limit; tag++) {
      const value = this.entries.get(tag);
      if (value !== undefined) found.push([tag, value]);
    }
    while (this.lowest <= limit && !this.entries.has(this.lowest)) this.lowest += 1;
    return found;
  }

  all(): IterableIterator<[number, T]> {
    return this.entries.entries();
  }

  tags(): IterableIterator<number> {
    return this.entries.keys();
  }

  get size(): number {
    return this.entries.size;
  }

  clear(): void {
    this.entries.clear();
  }
}
