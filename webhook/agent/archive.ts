/**
 * What travels from agent to agent: a directory as one tar stream, a digest per file in a manifest that comes last. Files of
 * pages are made of a base where there is one (see precopy.ts); their digests are of the files all the same.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { extract, type Pack, pack } from 'tar-stream';
import * as z from 'zod';
import type { FileEntry } from './files.ts';
import { PAGE } from './memory.ts';
import { Assembly, piecesOf } from './pieces.ts';
import type { Base } from './precopy.ts';

const MANIFEST = '.manifest.json';
const Manifest = z.object({
  files: z.array(z.object({ path: z.string(), size: z.number().int(), sha256: z.string() })),
});
type Manifest = z.infer<typeof Manifest>;
export const Received = z.object({ bytes: z.number(), files: z.number() });
export type Received = z.infer<typeof Received>;

export const filesIn = async (directory: string): Promise<FileEntry[]> => {
  const found: FileEntry[] = [];
  const walk = async (relative: string): Promise<void> => {
    const entries = await readdir(join(directory, relative), { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = relative === '' ? entry.name : `${relative}/${entry.name}`;
      if (entry.isDirectory()) await walk(path);
      else if (entry.isFile()) found.push({ path, size: (await stat(join(directory, path))).size });
    }
  };
  await walk('');
  return found;
};

/** Of an entry that holds a piece of a file of pages (others follow, under the same name): the base it is made of. */
const BASE_MARK = 'SHADOW.base';
const PAGES = /(^|\/)pages-\d+\.img$/;

export const total = (files: readonly { size: number }[]): Received => ({
  bytes: files.reduce((sum, { size }) => sum + size, 0),
  files: files.length,
});

export const bytesIn = async (directory: string): Promise<number> => total(await filesIn(directory)).bytes;

/** Plain relative paths only: what arrives can't be written outside of its directory. */
export const isSafePath = (path: string): boolean =>
  path !== '' && !path.includes('\0') && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..');

/** What the manifest and the received files disagree in; undefined: nothing. Pure. */
export const disagreement = (manifest: Manifest, received: Manifest['files']): string | undefined => {
  const got = new Map(received.map((file) => [file.path, file]));
  for (const file of manifest.files) {
    const own = got.get(file.path);
    if (own === undefined) return `${file.path} is missing`;
    if (own.size !== file.size || own.sha256 !== file.sha256) return `${file.path} was damaged on the way`;
    got.delete(file.path);
  }
  const [surplus] = got.keys();
  return surplus === undefined ? undefined : `${surplus} is not in the manifest`;
};

const CHUNK = 1 << 20;

/** Counts and hashes what passes through. */
const hashing = () => {
  const hash = createHash('sha256');
  let size = 0;
  return {
    async *through(source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        hash.update(chunk);
        size += chunk.length;
        yield chunk;
      }
    },
    digest: () => ({ size, sha256: hash.digest('hex') }),
  };
};

/** TLS hands over pieces of 16 KiB, and every stage behind it costs by the piece: an app waits for all of them. */
const gather = (): Transform => {
  let pieces: Buffer[] = [];
  let bytes = 0;
  const flush = (to: Transform): void => {
    if (bytes > 0) to.push(Buffer.concat(pieces, bytes));
    pieces = [];
    bytes = 0;
  };
  return new Transform({
    highWaterMark: 4 * CHUNK,
    transform(piece: Buffer, _encoding, done) {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes >= CHUNK) flush(this);
      done();
    },
    flush(done) {
      flush(this);
      done();
    },
  });
};

type Entry = Manifest['files'][number];

/** The same bytes whenever it is packed: an image is told by its digest. */
const MTIME = new Date(0);

export interface PackOptions {
  /** Pages that the receiver has already. */
  base?: Base | undefined;
  /** An entry of so many bytes goes. */
  entered?: (bytes: number) => void;
}

/** Up to here a file is read and written in one go: a checkpoint has many such, and each stage costs by the file. */
const SMALL = 256 << 10;

const digestOf = (content: Buffer): Omit<Entry, 'path'> => ({
  size: content.length,
  sha256: createHash('sha256').update(content).digest('hex'),
});

const packSmall = (archive: Pack, content: Buffer, path: string): Entry => {
  archive.entry({ name: path, mode: 0o600, mtime: MTIME }, content);
  return { path, ...digestOf(content) };
};

const packWhole = async (archive: Pack, file: string, { path, size }: FileEntry): Promise<Entry> => {
  const entry = archive.entry({ name: path, size, mode: 0o600, mtime: MTIME });
  const { through, digest } = hashing();
  await pipeline(createReadStream(file, { highWaterMark: CHUNK }), through, entry);
  return { path, ...digest() };
};

/** By pieces; the manifest tells of the file they make. */
const packPages = async (
  archive: Pack,
  file: string,
  { path, size }: FileEntry,
  { base, entered }: { base: Base; entered: (bytes: number) => void },
): Promise<Entry> => {
  const pieces = piecesOf(file, size, base.index);
  for (;;) {
    const { value, done } = await pieces.next();
    if (done) return { path, ...value };
    const entry = archive.entry({ name: path, size: value.length, mode: 0o600, pax: { [BASE_MARK]: base.id } });
    entered(value.length);
    await pipeline([value], entry);
  }
};

/** The directory's files as a tar stream, the manifest last. Never more than a few chunks in memory. */
export const packed = (directory: string, files: readonly FileEntry[], options: PackOptions = {}): Readable => {
  const { base, entered = () => undefined } = options;
  const archive = pack();
  const fill = async (): Promise<void> => {
    const manifest: Manifest = { files: [] };
    const small = files.filter(({ size }) => size <= SMALL);
    const contents = await Promise.all(small.map(({ path }) => readFile(join(directory, path))));
    for (const [index, { path }] of small.entries()) {
      manifest.files.push(packSmall(archive, contents[index]!, path));
      entered(contents[index]!.length);
    }
    for (const file of files.filter(({ size }) => size > SMALL)) {
      const path = join(directory, file.path);
      const paged = base !== undefined && PAGES.test(file.path) && file.size % PAGE === 0;
      const entry = paged ? packPages(archive, path, file, { base, entered }) : packWhole(archive, path, file);
      manifest.files.push(await entry);
      if (!paged) entered(file.size);
    }
    archive.entry({ name: MANIFEST, mtime: MTIME }, JSON.stringify(manifest));
    archive.finalize();
  };
  fill().catch((error: unknown) => archive.destroy(error instanceof Error ? error : new Error(String(error))));
  return archive as unknown as Readable;
};

interface Incoming {
  readonly size: number;
  readonly content: AsyncIterable<Buffer>;
}

/** Writes one entry, and says what was written; `later`: writes that need not be waited for one by one. */
const unpackEntry = async (
  { size, content }: Incoming,
  file: string,
  later: Promise<void>[],
): Promise<Omit<Entry, 'path'>> => {
  if (size <= SMALL) {
    const whole = await buffer(content);
    const written = writeFile(file, whole, { flag: 'wx', mode: 0o600 });
    written.catch(() => undefined);
    later.push(written);
    return digestOf(whole);
  }
  const { through, digest } = hashing();
  await pipeline(content, through, createWriteStream(file, { flags: 'wx', mode: 0o600 }));
  return digest();
};

/** What has been unpacked so far. */
class Unpacking {
  readonly files: Manifest['files'] = [];
  private readonly into: string;
  private readonly baseOf: (id: string) => string;
  private readonly made = new Set<string>();
  private readonly later: Promise<void>[] = [];
  /** The file that more pieces may follow of. */
  private assembly: Assembly | undefined;

  constructor(into: string, baseOf: (id: string) => string) {
    this.into = into;
    this.baseOf = baseOf;
  }

  async take(name: string, incoming: Incoming, base: string | undefined): Promise<void> {
    if (this.assembly?.path !== name || base === undefined) await this.assembled();
    const file = join(this.into, name);
    const directory = dirname(file);
    if (!this.made.has(directory)) await mkdir(directory, { recursive: true, mode: 0o700 });
    this.made.add(directory);
    if (base === undefined) this.files.push({ path: name, ...(await unpackEntry(incoming, file, this.later)) });
    else {
      this.assembly ??= await Assembly.begin(name, file, this.baseOf(base));
      await this.assembly.add(incoming.content, incoming.size);
    }
  }

  private async assembled(): Promise<void> {
    const { assembly } = this;
    this.assembly = undefined;
    if (assembly) this.files.push({ path: assembly.path, ...(await assembly.end()) });
  }

  async end(): Promise<void> {
    await this.assembled();
    await Promise.all(this.later);
  }

  /** After a failure, too. */
  async close(): Promise<void> {
    await this.assembly?.close();
    await Promise.allSettled(this.later);
  }
}

/** Every file of the archive under `into`, or a rejection. */
export const unpackInto = async (input: Readable, into: string, baseOf: (id: string) => string): Promise<Received> => {
  const unpack = extract();
  const unpacking = new Unpacking(into, baseOf);
  let manifest: Manifest | undefined;
  const reading = pipeline(input, gather(), unpack as unknown as NodeJS.WritableStream);
  // Awaited below; until then a failed stream must not count as unhandled.
  reading.catch(() => undefined);
  try {
    for await (const entry of unpack) {
      const { name, size = 0, type, pax } = entry.header;
      if (name === MANIFEST) {
        manifest = Manifest.parse(JSON.parse((await buffer(entry as unknown as Readable)).toString()));
        continue;
      }
      if (!isSafePath(name) || type !== 'file') throw new Error(`unexpected entry ${name}`);
      const content = entry as unknown as AsyncIterable<Buffer>;
      await unpacking.take(name, { size: size ?? 0, content }, (pax as Record<string, string> | null)?.[BASE_MARK]);
    }
    await reading;
    await unpacking.end();
  } finally {
    await unpacking.close();
  }
  const { files } = unpacking;
  if (manifest === undefined) throw new Error('it ended before its manifest');
  const wrong = disagreement(manifest, files);
  if (wrong !== undefined) throw new Error(wrong);
  return total(files);
};
