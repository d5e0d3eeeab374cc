/**
 * The ad hoc signature of a Mach-O executable, as Apple's linker makes it: without one, macOS on arm64 kills what it is to run.
 * It proves nothing of the origin: it is the digests of the file's pages. `node --build-sea` removes the signature the binary
 * had; Apple's codesign, which would make another, runs on macOS only.
 *
 * Source of the layouts: xnu, EXTERNAL_HEADERS/mach-o/loader.h and osfmk/kern/cs_blobs.h; the signature is in big-endian order.
 */
import { createHash } from 'node:crypto';
import { ShadowError } from '../../webhook/api/errors.ts';

const MAGIC_64 = 0xfeedfacf;
const HEADER = 32;
const LC_SEGMENT_64 = 0x19;
const LC_CODE_SIGNATURE = 0x1d;
const LC_CODE_SIGNATURE_SIZE = 16;

const SUPER_BLOB = 0xfade0cc0;
const CODE_DIRECTORY = 0xfade0c02;
const SUPER_BLOB_HEADER = 20;
const CODE_DIRECTORY_HEADER = 88;
/** The first with the limits of the executable segment. */
const CODE_DIRECTORY_VERSION = 0x20400;
const ADHOC = 0x2;
/** codesign replaces such a signature without being forced to. */
const LINKER_SIGNED = 0x20000;
const SHA256 = 2;
const DIGEST = 32;
const MAIN_BINARY = 1n;
const PAGE_BITS = 12;
const PAGE = 1 << PAGE_BITS;
/** Pages of arm64: what sizes in memory are multiples of. */
const MEMORY_PAGE = 16_384n;

const bad = (detail: string): ShadowError => new ShadowError('SHADOW_E_BUILD', `the Mach-O file ${detail}`);
const aligned = (value: number, to: number): number => Math.ceil(value / to) * to;

interface LoadCommand {
  readonly at: number;
  readonly kind: number;
  readonly size: number;
}

const loadCommands = (file: Buffer): LoadCommand[] => {
  if (file.length < HEADER || file.readUInt32LE(0) !== MAGIC_64) throw bad('is none of 64 bits');
  const commands: LoadCommand[] = [];
  let at = HEADER;
  for (let left = file.readUInt32LE(16); left > 0; left--) {
    const command = { at, kind: file.readUInt32LE(at), size: file.readUInt32LE(at + 4) };
    commands.push(command);
    at += command.size;
  }
  return commands;
};

const segmentNamed = (file: Buffer, commands: readonly LoadCommand[], name: string): number => {
  const found = commands.find(
    ({ at, kind }) => kind === LC_SEGMENT_64 && file.toString('latin1', at + 8, at + 24).replace(/\0+$/, '') === name,
  );
  if (!found) throw bad(`has no segment ${name}`);
  return found.at;
};

const signatureOf = (code: Buffer, identifier: string, text: { offset: bigint; size: bigint }): Buffer => {
  const pages = Math.ceil(code.length / PAGE);
  const hashes = CODE_DIRECTORY_HEADER + identifier.length + 1;
  const length = hashes + pages * DIGEST;
  const blob = Buffer.alloc(SUPER_BLOB_HEADER + length);
  const words = (at: number, values: readonly number[]): void => {
    values.forEach((value, index) => {
      blob.writeUInt32BE(value, at + 4 * index);
    });
  };
  words(0, [SUPER_BLOB, blob.length, 1, 0, SUPER_BLOB_HEADER]);
  const directory = blob.subarray(SUPER_BLOB_HEADER);
  words(SUPER_BLOB_HEADER, [CODE_DIRECTORY, length, CODE_DIRECTORY_VERSION, ADHOC | LINKER_SIGNED, hashes]);
  words(SUPER_BLOB_HEADER + 20, [CODE_DIRECTORY_HEADER, 0, pages, code.length]);
  directory.set([DIGEST, SHA256, 0, PAGE_BITS], 36);
  directory.writeBigUInt64BE(text.offset, 64);
  directory.writeBigUInt64BE(text.size, 72);
  directory.writeBigUInt64BE(MAIN_BINARY, 80);
  directory.write(identifier, CODE_DIRECTORY_HEADER, 'latin1');
  for (let page = 0; page < pages; page++) {
    const digest = createHash('sha256')
      .update(code.subarray(page * PAGE, (page + 1) * PAGE))
      .digest();
    directory.set(digest, hashes + page * DIGEST);
  }
  return blob;
};

/** Bytes the signature of `size` bytes of code takes. */
const signatureSize = (size: number, identifier: string): number =>
  SUPER_BLOB_HEADER + CODE_DIRECTORY_HEADER + identifier.length + 1 + Math.ceil(size / PAGE) * DIGEST;

/** Where a new load command goes: behind the others, if there is room before the first section. */
const roomFor = (file: Buffer, commands: readonly LoadCommand[]): number => {
  const last = commands.at(-1);
  const end = last ? last.at + last.size : HEADER;
  if (file.subarray(end, end + LC_CODE_SIGNATURE_SIZE).some((byte) => byte !== 0))
    throw bad('has no room for another load command');
  return end;
};

/**
 * The file with a signature; it must have none, be of one architecture and end with __LINKEDIT. `identifier`: the name the
 * signature gives it, in ASCII. Throws SHADOW_E_BUILD.
 */
export const adHocSigned = (unsigned: Buffer, identifier: string): Buffer => {
  const commands = loadCommands(unsigned);
  if (commands.some(({ kind }) => kind === LC_CODE_SIGNATURE)) throw bad('is signed already');
  const linkedit = segmentNamed(unsigned, commands, '__LINKEDIT');
  const text = segmentNamed(unsigned, commands, '__TEXT');
  const from = Number(unsigned.readBigUInt64LE(linkedit + 40));
  if (from + Number(unsigned.readBigUInt64LE(linkedit + 48)) !== unsigned.length)
    throw bad('does not end with __LINKEDIT');

  const code = Buffer.alloc(aligned(unsigned.length, 16));
  unsigned.copy(code);
  const size = signatureSize(code.length, identifier);
  const at = roomFor(unsigned, commands);
  [LC_CODE_SIGNATURE, LC_CODE_SIGNATURE_SIZE, code.length, size].forEach((value, index) => {
    code.writeUInt32LE(value, at + 4 * index);
  });
  code.writeUInt32LE(commands.length + 1, 16);
  code.writeUInt32LE(unsigned.readUInt32LE(20) + LC_CODE_SIGNATURE_SIZE, 20);
  const inFile = BigInt(code.length + size - from);
  code.writeBigUInt64LE(((inFile + MEMORY_PAGE - 1n) / MEMORY_PAGE) * MEMORY_PAGE, linkedit + 32);
  code.writeBigUInt64LE(inFile, linkedit + 48);

  const limits = { offset: code.readBigUInt64LE(text + 40), size: code.readBigUInt64LE(text + 48) };
  return Buffer.concat([code, signatureOf(code, identifier, limits)]);
};
