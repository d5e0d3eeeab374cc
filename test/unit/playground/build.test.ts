import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { obtain, type Recipe, sweep } from '../../../scripts/playground/build/cache.ts';
import { canFetchToolchains } from '../../../scripts/playground/build/go.ts';
import { kubeGoMod } from '../../../scripts/playground/build/recipes.ts';
import { ShadowError } from '../../../webhook/api/errors.ts';

let cache = '';
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'cache-'));
});
afterEach(() => rmSync(cache, { recursive: true, force: true }));

const recipe = (build: Recipe['build'], text = ''): Recipe => ({ name: 'part', version: '1', recipe: text, build });
const writes =
  (text: string): Recipe['build'] =>
  async ({ out }) =>
    writeFileSync(join(out, 'file'), text);
const log = () => join(cache, 'part.log');

test('an entry is built once, and again when its recipe changes', async () => {
  const first = await obtain(cache, recipe(writes('one')), log());
  expect(await obtain(cache, recipe(writes('never')), log())).toBe(first);
  expect(readFileSync(join(first, 'file'), 'utf8')).toBe('one');
  const second = await obtain(cache, recipe(writes('two'), 'patched'), log());
  expect(second).not.toBe(first);
  expect(readFileSync(join(second, 'file'), 'utf8')).toBe('two');
});

test('a failed build leaves no entry and no scratch, and says where its log is and how it ended', async () => {
  const broken = recipe(async ({ out, step }) => {
    writeFileSync(join(out, 'half'), '');
    await step(['sh', '-c', 'for n in $(seq 40); do echo line $n; done; exit 3']);
  });
  const error = await obtain(cache, broken, log()).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ShadowError);
  expect(error).toMatchObject({ code: 'SHADOW_E_BUILD' });
  expect(String(error)).toContain(log());
  expect(String(error)).toContain('line 40');
  expect(String(error)).not.toContain('line 20\n');
  expect(readdirSync(cache)).toEqual(['part.log']);
});

test('of two builds at once both get the same whole entry', async () => {
  const slow = (text: string) =>
    recipe(async (shop) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      await writes(text)(shop);
    });
  const [a, b] = await Promise.all([obtain(cache, slow('a'), log()), obtain(cache, slow('b'), log())]);
  expect(a).toBe(b);
  expect(readFileSync(join(a, 'file'), 'utf8')).toMatch(/^[ab]$/);
  expect(readdirSync(cache)).toHaveLength(1);
});

test('the leavings of a killed build are swept, those of a living one are not', () => {
  const dead = mkdtempSync(join(cache, '.building-4999999-'));
  const living = mkdtempSync(join(cache, `.building-${process.pid}-`));
  sweep(cache);
  expect(existsSync(dead)).toBe(false);
  expect(existsSync(living)).toBe(true);
});

test('the staging modules of Kubernetes are replaced by their releases, each once', () => {
  const upstream = [
    'go 1.24.0',
    'require (',
    '\tgithub.com/spf13/cobra v1.9.1',
    '\tk8s.io/api v0.0.0',
    '\tk8s.io/client-go v0.0.0 // indirect',
    '\tk8s.io/klog/v2 v2.130.1',
    ')',
    'replace (',
    '\tk8s.io/api => ./staging/src/k8s.io/api',
    ')',
  ].join('\n');
  expect(kubeGoMod('1.34.4', upstream)).toBe(
    'module kube\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v1.34.4\n\nreplace (\n\tk8s.io/api => k8s.io/api v0.34.4\n\tk8s.io/client-go => k8s.io/client-go v0.34.4\n)\n',
  );
});

test('only a Go that can fetch newer toolchains is used', () => {
  expect(canFetchToolchains('go1.21.13\n')).toBe(true);
  expect(canFetchToolchains('go1.26.8\n')).toBe(true);
  expect(canFetchToolchains('go1.19.8\n')).toBe(false);
  expect(canFetchToolchains('')).toBe(false);
});
