/**
 * Pages that lie at the target already need not travel again. A file of pages becomes a list of segments: pages of the base (the
 * memory sent ahead), named by their place, and pages of its own. That two pages are the same is told by a part of their
 * digest; should it ever lie, the digest of the whole file finds it. Pure, but for the reader that is passed in.
 *
 * Encoded: u32 number of segments; per segment u32 first page in the base (or OWN), u32 count; then the own pages in order.
 */
import { hash } from 'node:crypto';
import { PAGE } from './memory.ts';

const OWN = 0xffff_ffff;
const HEAD = 4;
const SEGMENT = 8;
/** Most pages handed on at once. */
const CHUNK_PAGES = 256;
/** Bytes of a block that is kept, and how many are. */
const BLOCK = 1 << 20;
const BLOCKS = 16;

export interface Segment {
  /** First page in the base; undefined: own pages. */
  readonly base: number | undefined;
  readonly count: number;
}

/** 48 bits of it: as much as a number holds without loss. */
const keyOf = (page: Buffer): number => hash('sha256', page, 'buffer').readUIntBE(0, 6);

const keysOf = (pages: Buffer): number[] => {
  const keys: number[] = [];
  for (let at = 0; at + PAGE <= pages.length; at += PAGE) keys.push(keyOf(pages.subarray(at, at + PAGE)));
  return keys;
};

/** Where the pages of a base are. */
export class PageIndex {
  private readonly places = new Map<number, number>();
  /** Pages of the base. */
  count = 0;

  add(pages: Buffer): void {
    for (const key of keysOf(pages)) {
      if (!this.places.has(key)) this.places.set(key, this.count);
      this.count += 1;
    }
  }

  /** Appends the segments of further pages, growing the last one where they go on from it. */
  segment(pages: Buffer, segments: Segment[]): void {
    for (const key of keysOf(pages)) {
      const base = this.places.get(key);
      const last = segments.at(-1);
      const next = last?.base === undefined ? undefined : last.base + last.count;
      if (last && base === next && (base === undefined) === (last.base === undefined))
        segments[segments.length - 1] = { base: last.base, count: last.count + 1 };
      else segments.push({ base, count: 1 });
    }
  }
}

/** Bytes of the encoding. */
export const encodedSize = (segments: readonly Segment[]): number =>
  segments.reduce((sum, { base, count }) => sum + (base === undefined ? count * PAGE : 0), headSize(segments.length));

const headSize = (segments: number): number => HEAD + segments * SEGMENT;

export const encodeHead = (segments: readonly Segment[]): Buffer => {
  const head = Buffer.alloc(headSize(segments.length));
  head.writeUInt32BE(segments.length);
  for (const [index, { base, count }] of segments.entries()) {
    head.writeUInt32BE(base ?? OWN, HEAD + index * SEGMENT);
    head.writeUInt32BE(count, HEAD + index * SEGMENT + 4);
  }
  return head;
};

/** Bytes [at, at + length) of a file; fewer at its end. */
export type ReadAt = (at: number, length: number) => Promise<Buffer>;

/** Keeps the blocks read last: neighbouring pages are asked for one after the other. */
export const cached = (read: ReadAt): ReadAt => {
  const blocks = new Map<number, Buffer>();
  const blockOf = async (number: number): Promise<Buffer> => {
    const known = blocks.get(number);
    if (known) return known;
    const block = await read(number * BLOCK, BLOCK);
    const oldest = blocks.keys().next();
    if (blocks.size >= BLOCKS && !oldest.done) blocks.delete(oldest.value);
    blocks.set(number, block);
    return block;
  };
  return async (at, length) => {
    const parts: Buffer[] = [];
    for (let from = at; from < at + length; ) {
      const block = await blockOf(Math.floor(from / BLOCK));
      const part = block.subarray(from % BLOCK, (from % BLOCK) + at + length - from);
      if (part.length === 0) break;
      parts.push(part);
      from += part.length;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  };
};

async function* chunks(read: ReadAt, firstPage: number, count: number): AsyncGenerator<Buffer> {
  for (let page = 0; page < count; page += CHUNK_PAGES) {
    const bytes = Math.min(CHUNK_PAGES, count - page) * PAGE;
    const chunk = await read((firstPage + page) * PAGE, bytes);
    if (chunk.length !== bytes) throw new Error('a page is missing');
    yield chunk;
  }
}

/** `file`: whose segments these are. */
export async function* encoded(segments: readonly Segment[], file: ReadAt): AsyncGenerator<Buffer> {
  yield encodeHead(segments);
  const read = cached(file);
  let page = 0;
  for (const { base, count } of segments) {
    if (base === undefined) yield* chunks(read, page, count);
    page += count;
  }
}

/** Takes an exact number of bytes off a stream. */
const taker = (source: AsyncIterable<Buffer>) => {
  const iterator = source[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  return async (length: number): Promise<Buffer> => {
    const parts: Buffer[] = [];
    let missing = length;
    while (missing > 0) {
      if (rest.length === 0) {
        const { value, done } = await iterator.next();
        if (done) throw new Error('it ended before its last page');
        rest = value;
      }
      const part = rest.subarray(0, missing);
      rest = rest.subarray(part.length);
      missing -= part.length;
      parts.push(part);
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  };
};

/** The file again. Throws when the encoding or the base is not what it says. */
export async function* decoded(source: AsyncIterable<Buffer>, baseFile: ReadAt): AsyncGenerator<Buffer> {
  const read = cached(baseFile);
  const take = taker(source);
  const number = (await take(HEAD)).readUInt32BE();
  const head = Buffer.from(await take(number * SEGMENT));
  for (let at = 0; at < head.length; at += SEGMENT) {
    const base = head.readUInt32BE(at);
    const count = head.readUInt32BE(at + 4);
    if (base !== OWN) yield* chunks(read, base, count);
    else
      for (let page = 0; page < count; page += CHUNK_PAGES)
        yield await take(Math.min(CHUNK_PAGES, count - page) * PAGE);
  }
}
