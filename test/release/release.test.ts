/** A release of all platforms, made once, in the hands of the real krew and the real kubectl. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { run } from '../../scripts/playground/run.ts';
import {
  archiveOf,
  executableOf,
  nameOf,
  PLATFORMS,
  type Platform,
  REPOSITORY,
  VERSION,
} from '../../scripts/release/platforms.ts';
import { release } from '../../scripts/release/release.ts';
import { type Krew, openKrew } from './support/krew.ts';
import { brokenPage, segmentsOf, signatureOf } from './support/macho.ts';

const say = (line: string): void => console.error(line);

let dir = '';
let out = '';
let krew: Krew;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'release-'));
  out = join(dir, 'release');
  await release({ out, platforms: PLATFORMS, say });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
beforeEach(async () => {
  krew = await openKrew();
});
afterEach(() => krew?.remove());

const manifestPath = (): string => join(out, 'shadow.yaml');
const archivePath = (platform: Platform): string => join(out, archiveOf(platform));

/** Installs what krew would on that platform, and gives the directory of what was installed. */
const installFor = async (platform: Platform): Promise<string> => {
  const { code, stderr } = await krew.kubectl(
    ['krew', 'install', `--manifest=${manifestPath()}`, `--archive=${archivePath(platform)}`],
    { KREW_OS: platform.os, KREW_ARCH: platform.arch },
  );
  expect(stderr).toContain('Installed plugin: shadow');
  expect(code).toBe(0);
  return join(krew.bin, '../store/shadow', `v${VERSION}`);
};

const own = PLATFORMS.find(({ os, arch }) => os === 'linux' && arch === (process.arch === 'x64' ? 'amd64' : 'arm64'))!;

/** Format and machine, as the system's loader reads them. */
const kindOf = (file: Buffer): string => {
  const magic = file.readUInt32BE(0);
  if (magic === 0x7f454c46) return { 62: 'linux-amd64', 183: 'linux-arm64' }[file.readUInt16LE(18)] ?? 'ELF';
  if (magic === 0xcffaedfe)
    return { 16777223: 'darwin-amd64', 16777228: 'darwin-arm64' }[file.readUInt32LE(4)] ?? 'Mach-O';
  const header = file.readUInt32LE(0x3c);
  if (file.toString('latin1', 0, 2) !== 'MZ' || file.readUInt32BE(header) !== 0x50450000) return 'none';
  return { 34404: 'windows-amd64', 43620: 'windows-arm64' }[file.readUInt16LE(header + 4)] ?? 'PE';
};

describe('the archives', () => {
  test('are those of the manifest, and nothing else is in the release', () => {
    expect(readdirSync(out).sort()).toEqual([...PLATFORMS.map(archiveOf), 'shadow.yaml'].sort());
    expect(readdirSync(dir)).toEqual(['release']);
  });

  test.each(PLATFORMS)(
    'krew finds the executable and the LICENSE for $os on $arch in its archive',
    async (platform) => {
      const store = await installFor(platform);
      expect(readdirSync(store).sort()).toEqual(['LICENSE', executableOf(platform)].sort());
      const path = join(store, executableOf(platform));
      expect(statSync(path).mode & 0o777).toBe(0o755);
      expect(statSync(join(store, 'LICENSE')).mode & 0o777).toBe(0o644);
      expect(readFileSync(join(store, 'LICENSE'))).toEqual(readFileSync(join(REPOSITORY, 'LICENSE')));
      const file = readFileSync(path);
      expect(kindOf(file)).toBe(nameOf(platform));
      // The fuse by which Node.js knows that it is a single executable: Node's documentation.
      expect(file.includes('NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:1')).toBe(true);
      // No certificates: the directory's fifth entry in the optional header of PE32+.
      if (platform.os === 'windows') expect(file.readBigUInt64LE(file.readUInt32LE(0x3c) + 24 + 112 + 32)).toBe(0n);
      if (platform.os !== 'darwin') return;
      expect(brokenPage(file)).toBeUndefined();
      const { offset, size } = signatureOf(file)!;
      expect(offset + size).toBe(file.length);
      expect(segmentsOf(file).at(-1)).toMatchObject({ name: '__LINKEDIT', to: file.length });
      file[5000 * 4096]! ^= 1;
      expect(brokenPage(file)).toBe(5000);
    },
  );

  test('are the same, byte for byte, when they are built again', async () => {
    const again = mkdtempSync(join(tmpdir(), 'again-'));
    const zone = process.env.TZ;
    process.env.TZ = 'Pacific/Kiritimati';
    try {
      await release({ out: again, platforms: PLATFORMS, say });
      // The manifest has the digests of all archives.
      expect(readFileSync(join(again, 'shadow.yaml'), 'utf8')).toBe(readFileSync(manifestPath(), 'utf8'));
    } finally {
      rmSync(again, { recursive: true });
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });

  test('stay as they are when a build fails', async () => {
    const before = statSync(manifestPath()).mtimeMs;
    const unknown = { ...own, arch: 'riscv64' as Platform['arch'] };
    await expect(release({ out, platforms: [unknown], say })).rejects.toMatchObject({ code: 'SHADOW_E_BUILD' });
    expect(statSync(manifestPath()).mtimeMs).toBe(before);
    expect(readdirSync(dir)).toEqual(['release']);
    expect(readdirSync(out)).toHaveLength(PLATFORMS.length + 1);
  });

  test('do not take the place of something else', async () => {
    const other = mkdtempSync(join(dir, 'other-'));
    writeFileSync(join(other, 'letter'), 'dear');
    await expect(release({ out: other, platforms: [], say })).rejects.toMatchObject({ code: 'SHADOW_E_USAGE' });
    expect(readdirSync(other)).toEqual(['letter']);
    rmSync(other, { recursive: true });
  });
});

describe("krew's validator", () => {
  const validate = async (change: (text: string) => string, name = 'shadow.yaml') => {
    const manifest = join(krew.dir, name);
    writeFileSync(manifest, change(readFileSync(manifestPath(), 'utf8')));
    return krew.validate(manifest, out);
  };

  test('passes the manifest, and installs every platform by it', async () => {
    const { code, stderr } = await validate((text) => text);
    expect(stderr).toContain(`all ${PLATFORMS.length} spec.platforms installed fine`);
    expect(code).toBe(0);
  });

  const digest = /sha256: "?[0-9a-f]{64}"?/;
  test.each([
    [
      'a digest of another file',
      'shadow.yaml',
      (text: string) => text.replace(digest, `sha256: ${'ab'.repeat(32)}`),
      /checksum/,
    ],
    ['a file of another name', 'other.yaml', (text: string) => text, /should be named "other"/],
    [
      'a platform twice',
      'shadow.yaml',
      (text: string) => {
        const manifest = parse(text);
        manifest.spec.platforms.push(manifest.spec.platforms[0]);
        return stringify(manifest, { aliasDuplicateObjects: false });
      },
      /overlapping/,
    ],
  ])('refuses %s', async (_, name, change, why) => {
    const { code, stderr } = await validate(change, name);
    expect(stderr).toMatch(why);
    expect(code).not.toBe(0);
  });
});

/** The plugin from its sources. */
const fromSources = (...args: string[]) => run([process.execPath, join(REPOSITORY, 'plugin/main.ts'), ...args]);

describe('installed by krew, through kubectl,', () => {
  test('it knows its version, has the manifests in it, and says the same as from its sources', async () => {
    await installFor(own);
    // Nothing of a repository is beside it, or where it is called.
    expect(await krew.kubectl(['shadow', 'version', '--client'])).toMatchObject({
      stdout: `Client Version: ${VERSION}\n`,
    });
    for (const args of [
      ['--help'],
      ['migrate', '--help'],
      ['install', '--image', 'registry.example/shadow:2', '--dry-run=client', '-o', 'yaml'],
    ]) {
      const [released, source] = [await krew.kubectl(['shadow', ...args]), await fromSources(...args)];
      expect(source.code).toBe(0);
      expect(released).toEqual(source);
    }
  });

  test('it fails as from its sources, and is not led by NODE_OPTIONS', async () => {
    await installFor(own);
    const wrong = await krew.kubectl(['shadow', 'migrate', 'svc/x'], { NODE_OPTIONS: '--require=/nowhere.js' });
    expect(wrong.stderr).toContain('[SHADOW_E_USAGE]');
    expect(wrong.code).toBe(2);
    const unreached = await krew.kubectl(['shadow', 'list']);
    expect(unreached.stderr).toMatch(/no such file: .*\[SHADOW_E_API\]/);
    expect(unreached.code).toBe(1);
  });

  test('kubectl completes its command line once the completion is installed, and krew takes the plugin away', async () => {
    await installFor(own);
    const tab = async (...words: string[]) =>
      (await krew.kubectl(['__complete', 'shadow', ...words])).stdout.split('\n');
    expect(await tab('mig')).toEqual([':0', '']);
    const file = join(krew.bin, 'kubectl_complete-shadow');
    expect((await krew.kubectl(['shadow', 'completion', 'kubectl'])).stdout).toBe(`${file} created\n`);
    expect(statSync(file).mode & 0o777).toBe(0o755);
    expect((await krew.kubectl(['shadow', 'completion', 'kubectl'])).stdout).toBe(`${file} unchanged\n`);
    expect(await tab('mig')).toEqual([expect.stringMatching(/^migrate\tmove /), ':4', '']);
    expect(await tab('migrate', 'consumer-0', '--strategy', 'Sh')).toEqual(['ShadowPodSwap', 'ShadowPod', ':4', '']);

    const removed = await krew.kubectl(['krew', 'uninstall', 'shadow']);
    expect(removed.stderr).toContain('Uninstalled plugin: shadow');
    expect(readdirSync(krew.bin)).toEqual(['kubectl_complete-shadow']);
    expect(readdirSync(join(krew.bin, '../store'))).toEqual([]);
    expect((await krew.kubectl(['shadow', 'version'])).stderr).toMatch(/unknown command "shadow"/);
  });
});
