/** Reads what a Mach-O executable of 64 bits says of its signature; shares no code with what signs it. */
import { createHash } from 'node:crypto';

export interface Signature {
  /** Offset and length in the file, by the load command. */
  readonly offset: number;
  readonly size: number;
  readonly blob: Buffer;
}

const commandsOf = (file: Buffer): Buffer[] => {
  const commands: Buffer[] = [];
  for (let at = 32, left = file.readUInt32LE(16); left > 0; left--) {
    const command = file.subarray(at, at + file.readUInt32LE(at + 4));
    commands.push(command);
    at += command.length;
  }
  return commands;
};

export const segmentsOf = (file: Buffer): { name: string; from: number; to: number }[] =>
  commandsOf(file)
    .filter((command) => command.readUInt32LE(0) === 0x19)
    .map((command) => {
      const from = Number(command.readBigUInt64LE(40));
      return {
        name: command.toString('latin1', 8, 24).replace(/\0/g, ''),
        from,
        to: from + Number(command.readBigUInt64LE(48)),
      };
    });

export const signatureOf = (file: Buffer): Signature | undefined => {
  const command = commandsOf(file).find((each) => each.readUInt32LE(0) === 0x1d);
  if (!command) return undefined;
  const [offset, size] = [command.readUInt32LE(8), command.readUInt32LE(12)];
  return { offset, size, blob: file.subarray(offset, offset + size) };
};

/** The first page whose digest is not the one signed; undefined: all are. Throws what a kernel would refuse. */
export const brokenPage = (file: Buffer): number | undefined => {
  const signature = signatureOf(file);
  if (!signature) throw new Error('no signature');
  const { blob, offset } = signature;
  if (blob.readUInt32BE(0) !== 0xfade0cc0) throw new Error('no signature where the load command says');
  const directory = blob.subarray(blob.readUInt32BE(16));
  if (directory.readUInt32BE(0) !== 0xfade0c02) throw new Error('no code directory');
  if (directory.readUInt32BE(32) !== offset) throw new Error('not all of the code is signed');
  const [hashes, pages] = [directory.readUInt32BE(16), directory.readUInt32BE(28)];
  for (let page = 0; page < pages; page++) {
    const code = file.subarray(page * 4096, Math.min((page + 1) * 4096, offset));
    const digest = createHash('sha256').update(code).digest();
    if (!digest.equals(directory.subarray(hashes + 32 * page, hashes + 32 * (page + 1)))) return page;
  }
  return pages === Math.ceil(offset / 4096) ? undefined : pages;
};
