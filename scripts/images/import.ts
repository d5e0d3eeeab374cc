/** Brings images to the nodes of the playground. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { NODES, type NodeName } from '../playground/layout.ts';
import { nodeExec } from '../playground/node.ts';
import type { BuiltImage } from './oci.ts';

const CTR = ['ctr', '-n', 'k8s.io', 'images'];

/** Imports into one node; nothing happens when it has that very image. */
export const importImage = async (node: NodeName, { name, digest, archive }: BuiltImage): Promise<void> => {
  const { stdout } = await nodeExec(node, [...CTR, 'ls', `name==${name}`]);
  if (stdout.includes(digest)) return;
  const { code, stderr } = await nodeExec(node, [...CTR, 'import', '--local', archive]);
  if (code !== 0) throw new ShadowError('SHADOW_E_INTERNAL', `import of ${name} into ${node}: ${stderr.trim()}`);
};

/** Imports into both nodes at once. */
export const importEverywhere = async (image: BuiltImage): Promise<void> => {
  await Promise.all(NODES.map((node) => importImage(node, image)));
};
