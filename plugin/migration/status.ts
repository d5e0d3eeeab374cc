/** kubectl shadow status. */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { type Api, getOrNone } from '../api.ts';
import type { Io } from '../io.ts';
import type { Pod } from '../kinds.ts';
import type { Common } from '../options.ts';
import { connectTo } from '../session.ts';
import { boardOn } from './board.ts';
import { findMigrations } from './find.ts';
import { follow } from './follow.ts';
import { errorOf, handoffsOf, podOf } from './model.ts';
import { type Output, printMigrations } from './print.ts';
import { details } from './table.ts';

export interface StatusFlags extends Common {
  names?: string[] | undefined;
  watch: boolean;
  output?: Output | undefined;
}

/** Creation of the source's pod, while that very pod is there. Only its age needs it, so no refusal counts. */
const bornOf = async (api: Api, migration: StatefulMigration): Promise<Map<string, number>> => {
  const pod = await getOrNone<Pod>(api, 'Pod', podOf(migration), migration.metadata.namespace).catch(() => undefined);
  const source = handoffsOf(migration)[0]?.source.uid;
  const { uid, creationTimestamp = '' } = pod?.metadata ?? {};
  const born = Date.parse(creationTimestamp);
  return new Map(Number.isNaN(born) || (source !== undefined && source !== uid) ? [] : [[podOf(migration), born]]);
};

/** The tree until the end, where lines are the result: standard output. Throws the error of one that did not complete. */
export const watchOne = async (api: Api, io: Io, found: StatefulMigration): Promise<void> => {
  const board = boardOn(io, { pods: [podOf(found)], born: await bornOf(api, found) }, io.out);
  let last = found;
  try {
    for await (const state of follow(api, found.metadata, new AbortController().signal)) {
      last = state;
      board.show(state);
    }
  } finally {
    board.close();
  }
  // Nothing was moved that a report could tell of.
  if (last.spec.dryRun) io.out(details(last, Date.now()));
  const problem = errorOf(last);
  if (problem) throw problem;
  if (last.spec.dryRun) return;
  const { report } = await import('./report.ts');
  io.out(report(last, Date.now()));
};

export const status = async (flags: StatusFlags, io: Io): Promise<void> => {
  const { api, namespace } = await connectTo(flags);
  const found = await findMigrations(api, namespace, flags.names ?? []);
  const [first, ...more] = found;
  const { output } = flags;
  if (flags.watch && (more.length > 0 || output !== undefined)) {
    const { watchRows } = await import('./rows.ts');
    return watchRows(api, io, { namespace, output, uids: new Set(found.map(({ metadata }) => metadata.uid)) });
  }
  if (flags.watch) return watchOne(api, io, first!);
  if (output === undefined) io.out(found.map((each) => details(each, Date.now())).join('\n\n'));
  else await printMigrations(io, output, found, '');
};
