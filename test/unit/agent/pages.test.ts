/** Pages as segments of a base: whatever they are, and however they arrive, the file comes out as it was. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ownRanges, ownRuns, PAGE } from '../../../webhook/agent/memory.ts';
import { decode as decodeInto, PageIndex, PIECE, type ReadInto } from '../../../webhook/agent/pages.ts';
import { Assembly, piecesOf } from '../../../webhook/agent/pieces.ts';

/** Few different pages, so that they repeat. */
const pages = fc
  .array(fc.integer({ min: 0, max: 9 }), { maxLength: 40 })
  .map((kinds) => Buffer.concat(kinds.map((kind) => Buffer.alloc(PAGE, kind))));
const readerOf =
  (bytes: Buffer): ReadInto =>
  (into, at) =>
    bytes.copy(into, 0, at);

const decode = (encoded: Buffer, read: ReadInto): Buffer => decodeInto(encoded, Buffer.alloc(PIECE), read);
const indexOf = (base: Buffer, split = 0): PageIndex => {
  const index = new PageIndex();
  index.add(base.subarray(0, split * PAGE));
  index.add(base.subarray(split * PAGE));
  return index;
};
const encode = (base: Buffer, file: Buffer, split = 0): Buffer => indexOf(base, split).encode(file);

describe('segments', () => {
  test('make the pages again', () =>
    fc.assert(
      fc.property(pages, pages, fc.nat(40), (base, file, split) => {
        expect(decode(encode(base, file, split), readerOf(base)).equals(file)).toBe(true);
      }),
      { numRuns: 60 },
    ));

  test('hold no page that the base has', () => {
    const base = Buffer.concat([1, 2, 3].map((kind) => Buffer.alloc(PAGE, kind)));
    const file = Buffer.concat([2, 3, 7, 1].map((kind) => Buffer.alloc(PAGE, kind)));
    expect(encode(base, file).length).toBe(4 + 3 * 8 + PAGE);
  });

  test('tell pages apart that differ in one bit, wherever it is', () => {
    const page = randomBytes(PAGE);
    for (let bit = 0; bit < PAGE * 8; bit += 37) {
      const other = Buffer.from(page);
      other[bit >> 3]! ^= 1 << (bit & 7);
      expect(decode(encode(page, other), readerOf(page)).equals(other)).toBe(true);
    }
  });

  test('tell pages apart that have half of their bytes in common', () => {
    const half = Buffer.alloc(PAGE / 2);
    const kinds = Array.from({ length: 6000 }, () => randomBytes(PAGE / 2));
    for (const join of [(own: Buffer) => [half, own], (own: Buffer) => [own, half]]) {
      const file = Buffer.concat(kinds.flatMap(join));
      const index = indexOf(file);
      // One segment a piece: no page is taken for another.
      for (let at = 0; at < file.length; at += PIECE)
        expect(index.encode(file.subarray(at, at + PIECE)).length).toBe(12);
    }
  });

  test('are the same wherever in memory a page lies', () => {
    const page = randomBytes(PAGE);
    const shifted = Buffer.concat([Buffer.alloc(1), page]).subarray(1);
    expect(encode(page, shifted).length).toBe(12);
  });

  test('cut short, too many, or of a base that is shorter, are an error', () => {
    const base = Buffer.alloc(2 * PAGE, 1);
    const bytes = encode(base, Buffer.concat([base, Buffer.alloc(PAGE, 2)]));
    expect(() => decode(bytes.subarray(0, -1), readerOf(base))).toThrow('a page is missing');
    expect(() => decode(Buffer.concat([bytes, Buffer.alloc(1)]), readerOf(base))).toThrow('more than its pages');
    expect(() => decode(bytes.subarray(0, 10), readerOf(base))).toThrow('before its last segment');
    expect(() => decode(Buffer.alloc(0), readerOf(base))).toThrow('before its last segment');
    expect(() => decode(bytes, readerOf(base.subarray(0, 100)))).toThrow('a page is missing');
    const bomb = Buffer.from(bytes);
    bomb.writeUInt32BE(0xffff_fff0, 8);
    expect(() => decode(bomb, readerOf(base))).toThrow('too large');
  });
});

describe('a file by pieces', () => {
  const travel = async (size: number, damage: (bytes: Buffer) => void) => {
    const dir = mkdtempSync(join(tmpdir(), 'pieces-'));
    try {
      const base = randomBytes(size - PAGE);
      const file = Buffer.concat([base.subarray(PAGE), randomBytes(2 * PAGE)]);
      const index = indexOf(base);
      damage(base);
      writeFileSync(join(dir, 'base'), base);
      writeFileSync(join(dir, 'from'), file);
      const assembly = await Assembly.begin('to', join(dir, 'to'), join(dir, 'base'));
      const pieces = piecesOf(join(dir, 'from'), file.length, index);
      let next = await pieces.next();
      for (; !next.done; next = await pieces.next()) await assembly.add(Readable.from([next.value]), next.value.length);
      return { sent: next.value, got: await assembly.end(), to: readFileSync(join(dir, 'to')), file };
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  };
  const digestOf = (bytes: Buffer) => ({
    size: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  });

  test('arrives as it was, and both ends prove the whole of it', async () => {
    for (const size of [2 * PAGE, PIECE, PIECE + PAGE, 2 * PIECE + 3 * PAGE]) {
      const { sent, got, to, file } = await travel(size, () => undefined);
      expect(to.equals(file)).toBe(true);
      expect(sent).toEqual(digestOf(file));
      expect(got).toEqual(sent);
    }
  });

  test('made of a base that is not what it was is not proven', async () => {
    const { sent, got, to, file } = await travel(2 * PIECE, (base) => base.writeUInt8(base[PIECE + 5]! ^ 1, PIECE + 5));
    expect(to.equals(file)).toBe(false);
    expect(got).toEqual(digestOf(to));
    expect(got).not.toEqual(sent);
  });
});

describe('the pages of a process', () => {
  test('are those of mappings that hold some of its own', () => {
    const smaps = [
      '55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]',
      'Size:                132 kB',
      'Anonymous:            64 kB',
      '7f0000000000-7f0000001000 r--p 00000000 fd:00 77                         /lib/x.so',
      'Anonymous:             0 kB',
      'ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]',
      'Anonymous:             4 kB',
    ];
    expect(ownRanges(smaps.join('\n'))).toEqual([{ start: 0x55d0c0000000, end: 0x55d0c0021000 }]);
  });

  test('come in runs, without those of files and those that are not there', () => {
    const entry = (flags: number): number[] => [0, 0, 0, 0, 0, 0, 0, flags];
    const entries = Buffer.from([0x80, 0x81, 0xa0, 0x00, 0x40, 0x80].flatMap(entry));
    expect(ownRuns(entries, 100)).toEqual([
      { first: 100, count: 2 },
      { first: 105, count: 1 },
    ]);
  });
});
