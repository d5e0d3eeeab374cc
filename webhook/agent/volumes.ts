/** emptyDirs of a pod, on the node; the sidecar's run directory is one of them. */
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { RUN_FILE, SIDECAR } from '../api/names.ts';
import { STAGED } from '../api/staging.ts';
import { namesIn, settleAll, writeWhole } from './files.ts';
import { type Node, textOf } from './node.ts';
import { packTree } from './overlay.ts';

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

/** Every volume as one tar under `<to>/emptydir`, without the freeze handshake's files: they are the source's. */
export const packVolumes = async (node: Node, podUid: string, to: string): Promise<void> => {
  const from = emptyDirs(node, podUid);
  const volumes = await namesIn(node.at(from));
  const into = join(to, STAGED.emptyDir);
  if (volumes.length > 0) await mkdir(node.at(into), { recursive: true });
  await settleAll(
    volumes.map((volume) =>
      packTree(
        node,
        join(from, volume),
        join(into, `${volume}.tar`),
        volume === SIDECAR.runVolume
          ? ['--anchored', `--exclude=./${RUN_FILE.frozen}*`, `--exclude=./${RUN_FILE.thaw}*`, '.']
          : ['.'],
      ),
    ),
  );
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
