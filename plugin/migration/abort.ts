/** kubectl shadow abort. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import type { Api } from '../api.ts';
import type { Io } from '../io.ts';
import { type Common, durationMs, usage } from '../options.ts';
import { printed, problemOf } from '../problems.ts';
import { connectTo } from '../session.ts';
import { findMigrations, listMigrations } from './find.ts';
import { errorOf, isCommitted, phaseOf, podOf } from './model.ts';
import { nameOfMigration, type Output, printMigrations } from './print.ts';
import { refuseLate, requestAbort } from './request.ts';

export interface AbortFlags extends Common {
  names?: string[] | undefined;
  all: boolean;
  wait: boolean;
  timeout: string;
  output?: Output | undefined;
}

/** `all`: those that can still be aborted. */
const found = async (api: Api, namespace: string, { names = [], all }: AbortFlags): Promise<StatefulMigration[]> => {
  if (!all) return findMigrations(api, namespace, names);
  return (await listMigrations(api, namespace)).filter((each) => !isEnded(each) && !isCommitted(each));
};

const asked = async (api: Api, migration: StatefulMigration): Promise<StatefulMigration> => {
  refuseLate(migration);
  return requestAbort(api, migration.metadata);
};

/** undefined: aborted. */
const lateProblem = (last: StatefulMigration): ShadowError | undefined => {
  if (phaseOf(last) === 'Completed') return new ShadowError('SHADOW_E_COMMITTED', `${last.metadata.name} completed`);
  if (phaseOf(last) === 'Rehearsed') return new ShadowError('SHADOW_E_FINISHED', `${last.metadata.name} is Rehearsed`);
  return phaseOf(last) === 'Aborted' ? undefined : errorOf(last);
};

/** The last state of each; 'interrupted' when Ctrl-C left it to the cluster. Throws SHADOW_E_TIMEOUT. */
const waitForAll = async (
  api: Api,
  io: Io,
  migrations: readonly StatefulMigration[],
  flags: AbortFlags,
): Promise<StatefulMigration[] | 'interrupted'> => {
  const { interrupts, timedOut, waitForEnd } = await import('./wait.ts');
  const { boardOn } = await import('./board.ts');
  const until = performance.now() + durationMs('timeout', flags.timeout);
  const signals = interrupts();
  const board = boardOn(io, { pods: migrations.map(podOf), born: new Map() });
  const ended: StatefulMigration[] = [];
  try {
    for (const migration of migrations) {
      const timeoutMs = until - performance.now();
      const waiting = { board, timeoutMs, interrupts: signals, offersAbort: false };
      const { how, last } = await waitForEnd(api, io, migration, waiting);
      if (how === 'interrupted') return 'interrupted';
      if (how === 'timeout') throw timedOut(last, flags.timeout);
      ended.push(last);
    }
  } finally {
    board.close();
    signals.stop();
  }
  return ended;
};

/** Each that could not be aborted, one after another; the exit code of the first. */
const failed = (io: Io, problems: readonly ShadowError[]): number => {
  const [first, ...more] = problems;
  if (first === undefined) return 0;
  if (more.length === 0) throw first;
  for (const problem of problems) io.err(printed(problem, false));
  return first.exit;
};

/** All that can be aborted are, whatever becomes of the others. */
export const abort = async (flags: AbortFlags, io: Io): Promise<number> => {
  const { names = [], all, output } = flags;
  durationMs('timeout', flags.timeout);
  if (all === names.length > 0) throw usage('name migrations, or say --all');
  const { api, namespace } = await connectTo(flags);
  const doomed = await found(api, namespace, flags);
  if (doomed.length === 0) io.err(`No resources found in ${namespace} namespace.`);
  const problems: ShadowError[] = [];
  const pending: StatefulMigration[] = [];
  for (const migration of doomed) {
    try {
      pending.push(await asked(api, migration));
    } catch (error) {
      problems.push(problemOf(error));
    }
  }
  if (pending.length > 0 && !flags.wait) await printMigrations(io, output, pending, 'asked to abort');
  if (!flags.wait) return failed(io, problems);
  const ended = await waitForAll(api, io, pending, flags);
  if (ended === 'interrupted') return 130;
  const late = ended.map(lateProblem);
  const aborted = ended.filter((_, at) => late[at] === undefined);
  if (output && ended.length > 0) await printMigrations(io, output, ended, 'aborted');
  else for (const each of aborted) io.out(`${nameOfMigration(each)} aborted`);
  return failed(io, [...problems, ...late.filter((problem) => problem !== undefined)]);
};
