import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import tar from 'tar-stream';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { buildImage, imageArchive, layerFiles, withParents } from '../../../scripts/images/oci.ts';
import { librariesOf } from '../../../scripts/images/ours.ts';
import { stalePods } from '../../../scripts/playground/deploy.ts';

let dir = '';
const home = process.env.XDG_CACHE_HOME;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'images-'));
  process.env.XDG_CACHE_HOME = dir;
});
afterAll(() => {
  if (home === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = home;
  rmSync(dir, { recursive: true, force: true });
});

const build = (text: string) => {
  const file = join(dir, 'program');
  writeFileSync(file, text);
  const base = [{ path: '/usr/bin/program', file, mode: 0o755 }];
  return buildImage({ name: 'localhost/x:1', layers: [base, [{ path: '/app/a', text: 'a' }]], config: {} });
};

const entries = async (archive: Readable): Promise<Map<string, string>> => {
  const found = new Map<string, string>();
  const extract = tar.extract();
  archive.pipe(extract);
  for await (const entry of extract) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    found.set(entry.header.name, Buffer.concat(chunks).toString('latin1'));
  }
  return found;
};

test('the same content is the same image, wherever and whenever it is built; other content shares the other layers', async () => {
  const first = await build('one');
  // Elsewhere and later: an empty cache, another day.
  process.env.XDG_CACHE_HOME = join(dir, 'elsewhere');
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 86_400_000 });
  const again = await build('one');
  vi.useRealTimers();
  const other = await build('two');
  expect(again).toEqual(first);
  expect(other.digest).not.toBe(first.digest);
  expect(other.blobs[0]).not.toEqual(first.blobs[0]);
  expect(other.blobs[1]).toEqual(first.blobs[1]);
});

test('an archive holds what the reader lacks, and its index names the image and its manifest', async () => {
  const image = await build('one');
  const all = await entries(imageArchive(image, () => false));
  expect([...all.keys()].sort()).toEqual(
    ['index.json', 'oci-layout', ...image.blobs.map(({ digest }) => `blobs/${digest.replace(':', '/')}`)].sort(),
  );
  const index = JSON.parse(all.get('index.json') ?? '') as { manifests: { digest: string; annotations: object }[] };
  expect(index.manifests[0]?.digest).toBe(image.digest);
  expect(index.manifests[0]?.annotations).toEqual({
    'io.containerd.image.name': 'localhost/x:1',
    'org.opencontainers.image.ref.name': '1',
  });
  const known = image.blobs[0]?.digest ?? '';
  const rest = await entries(imageArchive(image, (digest) => digest === known));
  expect(rest.size).toBe(all.size - 1);
  expect(rest.has(`blobs/${known.replace(':', '/')}`)).toBe(false);
});

test('its layers are tar files, the lowest first', async () => {
  const files = layerFiles(await build('one'));
  const listed = await Promise.all(files.map((file) => entries(createReadStream(file))));
  expect(listed.map((layer) => [...layer.keys()].at(-1))).toEqual(['usr/bin/program', 'app/a']);
});

test('parents come before their children, and a given directory keeps its mode', () => {
  const made = withParents([
    { path: '/a/b/c', text: '' },
    { path: '/a', mode: 0o1777 },
    { path: '/a/b-d', text: '' },
  ]);
  expect(made.map(({ path }) => path)).toEqual(['/a', '/a/b', '/a/b-d', '/a/b/c']);
  expect(made[0]?.mode).toBe(0o1777);
});

test('libraries are found by the path the loader looks for; the kernel has no file for its own', () => {
  const ldd = [
    '\tlinux-vdso.so.1 (0x00007ffa711a5000)',
    '\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007ffa710a5000)',
    '\tlibgone.so => not found',
    '\t/lib64/ld-linux-x86-64.so.2 (0x00007ffa711a7000)',
  ].join('\n');
  expect(librariesOf(ldd)).toEqual(['/lib/x86_64-linux-gnu/libm.so.6', '/lib64/ld-linux-x86-64.so.2']);
});

test('only pods that run another build of our own image are stale', () => {
  const pod = (name: string, image: string, imageID: string) => ({
    metadata: { name },
    spec: { containers: [{ name: 'c', image }] },
    // Tagged once more, it is told by that name.
    status: { containerStatuses: [{ name: 'c', image: 'x:0.2.0', imageID, ready: true, restartCount: 0 }] },
  });
  const pods = [pod('old', 'x:dev', 'sha256:1'), pod('new', 'x:dev', 'sha256:2'), pod('other', 'y:1', 'sha256:1')];
  expect(stalePods([...pods, { metadata: { name: 'pending' } }], 'x:dev', 'sha256:2')).toEqual(['old']);
});
