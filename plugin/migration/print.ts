/** Objects on standard output as kubectl's -o prints them. */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { API_VERSION, KIND } from '../../webhook/api/migration.ts';
import type { Io } from '../io.ts';
import { nameOf } from '../kinds.ts';

export type Output = 'json' | 'yaml' | 'wide' | 'name';

/** One that the API server has not named yet is called by what its name will begin with. */
export const nameOfMigration = ({ metadata }: StatefulMigration): string => {
  const { name, generateName = '' } = metadata as { name?: string; generateName?: string };
  return nameOf('StatefulMigration', name ?? `${generateName}*`);
};

/** Items of a list come without them. */
export const typed = (migration: StatefulMigration): StatefulMigration => ({
  ...migration,
  apiVersion: API_VERSION,
  kind: KIND,
});

export const printDocument = async (io: Io, output: 'json' | 'yaml', document: unknown): Promise<void> => {
  if (output === 'json') io.out(JSON.stringify(document, null, 2));
  else io.out((await import('yaml')).stringify(document, { lineWidth: 0 }).trimEnd());
};

/** One is printed as itself, more as a List. */
const documentOf = (migrations: readonly StatefulMigration[]): unknown => {
  const [first, ...more] = migrations.map(typed);
  return first !== undefined && more.length === 0
    ? first
    : { apiVersion: 'v1', kind: 'List', items: migrations.map(typed) };
};

/** Without an output: kubectl's line, `statefulmigration.migration.ms2m.io/NAME DONE`. */
export const printMigrations = async (
  io: Io,
  output: Output | undefined,
  migrations: readonly StatefulMigration[],
  done: string,
): Promise<void> => {
  if (output === 'json' || output === 'yaml') return printDocument(io, output, documentOf(migrations));
  if (output === 'wide') {
    const { migrationTable } = await import('./table.ts');
    io.out(migrationTable(migrations, Date.now(), { namespaces: false, wide: true }));
    return;
  }
  io.out(migrations.map((each) => `${nameOfMigration(each)}${output === 'name' ? '' : ` ${done}`}`).join('\n'));
};
