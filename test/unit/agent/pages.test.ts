/** Pages as segments of a base: whatever they are, and however they arrive, the file comes out as it was. */
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ownRanges, ownRuns, PAGE } from '../../../webhook/agent/memory.ts';
import { decoded, encoded, encodedSize, PageIndex, type ReadAt, type Segment } from '../../../webhook/agent/pages.ts';

/** Few different pages, so that they repeat. */
const pages = fc
  .array(fc.integer({ min: 0, max: 9 }), { maxLength: 40 })
  .map((kinds) => Buffer.concat(kinds.map((kind) => Buffer.alloc(PAGE, kind))));
const readerOf =
  (bytes: Buffer): ReadAt =>
  async (at, length) =>
    bytes.subarray(at, at + length);
const cut = (bytes: Buffer, size: number): Readable =>
  Readable.from(
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => bytes.subarray(n * size, (n + 1) * size)),
  );

const encode = async (base: Buffer, file: Buffer, split: number): Promise<Buffer> => {
  const index = new PageIndex();
  index.add(base.subarray(0, split * PAGE));
  index.add(base.subarray(split * PAGE));
  const segments: Segment[] = [];
  index.segment(file.subarray(0, split * PAGE), segments);
  index.segment(file.subarray(split * PAGE), segments);
  const bytes = await buffer(Readable.from(encoded(segments, readerOf(file))));
  expect(bytes.length).toBe(encodedSize(segments));
  return bytes;
};

describe('segments', () => {
  test('make the file again, cut anywhere on the way', () =>
    fc.assert(
      fc.asyncProperty(pages, pages, fc.nat(40), fc.integer({ min: 1, max: 9000 }), async (base, file, split, size) => {
        const bytes = await encode(base, file, split);
        expect((await buffer(Readable.from(decoded(cut(bytes, size), readerOf(base))))).equals(file)).toBe(true);
      }),
      { numRuns: 60 },
    ));

  test('hold no page that the base has', async () => {
    const base = Buffer.concat([1, 2, 3].map((kind) => Buffer.alloc(PAGE, kind)));
    const file = Buffer.concat([2, 3, 7, 1].map((kind) => Buffer.alloc(PAGE, kind)));
    expect((await encode(base, file, 1)).length).toBe(4 + 3 * 8 + PAGE);
  });

  test('cut short, or of a base that is shorter, are an error', async () => {
    const base = Buffer.alloc(2 * PAGE, 1);
    const bytes = await encode(base, Buffer.concat([base, Buffer.alloc(PAGE, 2)]), 1);
    const decode = (input: Buffer, from: Buffer) => buffer(Readable.from(decoded(cut(input, 5000), readerOf(from))));
    await expect(decode(bytes.subarray(0, -1), base)).rejects.toThrow('before its last page');
    await expect(decode(bytes, base.subarray(0, 100))).rejects.toThrow('a page is missing');
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
