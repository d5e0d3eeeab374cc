import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import * as z from 'zod';

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

test('krew.yaml keeps the rules of krew', () => {
  const manifest = Manifest.parse(parse(text('krew.yaml')));
  const platforms = manifest.spec.platforms.map(
    ({ selector: { matchLabels } }) => `${matchLabels.os}/${matchLabels.arch}`,
  );
  expect([...platforms].sort()).toEqual(['darwin/amd64', 'darwin/arm64', 'linux/amd64', 'linux/arm64']);
  for (const { bin, files } of manifest.spec.platforms) {
    // krew refuses an archive without a license, and a bin that no file rule brings.
    expect(files.map(({ from }) => from)).toEqual(expect.arrayContaining([bin, 'LICENSE']));
  }
});

test('krew.yaml is of the version of package.json', () => {
  const manifest = Manifest.parse(parse(text('krew.yaml')));
  const { version } = JSON.parse(text('package.json')) as { version: string };
  expect(manifest.spec.version).toBe(`v${version}`);
  for (const { uri } of manifest.spec.platforms) expect(uri).toContain(`/v${version}/`);
});
