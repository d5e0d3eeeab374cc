/** Checkpoints by runc, of containers that are paused: no byte crosses between two dumps of one pod (design.md section 3). */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ShadowError } from '../api/errors.ts';
import type { RunningContainer } from './containers.ts';
import type { Armed, Driver, Dump } from './drivers.ts';
import { removeTree, settleAll } from './files.ts';
import { atGate, type Gate } from './gate.ts';
import { CommandError, type Node, textOf } from './node.ts';
import { changedFiles } from './overlay.ts';

/** The lines that say why CRIU failed. */
export const errorLines = (log: string, count = 4): string =>
  log
    .split('\n')
    .filter((line) => /\bError\b/.test(line))
    .slice(-count)
    .join(' | ');

const checkpointArgs = (node: Node, container: RunningContainer, images: string, work: string): string[] => [
  ...['--root', node.layout.runcRoot, 'checkpoint', '--image-path', images, '--work-path', work],
  // Connections nobody accepted yet stay with the source; cut.ts refuses those on loopback.
  ...['--leave-running', '--tcp-established', '--tcp-skip-in-flight', '--file-locks'],
  ...['--manage-cgroups-mode', 'ignore', container.id],
];

const armOne = async (node: Node, container: RunningContainer, dump: Dump): Promise<Armed> => {
  const images = join(dump.images, container.name, 'checkpoint');
  const work = join(dump.work, container.name);
  const begin = () => Promise.all([images, work].map((directory) => mkdir(node.at(directory), { recursive: true })));
  await begin();
  const args = checkpointArgs(node, container, images, work);
  const { runc } = node.layout;
  // Not every runc comes by there: then all of it is started within the pause, and nothing of the try stays.
  const ungated = async (): Promise<Gate> => {
    await removeTree(node.at(images));
    await begin();
    return { open: async () => void (await node.run(runc, args, { urgent: true })), close: async () => undefined };
  };
  const gate = await atGate(node, join(work, 'gate'), runc, args).catch(ungated);
  const failed = async (error: unknown): Promise<never> => {
    const lines = errorLines((await textOf(node.at(join(work, 'dump.log')))) ?? '');
    const detail = lines || (error instanceof CommandError ? error.stderr.trim().slice(-500) : String(error));
    throw new ShadowError('SHADOW_E_CHECKPOINT', `container ${container.name}: ${detail}`, { cause: error });
  };
  return { dump: () => gate.open().catch(failed), drop: () => gate.close() };
};

export const runcDriver = (node: Node): Driver => ({
  paused: true,
  arm: async (dump) => {
    const armed = await Promise.all(dump.containers.map((container) => armOne(node, container, dump)));
    // While the app stands still: a fork less is a fork less.
    const changing = dump.containers.filter(({ readOnlyRoot }) => !readOnlyRoot);
    return {
      dump: () =>
        settleAll([
          ...armed.map((one) => one.dump()),
          ...changing.map(({ id, name }) => changedFiles(node, id, join(dump.images, name))),
        ]),
      drop: () => settleAll(armed.map((one) => one.drop())),
    };
  },
});
