/** The archives krew takes: the same files give the same bytes, wherever and whenever they are packed. */
import { createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { type Zippable, zipSync } from 'fflate';
import tar from 'tar-stream';

export interface Entry {
  /** In the archive. */
  readonly name: string;
  readonly path: string;
  readonly mode: 0o644 | 0o755;
}

const writeTarGz = async (to: string, entries: readonly Entry[]): Promise<void> => {
  const pack = tar.pack();
  for (const { name, path, mode } of entries) pack.entry({ name, mode, mtime: new Date(0) }, readFileSync(path));
  pack.finalize();
  // zlib writes no time into its header.
  await pipeline(pack, createGzip(), createWriteStream(to));
};

/** Attributes as of Unix: Windows has no use for them, but krew sets the modes of what it unpacks. */
const UNIX = 3;

const writeZip = (to: string, entries: readonly Entry[]): void => {
  const files: Zippable = {};
  for (const { name, path, mode } of entries) {
    // Times in a zip are local, and begin with 1980: a local time is the same bytes in every time zone.
    files[name] = [readFileSync(path), { mtime: new Date(1980, 0, 1), os: UNIX, attrs: mode << 16 }];
  }
  writeFileSync(to, zipSync(files));
};

/** A zip or a tar.gz, by the name's end. */
export const writeArchive = async (to: string, entries: readonly Entry[]): Promise<void> =>
  to.endsWith('.zip') ? writeZip(to, entries) : writeTarGz(to, entries);
