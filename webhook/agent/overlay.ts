/** The files a container changed: the upper directory of its overlay, packed so that whiteouts, owners and xattrs survive. */
import { createReadStream } from 'node:fs';
import { lstat, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { extract } from 'tar-stream';
import { CommandError, type Node, textOf } from './node.ts';

/** In /proc/PID/mountinfo space, tab, newline and backslash are octal. */
const plain = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** The upper directory of the overlay mounted last at that point; undefined: no overlay there. */
export const upperOf = (mountinfo: string, mountPoint: string): string | undefined => {
  let upper: string | undefined;
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    if (plain(left.split(' ')[4] ?? '') !== mountPoint) continue;
    const [type, , options = ''] = right.split(' ');
    const found = options.split(',').find((option) => option.startsWith('upperdir='));
    upper = type === 'overlay' && found !== undefined ? plain(found.slice('upperdir='.length)) : undefined;
  }
  return upper;
};

/**
 * What has to go from a fresh root before the packed files are laid over it: whiteouts, and opaque directories (made anew, so
 * nothing of the image's shows in them). Parents first: removing through a path an image laid as a link cannot happen.
 */
export const removalList = (whiteouts: readonly string[], opaque: readonly string[]): string =>
  [...new Set([...whiteouts, ...opaque])]
    .sort()
    .map((path) => `${path}\0`)
    .join('');

interface Upper {
  directories: string[];
  files: string[];
  whiteouts: string[];
}

/** What CRIU makes in a container's /tmp while it dumps, and removes again: its name, and as tar's pattern. */
const CRIUS = /^cr-tmpfs\.\w{6}$/;
export const CRIUS_PATTERN = 'cr-tmpfs.??????';

const walkUpper = async (upper: string): Promise<Upper> => {
  const found: Upper = { directories: [], files: [], whiteouts: [] };
  const walk = async (relative: string): Promise<void> => {
    for (const entry of await readdir(join(upper, relative), { withFileTypes: true })) {
      if (CRIUS.test(entry.name)) continue;
      const path = `${relative}/${entry.name}`;
      if (entry.isDirectory()) {
        found.directories.push(path);
        await walk(path);
      } else if (entry.isCharacterDevice() && (await lstat(join(upper, path))).rdev === 0) {
        found.whiteouts.push(path);
      } else if (!entry.isSocket()) {
        found.files.push(path);
      }
    }
  };
  await walk('.');
  return found;
};

const TAR = ['--xattrs', '--xattrs-include=*', '--numeric-owner', '--sparse'] as const;

/** tar's status 1 says that a file changed meanwhile: possible in volumes that containers outside the clone write to. */
export const packTree = async (
  node: Node,
  from: string,
  to: string,
  what: readonly string[],
  input?: string,
): Promise<void> => {
  try {
    await node.run('tar', [...TAR, '-C', from, '-cf', to, ...what], {
      ...(input === undefined ? {} : { input }),
      timeoutMs: 120_000,
      urgent: true,
    });
  } catch (error) {
    if (!(error instanceof CommandError && error.status === 1)) throw error;
  }
};

const LISTED = ['--no-recursion', '--null', '--verbatim-files-from', '-T', '-'] as const;
const listed = (paths: readonly string[]): string => paths.map((path) => `${path}\0`).join('');

/** Directories of the tar that carry overlay's opaque mark. */
const opaqueIn = async (archive: string): Promise<string[]> => {
  const unpack = extract();
  createReadStream(archive).pipe(unpack);
  const found: string[] = [];
  for await (const entry of unpack) {
    const marks = entry.header.pax as Record<string, string> | null | undefined;
    if (marks?.['SCHILY.xattr.trusted.overlay.opaque'] === 'y') found.push(entry.header.name.replace(/\/$/, ''));
    entry.resume();
  }
  return found;
};

/** Writes `<to>/rootfs.tar` and `<to>/removed` when the container changed anything; all paths are the node's. */
export const packChanged = async (node: Node, upper: string, to: string): Promise<void> => {
  const { directories, files, whiteouts } = await walkUpper(node.at(upper));
  if (directories.length + files.length + whiteouts.length === 0) return;
  await mkdir(node.at(to), { recursive: true });
  const marks = join(to, 'directories.tar');
  const [opaque] = await Promise.all([
    directories.length === 0
      ? []
      : packTree(node, upper, marks, LISTED, listed(directories)).then(() => opaqueIn(node.at(marks))),
    packTree(node, upper, join(to, 'rootfs.tar'), LISTED, listed([...directories, ...files])),
  ]);
  await rm(node.at(marks), { force: true });
  await writeFile(node.at(join(to, 'removed')), removalList(whiteouts, opaque));
};

export const changedFiles = async (node: Node, containerId: string, to: string): Promise<void> => {
  const mounts = (await textOf(join(node.layout.proc, '1', 'mountinfo'))) ?? '';
  const upper = upperOf(mounts, join(node.layout.tasks, containerId, 'rootfs'));
  if (upper !== undefined) await packChanged(node, upper, to);
};
