/** npm run record: the terminal session in README.md, made from the real thing. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { asShadowError, ShadowError } from '../../webhook/api/errors.ts';
import { castText, parseCast } from './cast.ts';
import { picture } from './picture.ts';

const DOCS = join(import.meta.dirname, '../../docs');
const CAST = join(DOCS, 'migrate.cast');
const PICTURE = join(DOCS, 'migrate.svg');

const USAGE = `npm run record -- [options]

Records kubectl shadow migrate on the playground, with the example under load, as docs/migrate.cast (asciicast 2), and
draws docs/migrate.svg of it.

  --draw    only draw the picture, of the recording that is there
  --help    this
`;

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const valuesOf = (args: string[]) => {
  const flag = { type: 'boolean' } as const;
  try {
    return parseArgs({ args, options: { draw: flag, help: flag } }).values;
  } catch (error) {
    throw new ShadowError('SHADOW_E_USAGE', (error as Error).message);
  }
};

try {
  const { draw, help } = valuesOf(process.argv.slice(2));
  if (help) process.stdout.write(USAGE);
  else {
    if (!draw) {
      const { recordMigration } = await import('./migration.ts');
      const cast = await recordMigration(say);
      // First: a recording that cannot be drawn does not take the old one's place.
      await picture(cast);
      writeFileSync(CAST, castText(cast));
    }
    const svg = await picture(parseCast(readFileSync(CAST, 'utf8')));
    writeFileSync(PICTURE, svg);
    say(`${PICTURE}: ${Math.ceil(svg.length / 1000)} kB`);
  }
} catch (error) {
  const { message, code, hint, exit } = asShadowError(error);
  say(`error: ${message} [${code}]\nhint: ${code === 'SHADOW_E_USAGE' ? 'see npm run record -- --help' : hint}`);
  process.exitCode = exit;
}
