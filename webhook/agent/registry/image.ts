/** Checkpoint images (webhook/agent/image.ts) into a registry, out of it, and away. */
import { ShadowError } from '../../api/errors.ts';
import { type Blob, configOf, damaged, Manifest, MEDIA_TYPE, manifestOf, sha256, verified } from '../image.ts';
import { bytesOf, unreachable } from './exchange.ts';
import { drain, type Session } from './session.ts';
import { upload } from './upload.ts';

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

const readManifest = async (session: Session, digest: string): Promise<Manifest | undefined> => {
  const answer = await session.ask(['pull'], [200, 404], {
    method: 'GET',
    url: session.url(`manifests/${digest}`),
    headers: { accept: MEDIA_TYPE.manifest },
  });
  const bytes = await bytesOf(answer);
  if (answer.status === 404) return undefined;
  if (sha256(bytes) !== digest) throw damaged('the manifest from the registry');
  const manifest = Manifest.safeParse(JSON.parse(bytes.toString()));
  if (!manifest.success) throw new ShadowError('SHADOW_E_TRANSFER', `${digest} is no image of a checkpoint`);
  return manifest.data;
};

export const hasImage = async (session: Session, digest: string): Promise<boolean> =>
  (await readManifest(session, digest)) !== undefined;

/** The layer of the image with this digest. */
export const pullLayer = async (session: Session, digest: string): Promise<AsyncIterable<Buffer>> => {
  const manifest = await readManifest(session, digest);
  if (manifest === undefined) throw new ShadowError('SHADOW_E_TRANSFER', `the registry has no image ${digest}`);
  const [layer] = manifest.layers;
  const answer = await session.ask(['pull'], [200], { method: 'GET', url: session.url(`blobs/${layer.digest}`) });
  return verified(answer.body, layer, (error) => unreachable(answer.url.host, error));
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
