/**
 * The checkpoint of a pod as one image: a configuration, and one uncompressed layer, which is the tar that agents send each other
 * (archive.ts). All containers are in the one layer: they were cloned at one instant and are of no use without each other
 * (docs/adr/0012-checkpoint-images.md).
 */
import { createHash } from 'node:crypto';
import { arch } from 'node:os';
import * as z from 'zod';
import { ShadowError } from '../../api/errors.ts';
import { CHECKPOINT_ANNOTATIONS } from '../../api/image.ts';
import { bytesOf, unreachable } from './exchange.ts';
import { drain, type Session } from './session.ts';
import { type Blob, sha256, upload } from './upload.ts';

export const MEDIA_TYPE = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
} as const;

/** As GOARCH has them. */
const ARCHITECTURE: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

const Descriptor = z.object({ mediaType: z.string(), digest: z.string(), size: z.number().int().nonnegative() });
const Manifest = z.object({
  mediaType: z.literal(MEDIA_TYPE.manifest),
  config: Descriptor,
  layers: z.tuple([Descriptor.extend({ mediaType: z.literal(MEDIA_TYPE.layer) })]),
});
type Manifest = z.infer<typeof Manifest>;

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

async function* single(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** The manifest's digest. `named`: it is known before the registry has it, so that whoever dies in between leaves a trace. */
export const pushImage = async (
  session: Session,
  layer: () => AsyncIterable<Buffer>,
  container: string,
  named: (digest: string, bytes: number) => Promise<void>,
): Promise<{ digest: string; bytes: number }> => {
  const blobs: Blob[] = [];
  try {
    const stored = await upload(session, layer);
    blobs.push(stored);
    const config = await upload(session, () => single(configOf(stored)));
    blobs.push(config);
    const manifest = manifestOf(stored, config, container);
    const digest = sha256(manifest);
    await named(digest, stored.size);
    const answer = await session.ask(['pull', 'push'], [201], {
      method: 'PUT',
      url: session.url(`manifests/${session.image.tag}`),
      body: manifest,
      headers: { 'content-type': MEDIA_TYPE.manifest },
    });
    await drain(answer);
    const told = answer.headers['docker-content-digest'];
    if (told !== undefined && told !== digest)
      throw new ShadowError('SHADOW_E_REGISTRY', `${session.image.host} stored ${told} instead of ${digest}`);
    return { digest, bytes: stored.size };
  } catch (error) {
    await Promise.allSettled(blobs.map((blob) => removeBlob(session, blob)));
    throw error;
  }
};

const removeBlob = async (session: Session, { digest }: Pick<Blob, 'digest'>): Promise<void> => {
  await drain(await session.ask(['delete'], [202, 404], { method: 'DELETE', url: session.url(`blobs/${digest}`) }));
};

const damaged = (what: string): ShadowError =>
  new ShadowError('SHADOW_E_TRANSFER', `${what} from the registry is not what its digest says`);

const readManifest = async (session: Session, digest: string): Promise<Manifest | undefined> => {
  const answer = await session.ask(['pull'], [200, 404], {
    method: 'GET',
    url: session.url(`manifests/${digest}`),
    headers: { accept: MEDIA_TYPE.manifest },
  });
  const bytes = await bytesOf(answer);
  if (answer.status === 404) return undefined;
  if (sha256(bytes) !== digest) throw damaged('the manifest');
  const manifest = Manifest.safeParse(JSON.parse(bytes.toString()));
  if (!manifest.success) throw new ShadowError('SHADOW_E_TRANSFER', `${digest} is no image of a checkpoint`);
  return manifest.data;
};

export const hasImage = async (session: Session, digest: string): Promise<boolean> =>
  (await readManifest(session, digest)) !== undefined;

/** The layer as it comes; it ends with an error unless it is the one meant. */
async function* verified(chunks: AsyncIterable<Buffer>, { digest, size }: Blob, host: string): AsyncGenerator<Buffer> {
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
    throw unreachable(host, error);
  }
  if (seen < size) throw unreachable(host, new Error(`the layer ended after ${seen} of ${size} bytes`));
  if (seen > size || `sha256:${hash.digest('hex')}` !== digest) throw damaged('the layer');
}

/** The layer of the image with this digest. */
export const pullLayer = async (session: Session, digest: string): Promise<AsyncIterable<Buffer>> => {
  const manifest = await readManifest(session, digest);
  if (manifest === undefined) throw new ShadowError('SHADOW_E_TRANSFER', `the registry has no image ${digest}`);
  const [layer] = manifest.layers;
  const answer = await session.ask(['pull'], [200], { method: 'GET', url: session.url(`blobs/${layer.digest}`) });
  return verified(answer.body, layer, answer.url.host);
};

/** Empty, or why the image is still there. Its blobs go with it where that is allowed; else the registry's own sweep takes them. */
export const removeImage = async (session: Session, digest: string): Promise<string> => {
  const manifest = await readManifest(session, digest);
  if (manifest === undefined) return '';
  try {
    const url = session.url(`manifests/${digest}`);
    await drain(await session.ask(['delete'], [200, 202, 204, 404], { method: 'DELETE', url }));
  } catch (error) {
    if (!(error instanceof ShadowError) || error.retryable) throw error;
    return error.message;
  }
  const blobs = [manifest.config, ...manifest.layers];
  await Promise.allSettled(blobs.map((blob) => removeBlob(session, blob)));
  return '';
};
