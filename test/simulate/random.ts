/** Seeded randomness. A generator is a plain object, so that a forked app goes on with its own. */

/** 32 bits of a text, well mixed: for choices that must not depend on the order in which they are made. */
export const hash = (text: string): number => {
  let h = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) h = Math.imul(h ^ text.charCodeAt(at), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
};

/** A link of a hash chain. */
export const chained = (chain: string, item: string): string =>
  hash(`${chain}|${item}`).toString(16).padStart(8, '0') + hash(`${item}|${chain}`).toString(16).padStart(8, '0');

export class Random {
  private state: number;
  constructor(seed: string) {
    this.state = hash(seed);
  }
  /** In [0, 1). */
  next(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 0x1_0000_0000;
  }
  /** Whole, both ends included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }
  chance(probability: number): boolean {
    return this.next() < probability;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.between(0, list.length - 1)]!;
  }
}
