/**
 * transferMode Direct: the checkpoint goes as an OCI image into the target's image store (containerd's, by its own import), and
 * from there to where the runtime handler finds it.
 */
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';
import { asShadowError, ShadowError } from '../api/errors.ts';
import { filesIn, packed, type Received } from './archive.ts';
import { imagesOf } from './arming.ts';
import { CLAIM_FILE, staged } from './claims.ts';
import { writeWhole } from './files.ts';
import { type Blob, blobOf, configOf, hashOf, MEDIA_TYPE, manifestOf, verified } from './image.ts';
import { type Node, textOf } from './node.ts';
import { receive, requirePrepared } from './transfer.ts';

const CTR = ['-n', 'k8s.io'] as const;
const TIMEOUT_MS = 110_000;

/** In the image store; the claim tells it from every other. */
export const imageOfClaim = (claim: string): string => `localhost/shadow-checkpoint:${claim}`;

const blobPath = ({ digest }: Blob): string => `blobs/${digest.replace(':', '/')}`;

/** Image layout specification 1.0: the layer last, for it is long. */
async function* layoutOf(claim: string, container: string, layer: Blob, content: Readable): AsyncGenerator<Buffer> {
  const config = configOf(layer);
  const manifest = manifestOf(layer, blobOf(config), container);
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        mediaType: MEDIA_TYPE.manifest,
        ...blobOf(manifest),
        annotations: { 'io.containerd.image.name': imageOfClaim(claim) },
      },
    ],
  };
  const archive = pack();
  const fill = async (): Promise<void> => {
    archive.entry({ name: 'oci-layout' }, JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    archive.entry({ name: 'index.json' }, JSON.stringify(index));
    for (const bytes of [config, manifest]) archive.entry({ name: blobPath(blobOf(bytes)) }, bytes);
    await pipeline(content, archive.entry({ name: blobPath(layer), size: layer.size }));
    archive.finalize();
  };
  fill().catch((error: unknown) => archive.destroy(error instanceof Error ? error : new Error(String(error))));
  yield* archive as unknown as AsyncIterable<Buffer>;
}

/** The checkpoint of a claim as an archive, packed twice: its digest stands before it. Never more than some chunks in memory. */
export const imageArchive = async (
  node: Node,
  claim: string,
  container: string,
): Promise<{ layer: Blob; archive: Readable }> => {
  const images = node.at(imagesOf(node, claim));
  const files = await filesIn(images);
  if (files.length === 0) throw new ShadowError('SHADOW_E_TRANSFER', `claim ${claim} has no checkpoint`);
  const layer = await hashOf(packed(images, files));
  return {
    layer,
    archive: Readable.from(layoutOf(claim, container, layer, packed(images, files)), { objectMode: false }),
  };
};

const isImported = async (node: Node, claim: string): Promise<boolean> =>
  (await textOf(node.at(join(staged(node, claim), CLAIM_FILE.imported)))) !== undefined;

/** Into the image store; then its layer, verified, to where the handler looks. */
export const receiveImage = async (node: Node, claim: string, layer: Blob, input: Readable): Promise<Received> => {
  await requirePrepared(node, claim);
  // Before it is there: whoever dies in between leaves a trace.
  await writeWhole(node.at(join(staged(node, claim), CLAIM_FILE.imported)), '');
  const failed = (cause: unknown): ShadowError =>
    new ShadowError('SHADOW_E_TRANSFER', `the image store: ${asShadowError(cause).message}`, { cause });
  try {
    await node.run('ctr', [...CTR, 'images', 'import', '--local', '--no-unpack', '-'], {
      input,
      timeoutMs: TIMEOUT_MS,
    });
  } catch (error) {
    throw failed(error);
  }
  const { output, ended } = node.flow('ctr', [...CTR, 'content', 'get', layer.digest], { timeoutMs: TIMEOUT_MS });
  const received = await receive(node, claim, Readable.from(verified(output, layer, failed), { objectMode: false }));
  await ended;
  return received;
};

/** Nothing of a claim stays in the image store. */
export const dropImported = async (node: Node, claim: string): Promise<void> => {
  if (await isImported(node, claim)) await node.run('ctr', [...CTR, 'images', 'rm', '--sync', imageOfClaim(claim)]);
};

/** Throws SHADOW_E_TRANSFER where the node's image store can't be reached as the transfer would. */
export const tryImageStore = async (node: Node): Promise<void> => {
  try {
    await node.run('ctr', [...CTR, 'images', 'ls', '-q', 'name==localhost/shadow-checkpoint'], { timeoutMs: 10_000 });
  } catch (error) {
    throw new ShadowError('SHADOW_E_NODE_UNFIT', `its image store: ${asShadowError(error).message}`, { cause: error });
  }
};
