/** emptyDirs of a pod, on the node; the sidecar's run directory is one of them. */
import { lstat, mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { RUN_FILE, SIDECAR } from '../api/names.ts';
import { STAGED } from '../api/staging.ts';
import { namesIn, settleAll, writeWhole } from './files.ts';
import { type Node, textOf } from './node.ts';
import { CRIUS_PATTERN, packTree } from './overlay.ts';

const emptyDirs = (node: Node, podUid: string): string =>
  join(node.layout.kubelet, 'pods', podUid, 'volumes', 'kubernetes.io~empty-dir');

const runFile = (node: Node, podUid: string, file: string): string =>
  node.at(join(emptyDirs(node, podUid), SIDECAR.runVolume, file));

export const frozenGeneration = async (node: Node, podUid: string): Promise<number | undefined> => {
  const text = (await textOf(runFile(node, podUid, RUN_FILE.frozen)))?.trim();
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
};

/** Wakes a frozen sidecar. The pod may be gone: nothing to wake then. */
export const thaw = async (node: Node, podUid: string, generation: number): Promise<void> => {
  const file = runFile(node, podUid, RUN_FILE.thaw);
  try {
    await stat(join(file, '..'));
  } catch {
    return;
  }
  await writeWhole(file, String(generation));
};

/** The freeze handshake's files are the source's alone. */
const HANDSHAKE = new RegExp(`^\\.?(${RUN_FILE.frozen}|${RUN_FILE.thaw})`);
/** A volume of more files is packed within the pause: looking through it would take as long. */
const FILES_LOOKED_AT = 500;

/**
 * Name, kind, size and times of every file: a volume that looks the same has not been written to (a ctime can't be set).
 * undefined: too many to look at.
 */
const lookOf = async (directory: string, volume: string): Promise<string | undefined> => {
  const ours = volume === SIDECAR.runVolume;
  const lines: string[] = [];
  const walk = async (relative: string): Promise<void> => {
    const { ino, mode, size, mtimeNs, ctimeNs } = await lstat(join(directory, relative), { bigint: true });
    // The handshake's files change the directory they are in.
    lines.push(`${relative} ${ino} ${mode} ${ours && relative === '' ? '' : `${size} ${mtimeNs} ${ctimeNs}`}`);
    if ((mode & TYPE) !== DIRECTORY) return;
    for (const name of await namesIn(join(directory, relative)))
      if (!(ours && HANDSHAKE.test(name)) && lines.length <= FILES_LOOKED_AT) await walk(join(relative, name));
  };
  await walk('');
  return lines.length > FILES_LOOKED_AT ? undefined : lines.join('\n');
};
/** inode(7). */
const TYPE = 0o170000n;
const DIRECTORY = 0o040000n;

const packVolume = (node: Node, from: string, into: string, volume: string): Promise<void> =>
  packTree(node, join(from, volume), join(into, `${volume}.tar`), [
    ...['--anchored', `--exclude=./${CRIUS_PATTERN}`],
    ...(volume === SIDECAR.runVolume ? [`--exclude=./${RUN_FILE.frozen}*`, `--exclude=./${RUN_FILE.thaw}*`] : []),
    '.',
  ]);

/** Each volume as it looks now; undefined: too many files to look at. */
export type Looks = ReadonlyMap<string, string | undefined>;

/** To be taken while nobody writes, CRIU included. */
export const looksOf = async (node: Node, podUid: string): Promise<Looks> => {
  const from = node.at(emptyDirs(node, podUid));
  const looks = (await namesIn(from)).map(
    async (volume) => [volume, await lookOf(join(from, volume), volume)] as const,
  );
  return new Map(await Promise.all(looks));
};

/**
 * Volumes as one tar each under `<to>/emptydir`, without the freeze handshake's files; not those that look as they did when an
 * earlier call packed them there (`before`).
 */
export const packVolumes = async (
  node: Node,
  podUid: string,
  to: string,
  looks: Looks,
  before: Looks = new Map(),
): Promise<void> => {
  const into = join(to, STAGED.emptyDir);
  if (looks.size > 0) await mkdir(node.at(into), { recursive: true });
  const changed = [...looks].filter(([volume, look]) => look === undefined || before.get(volume) !== look);
  await settleAll(changed.map(([volume]) => packVolume(node, emptyDirs(node, podUid), into, volume)));
};

/** The tars into the copy's volumes of the same names; a volume the copy does not have is an error. */
export const unpackVolumes = async (node: Node, podUid: string, from: string): Promise<void> => {
  const archives = await namesIn(node.at(join(from, STAGED.emptyDir)));
  await settleAll(
    archives.map(async (archive) => {
      const volume = join(emptyDirs(node, podUid), archive.replace(/\.tar$/, ''));
      await stat(node.at(volume));
      // An earlier attempt may have stopped half-way: its files would survive as ones the source does not have.
      for (const name of await namesIn(node.at(volume)))
        await rm(node.at(join(volume, name)), { recursive: true, force: true });
      await node.run('tar', [
        ...['--xattrs', '--xattrs-include=*', '--numeric-owner', '--same-owner', '-C', volume],
        ...['-xpf', join(from, STAGED.emptyDir, archive)],
      ]);
    }),
  );
};
