/** Bytes put together piece by piece, in memory that is used again and grows where it must. */
const NOTHING = Buffer.alloc(0);

export class Memory {
  /** All of it; what is in use is its first `used` bytes. Another Buffer after it has grown. */
  all: Buffer = NOTHING;
  used = 0;
  private readonly least: number;

  /** `least`: bytes it has from the first use on. */
  constructor(least: number) {
    this.least = least;
  }

  get bytes(): Buffer {
    return this.all.subarray(0, this.used);
  }

  append(chunk: Buffer, start: number, end: number): void {
    this.reserve(end - start);
    this.used += chunk.copy(this.all, this.used, start, end);
  }

  /** Room for so many bytes behind those in use: twice what is needed, where it has to grow. */
  reserve(bytes: number): void {
    if (this.used + bytes <= this.all.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.least, 2 * (this.used + bytes)));
    this.all.copy(larger, 0, 0, this.used);
    this.all = larger;
  }
}
