/**
 * A file of pages on its way by pieces (see pages.ts): while one is read or written, the one before is looked at. What the target
 * has put together is digested as a whole, wherever its pages came from.
 */
import { createHash, type Hash } from 'node:crypto';
import { readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { decode, ENCODED_LIMIT, type PageIndex, PIECE, type ReadInto } from './pages.ts';

/** Of the file that the pieces stand for. */
export interface Digest {
  readonly size: number;
  readonly sha256: string;
}

/** Rooms for two pieces, by turns: new ones for each cost more than what is done with them. */
const rooms = (): (() => Buffer) => {
  const [one, other] = [Buffer.allocUnsafeSlow(PIECE), Buffer.allocUnsafeSlow(PIECE)];
  let turn = false;
  return () => {
    turn = !turn;
    return turn ? one : other;
  };
};

const readWhole = async (file: FileHandle, at: number, bytes: Buffer): Promise<Buffer> => {
  const { length } = bytes;
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, at + done);
    if (bytesRead === 0) throw new Error('a file became shorter');
    done += bytesRead;
  }
  return bytes;
};

/** Its pieces, encoded, one after the other; the digest at the end. `size`: whole pages. */
export async function* piecesOf(path: string, size: number, index: PageIndex): AsyncGenerator<Buffer, Digest> {
  const file = await open(path);
  try {
    const hash = createHash('sha256');
    const room = rooms();
    const read = (at: number): Promise<Buffer> => {
      const reading = readWhole(file, at, room().subarray(0, Math.min(PIECE, size - at)));
      reading.catch(() => undefined);
      return reading;
    };
    let reading = read(0);
    for (let at = 0; at < size; at += PIECE) {
      const piece = await reading;
      if (at + PIECE < size) reading = read(at + PIECE);
      hash.update(piece);
      yield index.encode(piece);
    }
    await reading;
    return { size, sha256: hash.digest('hex') };
  } finally {
    await file.close();
  }
}

/** The target's end: a file that grows by pieces. */
export class Assembly {
  readonly path: string;
  private readonly into: FileHandle;
  private readonly base: FileHandle;
  private readonly hash: Hash = createHash('sha256');
  private readonly room = rooms();
  private readonly travelling = Buffer.allocUnsafeSlow(ENCODED_LIMIT);
  private size = 0;
  private writing: Promise<void> = Promise.resolve();

  private constructor(path: string, into: FileHandle, base: FileHandle) {
    this.path = path;
    this.into = into;
    this.base = base;
  }

  /** `path`: its name in the archive. */
  static async begin(path: string, file: string, base: string): Promise<Assembly> {
    const from = await open(base);
    try {
      return new Assembly(path, await open(file, 'wx', 0o600), from);
    } catch (error) {
      await from.close();
      throw error;
    }
  }

  /** Segments are many and short, and were written a moment ago: asking for each by the event loop takes longer than to read it. */
  private readonly read: ReadInto = (into, at) => {
    let done = 0;
    for (let got = -1; got !== 0 && done < into.length; done += got)
      got = readSync(this.base.fd, into, done, into.length - done, at + done);
    return done;
  };

  /** One more piece, of `size` bytes as it travels. */
  async add(content: AsyncIterable<Buffer>, size: number): Promise<void> {
    if (size > ENCODED_LIMIT) throw new Error('a piece is too large');
    let length = 0;
    for await (const chunk of content) length += chunk.copy(this.travelling, length);
    // Of the two rooms one is being written, and that one was before.
    const pages = decode(this.travelling.subarray(0, length), this.room(), this.read);
    this.hash.update(pages);
    await this.writing;
    this.writing = this.write(pages, this.size);
    this.writing.catch(() => undefined);
    this.size += pages.length;
  }

  private async write(pages: Buffer, at: number): Promise<void> {
    for (let done = 0; done < pages.length; )
      done += (await this.into.write(pages, done, pages.length - done, at + done)).bytesWritten;
  }

  async end(): Promise<Digest> {
    try {
      await this.writing;
    } finally {
      await this.close();
    }
    return { size: this.size, sha256: this.hash.digest('hex') };
  }

  /** Of no use any more. */
  async close(): Promise<void> {
    await this.writing.catch(() => undefined);
    await Promise.all([this.into.close(), this.base.close()]);
  }
}
