/** kubectl shadow migrate. */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import type { Api } from '../api.ts';
import type { DryRun } from '../install/apply.ts';
import type { Io } from '../io.ts';
import { type Common, durationMs, usage } from '../options.ts';
import { connectTo } from '../session.ts';
import { checkFirst } from './check.ts';
import { type Output, printMigrations } from './print.ts';
import { assertTransfer, bodyOf, create, type SpecFlags } from './request.ts';
import { type Selection, select } from './select.ts';
import { wantedOf } from './targets.ts';

export interface MigrateFlags extends Common, SpecFlags {
  targets?: string[] | undefined;
  selector?: string | undefined;
  fromNode?: string | undefined;
  dryRun: DryRun;
  wait: boolean;
  timeout: string;
  output?: Output | undefined;
}

/** What --dry-run=client prints: the object has no name, uid or version yet. */
const sketched = (namespace: string, pod: string, flags: MigrateFlags): StatefulMigration =>
  bodyOf(namespace, pod, flags) as unknown as StatefulMigration;

const createOnly = async (
  api: Api,
  io: Io,
  namespace: string,
  { pods }: Selection,
  flags: MigrateFlags,
): Promise<void> => {
  const dry = flags.dryRun === 'server';
  const made: StatefulMigration[] = [];
  for (const pod of pods) made.push(await create(api, namespace, pod, flags, dry));
  await printMigrations(io, flags.output, made, dry ? 'created (server dry run)' : 'created');
};

const andWait = async (
  api: Api,
  io: Io,
  namespace: string,
  moving: { pods: string[]; born: Map<string, number> },
  flags: MigrateFlags,
): Promise<number> => {
  const timeoutMs = durationMs('timeout', flags.timeout);
  const { runAll } = await import('./run.ts');
  const { moves, interrupted, problem } = await runAll(api, io, namespace, moving, { ...flags, timeoutMs });
  const made = moves.flatMap(({ migration }) => (migration ? [migration] : []));
  if (flags.output) {
    if (!interrupted && made.length > 0) await printMigrations(io, flags.output, made, 'migrated');
  } else if (moves.length > 1) {
    const { summary } = await import('./summary.ts');
    io.out(summary(moves, Date.now()));
  } else if (!problem && !interrupted) {
    const { report } = await import('./report.ts');
    io.out(report(made[0]!, Date.now()));
  }
  if (interrupted) return 130;
  if (problem) throw problem;
  return 0;
};

/** Returns the exit code; throws the error of a migration that did not complete. */
export const migrate = async (flags: MigrateFlags, io: Io): Promise<number> => {
  const wanted = wantedOf(flags);
  assertTransfer(flags);
  durationMs('timeout', flags.timeout);
  const { api, namespace } = await connectTo(flags);
  const chosen = await select(api, namespace, wanted);
  const { pods, staying } = chosen;
  for (const line of staying) io.err(line);
  if (pods.length === 0) {
    io.err('nothing to move');
    return 0;
  }
  if (flags.dryRun === 'client') {
    const sketches = pods.map((pod) => sketched(namespace, pod, flags));
    await printMigrations(io, flags.output, sketches, 'created (dry run)');
    return 0;
  }
  if (!flags.wait && flags.dryRun === 'none' && pods.length > 1) {
    throw usage(`${pods.length} pods move one after another, which --wait=false cannot see to; name one of them`);
  }
  const born = await checkFirst(api, { namespace, pods, node: flags.to });
  if (flags.wait && flags.dryRun === 'none') return andWait(api, io, namespace, { pods, born }, flags);
  await createOnly(api, io, namespace, chosen, flags);
  return 0;
};
