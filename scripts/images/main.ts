/** npm run image: the image that `kubectl shadow install` takes, as an archive to push (docs/quickstart.md). */
import { createWriteStream, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { asShadowError, ShadowError } from '../../webhook/api/errors.ts';
import { bundle } from '../bundle.ts';
import { IMAGE_PACKAGES, installPackages } from '../playground/build/debian.ts';
import { obtainPart } from '../playground/build/parts.ts';
import { recipes } from '../playground/build/recipes.ts';
import { cacheDir } from '../playground/layout.ts';
import { alone } from '../playground/lock.ts';
import { must } from '../playground/run.ts';
import { type BuiltImage, imageArchive, layerFiles } from './oci.ts';
import { shadowImage } from './ours.ts';

const USAGE = `npm run image -- --name REGISTRY/kubectl-shadow:TAG [--output FILE]
npm run image -- --rootfs DIR

Builds the image of webhook, controller, sidecar and agent, for the architecture of this machine, as an OCI archive.
On Debian or Ubuntu, as root: the first time it installs packages and builds CRIU.

  --name NAME    its name in the archive, and what you push it as
  --output FILE  where to write it (dist/kubectl-shadow.tar)
  --rootfs DIR   no archive, but the files of the image in DIR, which must not be there: for the Dockerfile
  --help         this
`;

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const valuesOf = (args: string[]) => {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({ args, options: { name: text, output: text, rootfs: text, help: { type: 'boolean' } } }).values;
  } catch (error) {
    throw new ShadowError('SHADOW_E_USAGE', (error as Error).message);
  }
};

/** Host with an optional port, path, tag: without a host tools would think of different registries. */
const NAME = /^[a-z0-9.-]+(?::\d+)?(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+:[\w][\w.-]{0,127}$/i;

const checkedName = (name: string | undefined): string => {
  if (name === undefined || !NAME.test(name))
    throw new ShadowError('SHADOW_E_USAGE', `--name ${name ?? ''}: REGISTRY/NAME:TAG is wanted`);
  return name;
};

const criuProgram = async (): Promise<string> => {
  const recipe = recipes('go').find(({ name }) => name === 'criu')!;
  return join(await obtainPart(recipe, say), 'criu');
};

const build = async (): Promise<BuiltImage> => {
  if (process.getuid?.() !== 0) throw new ShadowError('SHADOW_E_ROOT', 'so does the image, which is made of its parts');
  mkdirSync(cacheDir(), { recursive: true });
  await installPackages(IMAGE_PACKAGES, join(cacheDir(), 'apt.log'), say);
  const { missing, failed } = await bundle();
  if (missing.length + failed.length > 0)
    throw new ShadowError('SHADOW_E_BUILD', `not bundled: ${[...missing, ...failed].join(', ')}`);
  return shadowImage(await criuProgram());
};

const writeArchive = async (name: string, output: string): Promise<void> => {
  const image = { ...(await build()), name };
  mkdirSync(dirname(output), { recursive: true });
  const scratch = `${output}.${process.pid}`;
  try {
    await pipeline(
      imageArchive(image, () => false),
      createWriteStream(scratch),
    );
    renameSync(scratch, output);
  } finally {
    rmSync(scratch, { force: true });
  }
  say(`${output}: ${image.name}, ${image.digest}`);
};

const writeRootfs = async (dir: string): Promise<void> => {
  if (existsSync(dir)) throw new ShadowError('SHADOW_E_USAGE', `--rootfs ${dir} is there already`);
  const image = await build();
  mkdirSync(dir, { recursive: true });
  for (const layer of layerFiles(image)) await must(['tar', '-xpf', layer, '-C', dir]);
};

try {
  const { name, output, rootfs, help } = valuesOf(process.argv.slice(2));
  if (help) process.stdout.write(USAGE);
  else if (rootfs !== undefined) {
    if (rootfs === '' || name !== undefined || output !== undefined)
      throw new ShadowError('SHADOW_E_USAGE', '--rootfs DIR stands alone');
    await alone(say, () => writeRootfs(resolve(rootfs)));
  } else {
    const wanted = checkedName(name);
    const file = resolve(output ?? join(import.meta.dirname, '../../dist/kubectl-shadow.tar'));
    await alone(say, () => writeArchive(wanted, file));
  }
} catch (error) {
  const { message, code, hint, exit } = asShadowError(error);
  say(`error: ${message} [${code}]\nhint: ${code === 'SHADOW_E_USAGE' ? 'see npm run image -- --help' : hint}`);
  process.exitCode = exit;
}
