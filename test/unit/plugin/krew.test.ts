import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import * as z from 'zod';
import { rendered } from '../../../scripts/release/manifest.ts';
import { archiveOf, executableOf, nameOf, PLATFORMS } from '../../../scripts/release/platforms.ts';

/** krew's own rules: pkg/index/validation and cmd/validate-krew-manifest of sigs.k8s.io/krew v0.5.0. */
const inside = z.string().refine((path) => path !== '' && !path.startsWith('/') && !path.split('/').includes('..'));
const Platform = z.strictObject({
  selector: z.strictObject({
    matchLabels: z.strictObject({ os: z.enum(['linux', 'darwin', 'windows']), arch: z.enum(['amd64', 'arm64']) }),
  }),
  uri: z.url().regex(/^https:.*\.(tar\.gz|zip)$/),
  sha256: z.string().regex(/^[a-f0-9]{64}$/),
  bin: inside,
  files: z.array(z.strictObject({ from: inside, to: inside })).min(1),
});
const Manifest = z.strictObject({
  apiVersion: z.literal('krew.googlecontainertools.github.com/v1alpha2'),
  kind: z.literal('Plugin'),
  metadata: z.strictObject({ name: z.literal('shadow') }),
  spec: z.strictObject({
    version: z.string().regex(/^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/),
    homepage: z.url(),
    shortDescription: z
      .string()
      .min(1)
      .max(50)
      .regex(/^[^\n]*[^.\n]$/),
    description: z.string().min(1),
    caveats: z.string().min(1),
    platforms: z.array(Platform).min(1),
  }),
});

const root = new URL('../../../', import.meta.url);
const text = (file: string): string => readFileSync(new URL(file, root), 'utf8');

test('krew.yaml keeps the rules of krew, and has the platforms that are released', () => {
  const manifest = Manifest.parse(parse(text('krew.yaml')));
  expect(manifest.spec.platforms.map(({ selector }) => nameOf(selector.matchLabels))).toEqual(PLATFORMS.map(nameOf));
  for (const [index, platform] of PLATFORMS.entries()) {
    const { uri, bin, files } = manifest.spec.platforms[index]!;
    expect(uri.endsWith(`/${archiveOf(platform)}`)).toBe(true);
    expect(bin).toBe(executableOf(platform));
    // krew refuses an archive without a license, and a bin that no file rule brings.
    expect(files.map(({ from }) => from)).toEqual([bin, 'LICENSE']);
  }
});

test('krew.yaml is of the version of package.json', () => {
  const manifest = Manifest.parse(parse(text('krew.yaml')));
  const { version } = JSON.parse(text('package.json')) as { version: string };
  expect(manifest.spec.version).toBe(`v${version}`);
  for (const { uri } of manifest.spec.platforms) expect(uri).toContain(`/v${version}/`);
});

describe('a rendered manifest', () => {
  const [first, second] = PLATFORMS;
  const built = [
    { platform: second!, sha256: 'ab'.repeat(32) },
    { platform: first!, sha256: 'cd'.repeat(32) },
  ];
  const manifest = rendered(text('krew.yaml'), '1.2.3', built);

  test('has version, addresses and digests of what was built, and no other platform', () => {
    const { spec } = Manifest.parse(parse(manifest));
    expect(spec.version).toBe('v1.2.3');
    expect(spec.platforms.map(({ selector, uri, sha256 }) => [selector.matchLabels, uri, sha256])).toEqual(
      built.map(({ platform, sha256 }) => [
        { os: platform.os, arch: platform.arch },
        `${spec.homepage}/releases/download/v1.2.3/${archiveOf(platform)}`,
        sha256,
      ]),
    );
  });
  test('says nothing of being a template, and all else as that does', () => {
    expect(manifest).not.toContain('zeros');
    const { description, caveats } = Manifest.parse(parse(text('krew.yaml'))).spec;
    expect(Manifest.parse(parse(manifest)).spec).toMatchObject({ description, caveats });
  });
  test('is refused for a platform that is not in the template', () => {
    const unknown = { platform: { ...first!, arch: 'riscv64' as 'amd64' }, sha256: 'ab'.repeat(32) };
    expect(() => rendered(text('krew.yaml'), '1.2.3', [unknown])).toThrow(/no platform linux-riscv64/);
  });
});
