/**
 * The checkpoint of a pod as one image: a configuration, and one uncompressed layer, which is the tar that agents send each other
 * (archive.ts). All containers are in the one layer: they were cloned at one instant and are of no use without each other
 * (docs/adr/0012-checkpoint-images.md).
 */
import { createHash } from 'node:crypto';
import { arch } from 'node:os';
import * as z from 'zod';
import { ShadowError } from '../api/errors.ts';
import { CHECKPOINT_ANNOTATIONS } from '../api/image.ts';

export interface Blob {
  digest: string;
  size: number;
}

export const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
/** Of what passes by, of any length. */
export const hashOf = async (chunks: AsyncIterable<Buffer>): Promise<Blob> => {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of chunks) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { digest: `sha256:${hash.digest('hex')}`, size };
};
export const blobOf = (bytes: Buffer): Blob => ({ digest: sha256(bytes), size: bytes.length });

export const MEDIA_TYPE = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
} as const;

/** As GOARCH has them. */
const ARCHITECTURE: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

const Descriptor = z.object({ mediaType: z.string(), digest: z.string(), size: z.number().int().nonnegative() });
export const Manifest = z.object({
  mediaType: z.literal(MEDIA_TYPE.manifest),
  config: Descriptor,
  layers: z.tuple([Descriptor.extend({ mediaType: z.literal(MEDIA_TYPE.layer) })]),
});
export type Manifest = z.infer<typeof Manifest>;

export const configOf = (layer: Blob, architecture = arch()): Buffer =>
  Buffer.from(
    JSON.stringify({
      architecture: ARCHITECTURE[architecture] ?? architecture,
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    }),
  );

/** `container`: by whose name runtimes know it for a checkpoint. */
export const manifestOf = (layer: Blob, config: Blob, container: string): Buffer =>
  Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.manifest,
      config: { mediaType: MEDIA_TYPE.config, ...config },
      layers: [{ mediaType: MEDIA_TYPE.layer, ...layer }],
      annotations: Object.fromEntries(CHECKPOINT_ANNOTATIONS.map((name) => [name, container])),
    }),
  );

export const damaged = (what: string): ShadowError =>
  new ShadowError('SHADOW_E_TRANSFER', `${what} is not what its digest says`);

/** The layer as it comes; it ends with an error unless it is the one meant. `broken`: of what ends it early. */
export async function* verified(
  chunks: AsyncIterable<Buffer>,
  { digest, size }: Blob,
  broken: (cause: unknown) => ShadowError,
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  let seen = 0;
  try {
    for await (const chunk of chunks) {
      hash.update(chunk);
      seen += chunk.length;
      if (seen > size) break;
      yield chunk;
    }
  } catch (error) {
    throw broken(error);
  }
  if (seen < size) throw broken(new Error(`the layer ended after ${seen} of ${size} bytes`));
  if (seen > size || `sha256:${hash.digest('hex')}` !== digest) throw damaged('the layer');
}
