/** Our signature beside that of Go's linker, which macOS runs: of the same code both must be the same. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { adHocSigned } from '../../scripts/release/macho.ts';
import { krewTools } from './support/krew.ts';
import { brokenPage, signatureOf } from './support/macho.ts';

let signed: Buffer;
beforeAll(async () => {
  signed = readFileSync(join(await krewTools(), 'sample'));
});

/** As LIEF, and with it `node --build-sea`, takes a signature away: the load command, the bytes, and their part of __LINKEDIT. */
const unsigned = (file: Buffer): Buffer => {
  const { offset, size } = signatureOf(file)!;
  const bare = Buffer.from(file.subarray(0, offset));
  const count = bare.readUInt32LE(16);
  let at = 32;
  for (let left = count; left > 0; left--) {
    const [kind, length] = [bare.readUInt32LE(at), bare.readUInt32LE(at + 4)];
    if (kind === 0x19 && bare.toString('latin1', at + 8, at + 18) === '__LINKEDIT')
      bare.writeBigUInt64LE(bare.readBigUInt64LE(at + 48) - BigInt(size), at + 48);
    // Go's is the last.
    if (kind === 0x1d) bare.fill(0, at, at + length);
    at += length;
  }
  bare.writeUInt32LE(count - 1, 16);
  bare.writeUInt32LE(bare.readUInt32LE(20) - 16, 20);
  return bare;
};

test('is byte for byte the one of the linker', () => {
  expect(brokenPage(signed)).toBeUndefined();
  const ours = adHocSigned(unsigned(signed), 'a.out');
  expect(brokenPage(ours)).toBeUndefined();
  const { offset, blob } = signatureOf(ours)!;
  const directory = offset + blob.readUInt32BE(16);
  const firstPage = directory + ours.readUInt32BE(directory + 16);
  // Go leaves the size of __LINKEDIT in memory odd, where Apple's tools and we make it whole pages: with it the first page is another.
  const sizeInMemory = ours.indexOf('__LINKEDIT\0') + 24;
  ours.set(signed.subarray(sizeInMemory, sizeInMemory + 8), sizeInMemory);
  ours.set(signed.subarray(firstPage, firstPage + 32), firstPage);
  expect(ours.equals(signed)).toBe(true);
});

test('is not made of what is signed, cut short, or no Mach-O file', () => {
  const build = expect.objectContaining({ code: 'SHADOW_E_BUILD' });
  expect(() => adHocSigned(signed, 'a.out')).toThrow(build);
  expect(() => adHocSigned(unsigned(signed).subarray(0, -1), 'a.out')).toThrow(build);
  expect(() => adHocSigned(Buffer.from('#!/bin/sh\n'), 'a.out')).toThrow(build);
});

test('is not put over anything else', () => {
  const full = unsigned(signed);
  // The first byte behind the last load command.
  full[32 + full.readUInt32LE(20)] = 1;
  expect(() => adHocSigned(full, 'a.out')).toThrow(/no room/);
});
