/**
 * Agent to agent: one tar over mTLS, streamed, a digest per file in a manifest that comes last. The receiver keeps all of it
 * apart until the manifest agrees with what it wrote, then moves it into place; a part is never usable.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { extract, pack } from 'tar-stream';
import * as z from 'zod';
import { asShadowError, ShadowError } from '../api/errors.ts';
import { CLAIM_FILE, staged } from './claims.ts';
import { type FileEntry, namesIn, removeTree, writeWhole } from './files.ts';
import { type Node, textOf } from './node.ts';

const MANIFEST = '.manifest.json';
const INCOMING = '.incoming-';
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

const total = (files: readonly { size: number }[]): Received => ({
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

/** The directory's files as a tar stream, the manifest last. Never more than a few chunks in memory. */
export const packed = (directory: string, files: readonly FileEntry[]): Readable => {
  const archive = pack();
  const fill = async (): Promise<void> => {
    const manifest: Manifest = { files: [] };
    for (const { path, size } of files) {
      const entry = archive.entry({ name: path, size, mode: 0o600 });
      const { through, digest } = hashing();
      await pipeline(createReadStream(join(directory, path), { highWaterMark: CHUNK }), through, entry);
      manifest.files.push({ path, ...digest() });
    }
    archive.entry({ name: MANIFEST }, JSON.stringify(manifest));
    archive.finalize();
  };
  fill().catch((error: unknown) => archive.destroy(error instanceof Error ? error : new Error(String(error))));
  return archive as unknown as Readable;
};

/** Moves what was received into the claim directory and marks it: `restore` asks for the mark. */
const place = async (node: Node, claim: string, from: string, summary: Received): Promise<void> => {
  const directory = node.at(staged(node, claim));
  for (const name of await namesIn(from)) {
    await rm(join(directory, name), { recursive: true, force: true });
    await rename(join(from, name), join(directory, name));
  }
  await writeWhole(join(directory, CLAIM_FILE.received), JSON.stringify(summary));
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

const unpackInto = async (input: Readable, into: string): Promise<Received> => {
  const unpack = extract();
  const files: Manifest['files'] = [];
  let manifest: Manifest | undefined;
  const reading = pipeline(input, gather(), unpack as unknown as NodeJS.WritableStream);
  // Awaited below; until then a failed stream must not count as unhandled.
  reading.catch(() => undefined);
  for await (const entry of unpack) {
    const { name } = entry.header;
    if (name === MANIFEST) {
      manifest = Manifest.parse(JSON.parse((await buffer(entry as unknown as Readable)).toString()));
      continue;
    }
    if (!isSafePath(name) || entry.header.type !== 'file') throw new Error(`unexpected entry ${name}`);
    await mkdir(dirname(join(into, name)), { recursive: true, mode: 0o700 });
    const { through, digest } = hashing();
    const file = createWriteStream(join(into, name), { flags: 'wx', mode: 0o600 });
    await pipeline(entry as unknown as Readable, through, file);
    files.push({ path: name, ...digest() });
  }
  await reading;
  if (manifest === undefined) throw new Error('it ended before its manifest');
  const wrong = disagreement(manifest, files);
  if (wrong !== undefined) throw new Error(wrong);
  return total(files);
};

const requirePrepared = async (node: Node, claim: string): Promise<void> => {
  if (!(await namesIn(node.at(staged(node, claim)))).includes(CLAIM_FILE.attempt))
    throw new ShadowError('SHADOW_E_CLAIM', `claim ${claim} is not prepared on this node`);
};

/** `rehearsal`: verified and thrown away. */
export const receive = async (
  node: Node,
  claim: string,
  input: Readable,
  use: 'checkpoint' | 'rehearsal',
): Promise<Received> => {
  await requirePrepared(node, claim);
  const incoming = join(node.at(staged(node, claim)), `${INCOMING}${randomBytes(6).toString('hex')}`);
  await mkdir(incoming, { mode: 0o700 });
  try {
    const summary = await unpackInto(input, incoming);
    if (use === 'checkpoint') await place(node, claim, incoming, summary);
    return summary;
  } catch (error) {
    throw asShadowError(error, 'SHADOW_E_TRANSFER');
  } finally {
    await removeTree(incoming);
  }
};

/** Same node: nothing travels. Asked again after the move, it answers the same. */
export const moveHere = async (node: Node, claim: string, images: string): Promise<Received> => {
  await requirePrepared(node, claim);
  const there = (await namesIn(node.at(images))).length > 0;
  const mark = await textOf(join(node.at(staged(node, claim)), CLAIM_FILE.received));
  if (!there && mark !== undefined) return Received.parse(JSON.parse(mark));
  if (!there) throw new ShadowError('SHADOW_E_TRANSFER', `claim ${claim} has no checkpoint`);
  const summary = total(await filesIn(node.at(images)));
  await place(node, claim, node.at(images), summary);
  return summary;
};
