/** Migrations as they change, a row each time, as kubectl get --watch prints them. */
import { isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import type { Api } from '../api.ts';
import { columnWidths, rowText } from '../format.ts';
import type { Io } from '../io.ts';
import { listMigrations } from './find.ts';
import { followAll } from './follow.ts';
import { nameOfMigration, type Output, printDocument, typed } from './print.ts';
import { headOf, rowOf, type TableOptions } from './table.ts';

export interface Rows {
  /** undefined: all. */
  namespace: string | undefined;
  output: Output | undefined;
  /** Only these uids, until all of them have ended; undefined: all there are, for ever. */
  uids?: ReadonlySet<string>;
}

/**
 * Columns as wide as the first rows had them, or wider where a later cell is. A row is told again only when more of it than
 * its age has changed.
 */
export const rowPrinter = (options: TableOptions, tell: (line: string) => void) => {
  const told = new Map<string, string>();
  const head = headOf(options);
  // Those move by themselves.
  const moving = [head.indexOf('AGE'), head.indexOf('SECONDS')];
  let widths: number[] | undefined;
  return (migrations: readonly StatefulMigration[], now: number): void => {
    const rows = migrations.flatMap((each) => {
      const row = rowOf(each, now, options);
      const still = row.filter((_, at) => !moving.includes(at)).join('\0');
      const isNew = told.get(each.metadata.uid) !== still;
      told.set(each.metadata.uid, still);
      return isNew ? [row] : [];
    });
    if (rows.length === 0) return;
    const first = widths === undefined;
    widths = columnWidths([head, ...rows]).map((width, at) => Math.max(width, widths?.[at] ?? 0));
    for (const row of first ? [head, ...rows] : rows) tell(rowText(row, widths));
  };
};

const documents = (io: Io, output: 'json' | 'yaml') => {
  let first = true;
  return async (migrations: readonly StatefulMigration[]): Promise<void> => {
    for (const each of migrations) {
      if (output === 'yaml' && !first) io.out('---');
      await printDocument(io, output, typed(each));
      first = false;
    }
  };
};

const teller = (io: Io, { namespace, output }: Rows) => {
  if (output === 'json' || output === 'yaml') return documents(io, output);
  if (output === 'name') {
    return (migrations: readonly StatefulMigration[]): void => {
      for (const each of migrations) io.out(nameOfMigration(each));
    };
  }
  const print = rowPrinter({ namespaces: namespace === undefined, wide: output === 'wide' }, io.out);
  return (migrations: readonly StatefulMigration[]): void => print(migrations, Date.now());
};

/** Ends with the last of `uids`; without them only with the process. Throws SHADOW_E_NOT_INSTALLED, ApiError. */
export const watchRows = async (api: Api, io: Io, rows: Rows, signal = new AbortController().signal): Promise<void> => {
  // Says so by its name when the kind is unknown.
  await listMigrations(api, rows.namespace);
  const left = rows.uids && new Set(rows.uids);
  const tell = teller(io, rows);
  for await (const bunch of followAll(api, rows.namespace, signal)) {
    const own = bunch.filter(({ metadata }) => rows.uids === undefined || rows.uids.has(metadata.uid));
    await tell(own);
    for (const each of own) if (isEnded(each)) left?.delete(each.metadata.uid);
    if (left?.size === 0) return;
  }
};
