/** kubectl shadow list. */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import type { Io } from '../io.ts';
import type { Common } from '../options.ts';
import { connectTo } from '../session.ts';
import { listMigrations } from './find.ts';
import { nameOfMigration, type Output, printDocument, typed } from './print.ts';
import { migrationTable } from './table.ts';

export interface ListFlags extends Common {
  allNamespaces: boolean;
  watch: boolean;
  output?: Output | undefined;
}

/** kubectl's order. */
const sorted = (migrations: readonly StatefulMigration[]): StatefulMigration[] => {
  const keyOf = ({ metadata }: StatefulMigration): string => `${metadata.namespace}/${metadata.name}`;
  return [...migrations].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
};

export const list = async (flags: ListFlags, io: Io): Promise<void> => {
  const { api, namespace } = await connectTo(flags);
  const scope = flags.allNamespaces ? undefined : namespace;
  if (flags.watch) {
    const { watchRows } = await import('./rows.ts');
    return watchRows(api, io, { namespace: scope, output: flags.output });
  }
  const migrations = sorted(await listMigrations(api, scope));
  if (flags.output === 'json' || flags.output === 'yaml') {
    await printDocument(io, flags.output, { apiVersion: 'v1', kind: 'List', items: migrations.map(typed) });
  } else if (migrations.length === 0) {
    io.err(flags.allNamespaces ? 'No resources found' : `No resources found in ${namespace} namespace.`);
  } else if (flags.output === 'name') {
    io.out(migrations.map(nameOfMigration).join('\n'));
  } else {
    io.out(migrationTable(migrations, Date.now(), { namespaces: flags.allNamespaces, wide: flags.output === 'wide' }));
  }
};
