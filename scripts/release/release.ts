/** A release: an archive for each platform, and the manifest krew installs them by. */
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ShadowError } from '../../webhook/api/errors.ts';
import { sweep } from '../playground/build/cache.ts';
import type { Say } from '../playground/build/parts.ts';
import { writeArchive } from './archive.ts';
import { bundlePlugin, fetchNodes, makeExecutable } from './executable.ts';
import { type Built, rendered } from './manifest.ts';
import { archiveOf, executableOf, nameOf, type Platform, REPOSITORY, VERSION } from './platforms.ts';

export interface ReleaseOptions {
  /** Directory; what is in it is replaced. */
  readonly out: string;
  readonly platforms: readonly Platform[];
  readonly say: Say;
}

const sha256Of = async (path: string): Promise<string> => {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
};

/** An executable takes some 500 MB of memory while it is made: no more at a time than there are cores. */
const inTurn = async <T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> => {
  const results: R[] = [];
  const left = [...items.entries()];
  const worker = async (): Promise<void> => {
    for (let next = left.shift(); next; next = left.shift()) results[next[0]] = await work(next[1]);
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), 4) }, worker));
  return results;
};

const packOne = async (platform: Platform, bundle: string, dir: string, say: Say): Promise<Built> => {
  const work = mkdtempSync(join(dirname(dir), `${nameOf(platform)}-`));
  const path = await makeExecutable({ platform, bundle, work, say });
  const archive = join(dir, archiveOf(platform));
  await writeArchive(archive, [
    { name: 'LICENSE', path: join(REPOSITORY, 'LICENSE'), mode: 0o644 },
    { name: executableOf(platform), path, mode: 0o755 },
  ]);
  rmSync(work, { recursive: true });
  const sha256 = await sha256Of(archive);
  say(`${archiveOf(platform)} ${sha256}`);
  return { platform, sha256 };
};

const MANIFEST = 'shadow.yaml';

/** What is there is removed: it must be a release, or nothing. */
const checkReplaceable = (out: string): void => {
  if (existsSync(out) && readdirSync(out).length > 0 && !existsSync(join(out, MANIFEST)))
    throw new ShadowError('SHADOW_E_USAGE', `${out} holds something else than a release; it is not replaced`);
};

/**
 * Builds beside `out` and renames: what is there is a whole release, or none. Throws SHADOW_E_BUILD, or SHADOW_E_HOST for what
 * the machine lacks, or SHADOW_E_USAGE.
 */
export const release = async ({ out, platforms, say }: ReleaseOptions): Promise<void> => {
  checkReplaceable(out);
  const parent = dirname(out);
  mkdirSync(parent, { recursive: true });
  sweep(parent);
  const scratch = mkdtempSync(join(parent, `.building-${process.pid}-`));
  try {
    const dir = join(scratch, 'release');
    mkdirSync(dir);
    const bundle = join(scratch, 'plugin.cjs');
    await bundlePlugin(bundle);
    await fetchNodes(platforms, say);
    const built = await inTurn(platforms, (platform) => packOne(platform, bundle, dir, say));
    const template = readFileSync(join(REPOSITORY, 'krew.yaml'), 'utf8');
    // krew's validator takes the plugin's name from the file's.
    writeFileSync(join(dir, MANIFEST), rendered(template, VERSION, built));
    rmSync(out, { recursive: true, force: true });
    renameSync(dir, out);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
};
