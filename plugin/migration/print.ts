/** Objects on standard output as kubectl's -o prints them. */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { API_VERSION, KIND } from '../../webhook/api/migration.ts';
import type { Io } from '../io.ts';
import { nameOf } from '../kinds.ts';

export type ObjectOutput = 'json' | 'yaml' | 'name';

export const nameOfMigration = (migration: StatefulMigration): string =>
  nameOf('StatefulMigration', migration.metadata.name);

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

export const printMigration = async (io: Io, output: ObjectOutput, migration: StatefulMigration): Promise<void> => {
  if (output === 'name') io.out(nameOfMigration(migration));
  else await printDocument(io, output, typed(migration));
};
