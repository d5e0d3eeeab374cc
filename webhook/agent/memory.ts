/**
 * A running process's own pages: what a dump of it will hold, read while it runs (proc(5): smaps, pagemap, mem). What changes
 * meanwhile is of no use later, and does no harm: whoever uses these pages compares them with the dump's.
 */
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { textOf } from './node.ts';

export const PAGE = 4096;
/** Bytes of a pagemap entry, and of it the bits that make a page the process's own: present (63), not of a file (61). */
const ENTRY = 8;
const PRESENT = 0x80;
const OF_A_FILE = 0x20;
const CHUNK_PAGES = 256;
/** Pagemap entries read at once. */
const WINDOW = 1 << 15;

/** Addresses, bytes; the end is not part of it. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Mappings that hold pages of the process's own. Pure. */
export const ownRanges = (smaps: string): Range[] => {
  const found: Range[] = [];
  let range: Range | undefined;
  for (const line of smaps.split('\n')) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (head) range = { start: Number.parseInt(head[1]!, 16), end: Number.parseInt(head[2]!, 16) };
    else if (range && /^Anonymous: +[1-9]/.test(line) && Number.isSafeInteger(range.end)) found.push(range);
  }
  return found;
};

/** Runs of own pages in one window of a pagemap; `first` is its first page. Pure. */
export const ownRuns = (entries: Buffer, first: number): { first: number; count: number }[] => {
  const runs: { first: number; count: number }[] = [];
  for (let at = 0; at + ENTRY <= entries.length; at += ENTRY) {
    // Little endian: the flags are in the highest byte.
    const flags = entries[at + ENTRY - 1]!;
    if ((flags & PRESENT) === 0 || (flags & OF_A_FILE) !== 0) continue;
    const page = first + at / ENTRY;
    const last = runs.at(-1);
    if (last && last.first + last.count === page && last.count < CHUNK_PAGES) last.count += 1;
    else runs.push({ first: page, count: 1 });
  }
  return runs;
};

/** Bytes of its own that a process holds (proc(5): status); one that has ended: 0. */
export const ownBytes = async (proc: string, pid: number): Promise<number> => {
  const status = (await textOf(join(proc, String(pid), 'status'))) ?? '';
  return 1024 * Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? 0);
};

/** What is there of the bytes asked for: mappings come and go while they are read. */
const readAt = async (file: FileHandle, at: number, bytes: number): Promise<Buffer> => {
  try {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(bytes), 0, bytes, at);
    return buffer.subarray(0, bytesRead);
  } catch {
    return Buffer.alloc(0);
  }
};

/** Whole pages, some hundred at a time. `proc`: where the process's files are. */
export async function* ownPages(proc: string, pid: number): AsyncGenerator<Buffer> {
  const at = join(proc, String(pid));
  const ranges = ownRanges(await readFile(join(at, 'smaps'), 'utf8'));
  const pagemap = await open(join(at, 'pagemap'));
  const memory = await open(join(at, 'mem'));
  try {
    for (const { start, end } of ranges) {
      for (let page = start / PAGE; page < end / PAGE; page += WINDOW) {
        const count = Math.min(WINDOW, end / PAGE - page);
        const entries = await readAt(pagemap, page * ENTRY, count * ENTRY);
        for (const run of ownRuns(entries, page)) {
          const pages = await readAt(memory, run.first * PAGE, run.count * PAGE);
          yield pages.subarray(0, pages.length - (pages.length % PAGE));
        }
      }
    }
  } finally {
    await Promise.all([pagemap.close(), memory.close()]);
  }
}
