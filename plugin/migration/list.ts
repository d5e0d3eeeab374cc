/** kubectl shadow list, kubectl shadow status. */
import type { Io } from '../io.ts';
import type { Common } from '../options.ts';
import { connectTo } from '../session.ts';
import { findMigration, listMigrations } from './find.ts';
import { nameOfMigration, type ObjectOutput, printDocument, printMigration, typed } from './print.ts';
import { details, migrationTable } from './table.ts';

export interface ListFlags extends Common {
  allNamespaces: boolean;
  output?: ObjectOutput | 'wide' | undefined;
}

export interface StatusFlags extends Common {
  name?: string | undefined;
  output?: ObjectOutput | 'wide' | undefined;
}

export const list = async (flags: ListFlags, io: Io): Promise<void> => {
  const { api, namespace } = await connectTo(flags);
  const migrations = await listMigrations(api, flags.allNamespaces ? undefined : namespace);
  // kubectl's order.
  migrations.sort((a, b) => {
    const [left, right] = [a, b].map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    return left! < right! ? -1 : 1;
  });
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

export const status = async (flags: StatusFlags, io: Io): Promise<void> => {
  const { api, namespace } = await connectTo(flags);
  const found = await findMigration(api, namespace, flags.name);
  if (flags.output === undefined || flags.output === 'wide') io.out(details(found, Date.now()));
  else await printMigration(io, flags.output, found);
};
