/** Checkpoints by runc, of containers that are paused: no byte crosses between two dumps of one pod (design.md section 3). */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ShadowError } from '../api/errors.ts';
import type { RunningContainer } from './containers.ts';
import type { Driver, Dump } from './drivers.ts';
import { settleAll } from './files.ts';
import { CommandError, type Node, textOf } from './node.ts';
import { changedFiles } from './overlay.ts';

/** The lines that say why CRIU failed. */
export const errorLines = (log: string, count = 4): string =>
  log
    .split('\n')
    .filter((line) => /\bError\b/.test(line))
    .slice(-count)
    .join(' | ');

const dumpOne = async (node: Node, container: RunningContainer, dump: Dump): Promise<void> => {
  const images = join(dump.images, container.name);
  const work = join(dump.work, container.name);
  await Promise.all([
    mkdir(node.at(join(images, 'checkpoint')), { recursive: true }),
    mkdir(node.at(work), { recursive: true }),
  ]);
  try {
    const args = [
      ...[
        '--root',
        node.layout.runcRoot,
        'checkpoint',
        '--image-path',
        join(images, 'checkpoint'),
        '--work-path',
        work,
      ],
      // Connections nobody accepted yet stay with the source; cut.ts refuses those on loopback before.
      ...['--leave-running', '--tcp-established', '--tcp-skip-in-flight', '--file-locks'],
      ...['--manage-cgroups-mode', 'ignore', container.id],
    ];
    await node.run(node.layout.runc, args, { urgent: true });
  } catch (error) {
    const lines = errorLines((await textOf(node.at(join(work, 'dump.log')))) ?? '');
    const detail = lines || (error instanceof CommandError ? error.stderr.trim().slice(-500) : String(error));
    throw new ShadowError('SHADOW_E_CHECKPOINT', `container ${container.name}: ${detail}`, { cause: error });
  }
};

export const runcDriver = (node: Node): Driver => ({
  paused: true,
  dump: async (dump) => {
    await settleAll(
      dump.containers.flatMap((container): Promise<void>[] => [
        dumpOne(node, container, dump),
        // While the app stands still: a fork less is a fork less.
        ...(container.readOnlyRoot ? [] : [changedFiles(node, container.id, join(dump.images, container.name))]),
      ]),
    );
  },
});
