/**
 * OCI images without a container engine. The same content gives the same bytes and digests (no times, fixed
 * order), so that an unchanged image is neither written nor imported again.
 */
import { createHash, randomBytes } from 'node:crypto';
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import tar from 'tar-stream';
import { cacheDir } from '../playground/layout.ts';

export interface ImageEntry {
  /** Absolute path in the image. Parent directories come by themselves (0755, root). */
  readonly path: string;
  readonly mode?: number;
  readonly uid?: number;
  /** One of these: a file of this machine (links followed), a text, a link's target, or nothing: a directory. */
  readonly file?: string;
  readonly text?: string;
  readonly link?: string;
}

export interface ImageConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
}

export interface ImageSpec {
  /** With a host, as containerd wants it: `localhost/name:tag`. */
  readonly name: string;
  readonly layers: readonly (readonly ImageEntry[])[];
  readonly config: ImageConfig;
}

export interface BuiltImage {
  readonly name: string;
  /** Digest of the manifest. */
  readonly digest: string;
  /** Digest of the configuration: the imageID in a pod's status. */
  readonly id: string;
  /** All it consists of, the manifest last. */
  readonly blobs: readonly Blob[];
}

export interface Blob {
  readonly digest: string;
  readonly size: number;
}

const store = (...parts: string[]): string => {
  const dir = join(cacheDir(), 'images');
  mkdirSync(join(dir, 'blobs'), { recursive: true });
  mkdirSync(join(dir, 'layers'), { recursive: true });
  return join(dir, ...parts);
};

const blobPath = (digest: string): string => store('blobs', digest.replace('sha256:', ''));

/** Scratch name next to `path`; whoever writes renames. */
const beside = (path: string): string => `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;

const digestOf = (data: string | Uint8Array): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;

const hashFile = async (path: string): Promise<string> => {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return `sha256:${hash.digest('hex')}`;
};

/** By file, size and time of change: images share a node binary of 120 MB. */
const hashed = new Map<string, Promise<string>>();

const digestOfFile = (path: string): Promise<string> => {
  const { dev, ino, size, ctimeMs } = statSync(path);
  const key = [dev, ino, size, ctimeMs].join(' ');
  const digest = hashed.get(key) ?? hashFile(path);
  hashed.set(key, digest);
  return digest;
};

const putBlob = (text: string): Blob => {
  const digest = digestOf(text);
  const scratch = beside(blobPath(digest));
  writeFileSync(scratch, text);
  renameSync(scratch, blobPath(digest));
  return { digest, size: Buffer.byteLength(text) };
};

/** The entries with all parent directories, each path once, in the order of their paths. */
export const withParents = (entries: readonly ImageEntry[]): ImageEntry[] => {
  const all = new Map<string, ImageEntry>();
  for (const entry of entries) {
    for (let at = entry.path.indexOf('/', 1); at > 0; at = entry.path.indexOf('/', at + 1)) {
      const path = entry.path.slice(0, at);
      if (!all.has(path)) all.set(path, { path });
    }
    all.set(entry.path, entry);
  }
  return [...all.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
};

const isDirectory = ({ file, text, link }: ImageEntry): boolean =>
  file === undefined && text === undefined && link === undefined;

const modeOf = (entry: ImageEntry): number => entry.mode ?? (isDirectory(entry) ? 0o755 : 0o644);

/** Names the layer's content without writing it. */
const layerKey = async (entries: readonly ImageEntry[]): Promise<string> => {
  const facts = await Promise.all(
    entries.map(async (entry) => [
      entry.path,
      modeOf(entry),
      entry.uid ?? 0,
      entry.link ?? '',
      entry.file === undefined ? (entry.text ?? null) : await digestOfFile(entry.file),
    ]),
  );
  return digestOf(JSON.stringify(facts)).slice('sha256:'.length);
};

const addEntry = async (pack: tar.Pack, entry: ImageEntry): Promise<void> => {
  const head = {
    name: entry.path.slice(1),
    mode: modeOf(entry),
    uid: entry.uid ?? 0,
    gid: entry.uid ?? 0,
    mtime: new Date(0),
  };
  if (entry.file !== undefined) {
    const sink = pack.entry({ ...head, size: statSync(entry.file).size });
    await pipeline(createReadStream(entry.file, { highWaterMark: 1 << 20 }), sink);
  } else if (entry.text !== undefined) pack.entry(head, entry.text);
  else if (entry.link !== undefined) pack.entry({ ...head, type: 'symlink', linkname: entry.link });
  else pack.entry({ ...head, type: 'directory' });
};

/** Writes a tar next to `path` and renames it there. */
const writeTar = async (path: string, fill: (pack: tar.Pack) => Promise<void>): Promise<void> => {
  const scratch = beside(path);
  const pack = tar.pack();
  const written = pipeline(pack, createWriteStream(scratch));
  try {
    await fill(pack);
    pack.finalize();
    await written;
    renameSync(scratch, path);
  } catch (error) {
    pack.destroy();
    await written.catch(() => undefined);
    rmSync(scratch, { force: true });
    throw error;
  }
};

const buildLayer = async (given: readonly ImageEntry[]): Promise<Blob> => {
  const entries = withParents(given);
  const known = store('layers', await layerKey(entries));
  if (existsSync(known)) {
    const blob = JSON.parse(readFileSync(known, 'utf8')) as Blob;
    if (existsSync(blobPath(blob.digest))) return blob;
  }
  const scratch = beside(known);
  await writeTar(scratch, async (pack) => {
    for (const entry of entries) await addEntry(pack, entry);
  });
  const blob = { digest: await digestOfFile(scratch), size: statSync(scratch).size };
  renameSync(scratch, blobPath(blob.digest));
  writeFileSync(scratch, JSON.stringify(blob));
  renameSync(scratch, known);
  return blob;
};

const ARCHITECTURE: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

const IMAGE = 'application/vnd.oci.image';

/** Builds the image, or finds it built. */
export const buildImage = async (spec: ImageSpec): Promise<BuiltImage> => {
  const layers: Blob[] = [];
  for (const entries of spec.layers) layers.push(await buildLayer(entries));
  const config = putBlob(
    JSON.stringify({
      architecture: ARCHITECTURE[process.arch] ?? process.arch,
      os: 'linux',
      config: spec.config,
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    }),
  );
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: `${IMAGE}.manifest.v1+json`,
    config: { mediaType: `${IMAGE}.config.v1+json`, ...config },
    layers: layers.map((layer) => ({ mediaType: `${IMAGE}.layer.v1.tar`, ...layer })),
  });
  const top = putBlob(manifest);
  return { name: spec.name, digest: top.digest, id: config.digest, blobs: [...layers, config, top] };
};

/** Tar files, the lowest first. Behind the layers come configuration and manifest. */
export const layerFiles = ({ blobs }: BuiltImage): string[] => blobs.slice(0, -2).map(({ digest }) => blobPath(digest));

const tagOf = (name: string): string => name.slice(name.lastIndexOf(':') + 1);

/**
 * The image as an archive (OCI image layout), without the blobs the reader has already. Its name stands there for containerd,
 * and its tag for the others (OCI image specification, annotations).
 */
export const imageArchive = ({ name, digest, blobs }: BuiltImage, has: (digest: string) => boolean): Readable => {
  const pack = tar.pack();
  const manifest = blobs.find((blob) => blob.digest === digest);
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        mediaType: `${IMAGE}.manifest.v1+json`,
        ...manifest,
        annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': tagOf(name) },
      },
    ],
  };
  const fill = async (): Promise<void> => {
    await addEntry(pack, { path: '/oci-layout', text: '{"imageLayoutVersion":"1.0.0"}' });
    await addEntry(pack, { path: '/index.json', text: JSON.stringify(index) });
    for (const blob of new Map(blobs.map((blob) => [blob.digest, blob])).values())
      if (!has(blob.digest))
        await addEntry(pack, { path: `/blobs/${blob.digest.replace(':', '/')}`, file: blobPath(blob.digest) });
    pack.finalize();
  };
  fill().catch((error: Error) => pack.destroy(error));
  return Readable.from(pack);
};
