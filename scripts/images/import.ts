/** Brings images to the nodes of the playground. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { NODES, type NodeName } from '../playground/layout.ts';
import { nodeExec } from '../playground/node.ts';
import { type BuiltImage, imageArchive } from './oci.ts';

const CTR = ['ctr', '-n', 'k8s.io'];

/** Imports into one node; only the blobs it lacks travel, and none when it has that very image. */
export const importImage = async (node: NodeName, image: BuiltImage): Promise<void> => {
  const { stdout: named } = await nodeExec(node, [...CTR, 'images', 'ls', `name==${image.name}`]);
  if (named.includes(image.digest)) return;
  const { stdout: content } = await nodeExec(node, [...CTR, 'content', 'ls', '-q']);
  const present = new Set(content.split('\n'));
  const input = imageArchive(image, (digest) => present.has(digest));
  const { code, stderr } = await nodeExec(node, [...CTR, 'images', 'import', '--local', '-'], { input });
  if (code !== 0) throw new ShadowError('SHADOW_E_INTERNAL', `import of ${image.name} into ${node}: ${stderr.trim()}`);
};

/** Imports into both nodes at once. */
export const importEverywhere = async (image: BuiltImage): Promise<void> => {
  await Promise.all(NODES.map((node) => importImage(node, image)));
};
