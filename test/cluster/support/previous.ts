/** The release before this one, built from the history: what is installed, and what pods run with, when one upgrades. */
import { mkdtempSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { importEverywhere } from '../../../scripts/images/import.ts';
import { shadowImage } from '../../../scripts/images/ours.ts';
import type { Parts } from '../../../scripts/playground/build/parts.ts';
import { RUN } from '../../../scripts/playground/layout.ts';
import { must, type Ran, run } from '../../../scripts/playground/run.ts';

const ROOT = join(import.meta.dirname, '../../..');
/** The last commit of the minor version before. */
const COMMIT = '6ae7defc0847bf6ea3f0c9c79809fcc658c06114';
export const PREVIOUS = '0.1.0';

/** Why there is no release before this one to be had; undefined: there is. */
export const noHistory = async (): Promise<string | undefined> => {
  const { code, stderr } = await run(['git', '-C', ROOT, 'cat-file', '-e', `${COMMIT}^{commit}`]);
  return code === 0
    ? undefined
    : `commit ${COMMIT.slice(0, 7)} (${PREVIOUS}) is not in this clone, a shallow one? ${stderr.trim()}`;
};

/** Its sources, with this tree's dependencies, in a new directory. */
export const previousTree = async (): Promise<string> => {
  const dir = mkdtempSync(join(tmpdir(), 'shadow-previous-'));
  await must(['sh', '-c', `git -C "${ROOT}" archive ${COMMIT} | tar -x -C "${dir}"`]);
  symlinkSync(realpathSync(join(ROOT, 'node_modules')), join(dir, 'node_modules'));
  return dir;
};

/** Its plugin. */
export const previousPlugin = (dir: string, kubeconfig: string, ...args: string[]): Promise<Ran> =>
  run([process.execPath, join(dir, 'plugin/main.ts'), ...args], { env: { KUBECONFIG: kubeconfig } });

const criu = (): string => {
  const parts = JSON.parse(readFileSync(join(RUN, 'parts.json'), 'utf8')) as Parts;
  return join(parts.criu, 'criu');
};

/** The image of the tree in `repository`, whose bundles are there, on all nodes. */
export const provide = async (repository: string, name: string): Promise<void> =>
  importEverywhere(await shadowImage(criu(), { repository, name }));

/** The tree bundled, as if it were of another version. */
export const bundled = async (dir: string, version: string): Promise<void> => {
  const file = join(dir, 'package.json');
  const { version: _, ...rest } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  writeFileSync(file, JSON.stringify({ version, ...rest }));
  await must([process.execPath, join(dir, 'scripts/bundle.ts')], { cwd: dir });
};

export const ownTree = ROOT;
