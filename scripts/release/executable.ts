/** The plugin as one executable: its bundle inside of a Node.js binary, by `node --build-sea`. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type BuildResult, build, type Message } from 'esbuild';
import { ASSETS } from '../../plugin/assets.ts';
import { ShadowError } from '../../webhook/api/errors.ts';
import type { Say } from '../playground/build/parts.ts';
import { must } from '../playground/run.ts';
import { adHocSigned } from './macho.ts';
import { nodeBinary } from './nodes.ts';
import { dropSignature } from './pe.ts';
import { executableOf, ownPlatform, type Platform, REPOSITORY } from './platforms.ts';

const described = ({ location, text }: Message): string =>
  `${location ? `${location.file}:${location.line}: ` : ''}${text}`;

const failed = (messages: readonly Message[]): ShadowError =>
  new ShadowError('SHADOW_E_BUILD', `the plugin does not bundle\n${messages.map(described).join('\n')}`);

/**
 * One CommonJS file, as single executables take it. What the sources import() stays unevaluated in it until then. A warning
 * about our own sources is an error: a path that is sought beside them, say, is not there in the executable.
 */
export const bundlePlugin = async (to: string): Promise<void> => {
  let result: BuildResult;
  try {
    result = await build({
      absWorkingDir: REPOSITORY,
      entryPoints: ['plugin/main.ts'],
      outfile: to,
      bundle: true,
      format: 'cjs',
      platform: 'node',
      target: 'node26',
      // Names stay, for what SHADOW_DEBUG=1 prints.
      minifyWhitespace: true,
      minifySyntax: true,
      logLevel: 'silent',
      // A module of Node's own is then required: import() is not to be had with a code cache.
      supported: { 'dynamic-import': false },
      banner: { js: "const __bundle = require('node:url').pathToFileURL(__filename).href;" },
      define: { 'import.meta.url': '__bundle' },
    });
  } catch (error) {
    throw failed((error as { errors?: Message[] }).errors ?? []);
  }
  const ours = result.warnings.filter(({ location }) => !location?.file.startsWith('node_modules/'));
  if (ours.length > 0) throw failed(ours);
};

/** Key and path of all files below ASSETS. */
export const assetFiles = (): Record<string, string> => {
  const files = ASSETS.flatMap((asset) => {
    if (statSync(join(REPOSITORY, asset)).isFile()) return [asset];
    return readdirSync(join(REPOSITORY, asset), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.ya?ml$/.test(name))
      .map((name) => `${asset}/${name.replaceAll('\\', '/')}`)
      .sort();
  });
  return Object.fromEntries(files.map((file) => [file, join(REPOSITORY, file)]));
};

/** The binary that makes the executable must be of the very version it makes it of: the format inside is the version's own. */
const builderFor = (platform: Platform, say: Say): Promise<string> => {
  const own = ownPlatform();
  if (!own) throw new ShadowError('SHADOW_E_HOST', 'npm has no Node.js for this machine to build releases with');
  return nodeBinary({ ...own, node: platform.node }, say);
};

/** One after the other, before several executables are made at a time. */
export const fetchNodes = async (platforms: readonly Platform[], say: Say): Promise<void> => {
  for (const platform of platforms) {
    await nodeBinary(platform, say);
    await builderFor(platform, say);
  }
};

export interface Making {
  readonly platform: Platform;
  /** The file bundlePlugin wrote. */
  readonly bundle: string;
  /** Empty directory; the executable is made in it. */
  readonly work: string;
  readonly say: Say;
}

/** Path of the executable. */
export const makeExecutable = async ({ platform, bundle, work, say }: Making): Promise<string> => {
  const output = join(work, executableOf(platform));
  const config = {
    // By its name alone: the path is in the executable.
    main: basename(bundle),
    output,
    executable: await nodeBinary(platform, say),
    disableExperimentalSEAWarning: true,
    useSnapshot: false,
    useCodeCache: false,
    execArgv: ['--disable-warning=ExperimentalWarning'],
    // NODE_OPTIONS is for Node.js programs; a user does not see that this is one.
    execArgvExtension: 'none',
    assets: assetFiles(),
  };
  writeFileSync(join(work, 'sea.json'), JSON.stringify(config));
  await must([await builderFor(platform, say), '--build-sea', join(work, 'sea.json')], { cwd: dirname(bundle) });
  if (platform.os === 'darwin') writeFileSync(output, adHocSigned(readFileSync(output), 'kubectl-shadow'));
  if (platform.os === 'windows') {
    const file = readFileSync(output);
    dropSignature(file);
    writeFileSync(output, file);
  }
  return output;
};
