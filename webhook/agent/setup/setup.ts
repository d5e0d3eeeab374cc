/**
 * What a node needs of us before its agent can work: CRIU, and the runtime handler in containerd's configuration. All of it or,
 * where containerd does not come up with it, none: the files are put back and containerd is started as it was.
 */
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asShadowError, ShadowError } from '../../api/errors.ts';
import type { Log } from '../../log.ts';
import { exists, namesIn, removeTree, writeWhole } from '../files.ts';
import { type Node, textOf } from '../node.ts';
import { criuConfigWithout } from '../start.ts';
import { DROP_IN, dropInOf, EMPTY, hasHandler, versionOf, withImport, withoutImport } from './config.ts';
import { assertOwned, assertRestartable, type Containerd, dump, findContainerd, restart } from './containerd.ts';
import { installTools } from './tools.ts';

export interface Setup {
  readonly node: Node;
  /** The image's directory of tools. */
  readonly tools: string;
  /** How long containerd must be seen up, ms. */
  readonly steadyMs: number;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

/** There from before the first change until containerd has been seen to run with it: a run that was killed is finished. */
const PENDING = 'containerd-restart-pending';
const stateOf = (node: Node): string => dirname(node.layout.staged);

const READ_ONLY = ['EROFS', 'EACCES', 'EPERM'];

/** Systems whose root is read-only, or made anew at each start, are not changed at all. */
const assertWritable = async (node: Node, directories: readonly string[]): Promise<void> => {
  for (const directory of directories) {
    const probe = node.at(join(directory, '.kubectl-shadow-probe'));
    try {
      await mkdir(node.at(directory), { recursive: true });
      await writeWhole(probe, '');
      await rm(probe, { force: true });
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (!READ_ONLY.includes(code)) throw error;
      throw new ShadowError('SHADOW_E_NODE_SETUP', `${directory} is read-only on this node`, { cause: error });
    }
  }
};

interface Files {
  /** undefined: there is none. */
  readonly root: string | undefined;
  readonly dropIn: string | undefined;
}

const filesOf = async (node: Node, { config }: Containerd): Promise<Files> => ({
  root: await textOf(node.at(config)),
  dropIn: await textOf(node.at(DROP_IN)),
});

const put = (file: string, text: string | undefined): Promise<void> =>
  text === undefined ? rm(file, { force: true }) : writeWhole(file, text);

const putFiles = async (node: Node, { config }: Containerd, { root, dropIn }: Files): Promise<void> => {
  await put(node.at(DROP_IN), dropIn);
  await put(node.at(config), root);
};

/** Throws SHADOW_E_NODE_SETUP when containerd would not have the handler by it. */
const configure = async (node: Node, containerd: Containerd, { root = EMPTY }: Files): Promise<void> => {
  await writeWhole(node.at(DROP_IN), dropInOf(await dump(node, containerd), versionOf(root)));
  if (hasHandler(await dump(node, containerd))) return;
  await writeWhole(node.at(containerd.config), withImport(root));
  if (!hasHandler(await dump(node, containerd)))
    throw new ShadowError('SHADOW_E_NODE_SETUP', `${containerd.config} does not take in ${DROP_IN}`);
};

/** The containerd that runs now, which may not be up at all. */
const revert = async (
  { node, log, steadyMs }: Setup,
  before: Containerd,
  files: Files,
  restarted: boolean,
): Promise<void> => {
  await putFiles(node, before, files);
  if (!restarted) return;
  const now = await findContainerd(node).catch(() => ({ ...before, pid: 0 }));
  await restart(node, now, steadyMs);
  log.info({ config: before.config }, 'containerd runs as before');
};

/**
 * Idempotent; changes and restarts nothing that is as it should be. Throws SHADOW_E_NODE_SETUP: what is in the way; the node is
 * as it was, unless the message says otherwise.
 */
export const setUp = async (setup: Setup): Promise<void> => {
  const { node, log, tools, steadyMs } = setup;
  await assertWritable(node, [node.layout.bin, stateOf(node)]);
  await installTools(node, tools);
  const containerd = await findContainerd(node);
  const pending = node.at(join(stateOf(node), PENDING));
  if (hasHandler(await dump(node, containerd)) && !(await exists(pending))) {
    log.info({ config: containerd.config }, 'containerd has the handler already');
    return;
  }
  assertOwned(containerd);
  await assertWritable(node, [dirname(containerd.config), dirname(DROP_IN)]);
  await assertRestartable(node, containerd);
  const files = await filesOf(node, containerd);
  let restarted = false;
  try {
    await writeWhole(pending, '');
    if (!hasHandler(await dump(node, containerd))) await configure(node, containerd, files);
    restarted = true;
    log.info({ config: containerd.config }, 'starting containerd anew; containers go on meanwhile');
    await restart(node, containerd, steadyMs);
    await rm(pending, { force: true });
  } catch (thrown) {
    const error = asShadowError(thrown, 'SHADOW_E_NODE_SETUP');
    log.warn({ error: error.message }, 'putting back what was changed');
    await revert(setup, containerd, files, restarted).catch((left: unknown) => {
      throw new ShadowError('SHADOW_E_NODE_SETUP', `${error.message}; putting it back failed: ${String(left)}`);
    });
    await rm(pending, { force: true });
    throw error;
  }
  log.info({ config: containerd.config }, 'containerd has the handler');
};

/**
 * From another mount namespace the kernel would let go a directory with a file system of its own mounted on it (a disk for
 * checkpoints), and the mount with it: of such a one only the content goes.
 */
const removeOwn = async (node: Node, directory: string): Promise<void> => {
  const mounts = (await textOf(join(node.layout.proc, '1/mountinfo'))) ?? '';
  if (!mounts.split('\n').some((line) => line.split(' ')[4] === directory)) return removeTree(node.at(directory));
  for (const name of await namesIn(node.at(directory))) await removeTree(node.at(join(directory, name)));
};

/** Takes away all that was ever put on the node. Idempotent. Throws SHADOW_E_NODE_SETUP. */
export const takeDown = async ({ node, log, steadyMs }: Setup): Promise<void> => {
  const { kubelet, taken } = node.layout;
  const pods = new Set(await namesIn(node.at(join(kubelet, 'pods'))));
  const held = (await namesIn(node.at(taken))).filter((uid) => pods.has(uid));
  if (held.length > 0)
    throw new ShadowError(
      'SHADOW_E_NODE_SETUP',
      `pods that were moved here still need the handler: ${held.join(', ')}`,
    );
  const containerd = await findContainerd(node);
  const { root, dropIn } = await filesOf(node, containerd);
  const left = root === undefined ? undefined : withoutImport(root);
  if (dropIn !== undefined || left !== root) {
    await putFiles(node, containerd, { root: left === EMPTY ? undefined : left, dropIn: undefined });
    await restart(node, containerd, steadyMs);
    log.info({ config: containerd.config }, 'containerd runs without the handler');
  }
  const { criuConfig, bin } = node.layout;
  const criu = criuConfigWithout(await textOf(node.at(criuConfig)));
  await put(node.at(criuConfig), criu);
  for (const directory of [dirname(bin), stateOf(node)]) await removeOwn(node, directory);
};
