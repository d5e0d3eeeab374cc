/** npm run release: see docs/releasing.md. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { asShadowError, ShadowError } from '../../webhook/api/errors.ts';
import { nameOf, PLATFORMS, type Platform, REPOSITORY } from './platforms.ts';
import { release } from './release.ts';

const USAGE = `npm run release -- [options]

Builds the plugin as one executable for each platform, packs them, and writes the manifest krew installs them by.

  --out DIR         write them there (dist/release); what is in it is replaced
  --platforms LIST  only these, into the DIR of --out: ${PLATFORMS.map(nameOf).join(', ')}
  --help            this
`;

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const valuesOf = (args: string[]) => {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({ args, options: { out: text, platforms: text, help: { type: 'boolean' } } }).values;
  } catch (error) {
    throw new ShadowError('SHADOW_E_USAGE', (error as Error).message);
  }
};

/** A part must not take the place of the whole. */
const target = (out: string | undefined, part: boolean): string => {
  if (out === '') throw new ShadowError('SHADOW_E_USAGE', '--out: a directory is missing');
  if (out === undefined && part)
    throw new ShadowError('SHADOW_E_USAGE', '--platforms without --out would put a part in the place of the whole');
  return resolve(REPOSITORY, out ?? 'dist/release');
};

const chosen = (list: string | undefined): readonly Platform[] => {
  if (list === undefined) return PLATFORMS;
  const names = list.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !PLATFORMS.some((platform) => nameOf(platform) === name));
  if (unknown !== undefined)
    throw new ShadowError('SHADOW_E_USAGE', `--platforms ${unknown}: none of ${PLATFORMS.map(nameOf).join(', ')}`);
  return PLATFORMS.filter((platform) => names.includes(nameOf(platform)));
};

try {
  const { out, platforms, help } = valuesOf(process.argv.slice(2));
  if (help) process.stdout.write(USAGE);
  else {
    const to = target(out, platforms !== undefined);
    await release({ out: to, platforms: chosen(platforms), say });
    say(`the release is in ${to}`);
  }
} catch (error) {
  const { message, code, hint, exit } = asShadowError(error);
  say(`error: ${message} [${code}]\nhint: ${code === 'SHADOW_E_USAGE' ? 'see npm run release -- --help' : hint}`);
  process.exitCode = exit;
}
