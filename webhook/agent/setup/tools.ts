/**
 * CRIU with all that it is linked to, its loader included: what the node has of libraries does not matter. And nft, on a node
 * that has none. On the node they stand beside the handler, whose directory comes first on our PATH.
 */
import { createHash } from 'node:crypto';
import { chmod, cp, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { namesIn, writeWhole } from '../files.ts';
import type { Node } from '../node.ts';

/** In the image and on the node: the programs, `ld.so`, and `lib` with the libraries. */
const LOADER = 'ld.so';
const LIBRARIES = 'lib';
const PROGRAMS = ['criu', 'nft'] as const;
type Program = (typeof PROGRAMS)[number];

/** What the node has by itself, looked for where systemd's services look. */
const OWN_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const filesOf = async (from: string): Promise<string[]> => [
  ...(await namesIn(from)).filter((name) => name !== LIBRARIES),
  ...(await namesIn(join(from, LIBRARIES))).map((name) => join(LIBRARIES, name)),
];

const digestOf = async (from: string): Promise<string> => {
  const hash = createHash('sha256');
  for (const name of await filesOf(from)) hash.update(`${name}\0`).update(await readFile(join(from, name)));
  return hash.digest('hex').slice(0, 16);
};

const wrapper = (dir: string, program: Program): string => `#!/bin/sh
# Written by kubectl-shadow.
exec ${dir}/${LOADER} --inhibit-cache --library-path ${dir}/${LIBRARIES} --argv0 ${program} ${dir}/${program} "$@"
`;

const has = (node: Node, program: Program): Promise<boolean> =>
  node.run('sh', ['-c', `PATH=${OWN_PATH} command -v ${program}`]).then(
    () => true,
    () => false,
  );

/** Whole or not at all: a set of tools is one directory, named by its content. */
const bring = async (node: Node, from: string): Promise<string> => {
  const { tools } = node.layout;
  const name = await digestOf(from);
  const at = join(tools, name);
  if (!(await namesIn(node.at(tools))).includes(name)) {
    const fresh = node.at(join(tools, `.${name}.new`));
    await rm(fresh, { recursive: true, force: true });
    await mkdir(node.at(tools), { recursive: true, mode: 0o755 });
    await cp(from, fresh, { recursive: true });
    for (const file of await filesOf(fresh)) await chmod(join(fresh, file), 0o755);
    await rename(fresh, node.at(at));
  }
  return at;
};

/** `from`: the directory of the image. Throws SHADOW_E_NODE_SETUP by its caller where the disk can't be written to. */
export const installTools = async (node: Node, from: string): Promise<void> => {
  const { tools, bin } = node.layout;
  const at = await bring(node, from);
  for (const program of PROGRAMS) {
    const file = node.at(join(bin, program));
    if (program === 'criu' || !(await has(node, program))) await writeWhole(file, wrapper(at, program), 0o755);
    else await rm(file, { force: true });
  }
  // A dump or a restore under way has what it needs open.
  for (const name of await namesIn(node.at(tools)))
    if (join(tools, name) !== at) await rm(node.at(join(tools, name)), { recursive: true, force: true });
};
