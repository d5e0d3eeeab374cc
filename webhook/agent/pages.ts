/**
 * Pages that lie at the target already need not travel again. A piece of a file of pages becomes a list of segments: pages of the
 * base (the memory sent ahead), named by their place, and pages of its own. That two pages are the same is told by a checksum of
 * each; should it ever lie, the digest of the whole file finds it. Pure, but for the reader that is passed in.
 *
 * Encoded: u32 number of segments; per segment u32 first page in the base (or OWN), u32 count; then the own pages in order.
 */
import { crc32 } from 'node:zlib';
import { PAGE } from './memory.ts';

/** A file of pages travels in pieces of so many bytes: both ends work at once, and neither holds more than a few. */
export const PIECE = 1 << 20;

const OWN = 0xffff_ffff;
const HEAD = 4;
const SEGMENT = 8;

/** Most bytes that one piece is encoded in: no two pages of it in one segment. */
export const ENCODED_LIMIT = HEAD + (PIECE / PAGE) * SEGMENT + PIECE;

interface Segment {
  /** First page in the base; undefined: own pages. */
  readonly base: number | undefined;
  count: number;
}

/** xxHash's second 32-bit prime: odd, so that multiplying by it loses nothing. */
const PRIME = 0x85ebca77;
const WORD = 4;

/** Page by page: 53 bits, as much as a number holds. A digest of each page costs three times as much, and an app waits. */
class Keys {
  private readonly pages: Buffer;
  private readonly words: Uint32Array;

  constructor(pages: Buffer) {
    const aligned = pages.byteOffset % WORD === 0 ? pages : Buffer.from(new Uint8Array(pages).buffer);
    this.pages = pages;
    this.words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length / WORD);
  }

  /**
   * Two sums over the whole page that have nothing in common: one is linear (what two pages differ in decides alone whether it
   * tells them apart), the other is not.
   */
  at(at: number): number {
    let product = 0;
    for (let word = at / WORD, end = (at + PAGE) / WORD; word < end; word += 1) {
      product = Math.imul(product ^ this.words[word]!, PRIME);
      product ^= product >>> 15;
    }
    return crc32(this.pages.subarray(at, at + PAGE)) * 2 ** 21 + (product >>> 11);
  }
}

/** Where the pages of a base are. */
export class PageIndex {
  private readonly places = new Map<number, number>();
  /** Pages of the base. */
  count = 0;

  add(pages: Buffer): void {
    const keys = new Keys(pages);
    for (let at = 0; at + PAGE <= pages.length; at += PAGE) {
      const key = keys.at(at);
      if (!this.places.has(key)) this.places.set(key, this.count);
      this.count += 1;
    }
  }

  private segments(pages: Buffer): Segment[] {
    const segments: Segment[] = [];
    const keys = new Keys(pages);
    for (let at = 0; at < pages.length; at += PAGE) {
      const base = this.places.get(keys.at(at));
      const last = segments.at(-1);
      const next = last?.base === undefined ? undefined : last.base + last.count;
      if (last && base === next && (base === undefined) === (last.base === undefined)) last.count += 1;
      else segments.push({ base, count: 1 });
    }
    return segments;
  }

  /** A piece, whole pages, encoded; nothing of it refers to `pages`. */
  encode(pages: Buffer): Buffer {
    const segments = this.segments(pages);
    const own = segments.reduce((sum, { base, count }) => sum + (base === undefined ? count : 0), 0);
    const encoded = Buffer.allocUnsafe(HEAD + segments.length * SEGMENT + own * PAGE);
    let at = encoded.writeUInt32BE(segments.length);
    let to = HEAD + segments.length * SEGMENT;
    let page = 0;
    for (const { base, count } of segments) {
      at = encoded.writeUInt32BE(base ?? OWN, at);
      at = encoded.writeUInt32BE(count, at);
      if (base === undefined) to += pages.copy(encoded, to, page * PAGE, (page + count) * PAGE);
      page += count;
    }
    return encoded;
  }
}

/** Reads the base's bytes from `at` on into all of `into`; returns how many there were. */
export type ReadInto = (into: Buffer, at: number) => number;

/** The piece again, in `room`, which a piece fits into. Throws when the encoding or the base is not what it says. */
export const decode = (encoded: Buffer, room: Buffer, read: ReadInto): Buffer => {
  const number = encoded.length < HEAD ? 0 : encoded.readUInt32BE();
  const own = HEAD + number * SEGMENT;
  if (encoded.length < own) throw new Error('it ended before its last segment');
  let length = 0;
  for (let at = HEAD; at < own; at += SEGMENT) length += encoded.readUInt32BE(at + 4) * PAGE;
  if (length > room.length) throw new Error('a piece is too large');
  const pages = room.subarray(0, length);
  let to = 0;
  let from = own;
  for (let at = HEAD; at < own; at += SEGMENT) {
    const base = encoded.readUInt32BE(at);
    const into = pages.subarray(to, to + encoded.readUInt32BE(at + 4) * PAGE);
    const got = base === OWN ? encoded.copy(into, 0, from) : read(into, base * PAGE);
    if (got !== into.length) throw new Error('a page is missing');
    if (base === OWN) from += got;
    to += got;
  }
  if (from !== encoded.length) throw new Error('more than its pages');
  return pages;
};
