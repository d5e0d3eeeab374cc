/** kubectl shadow migrate. */
import {
  API_VERSION,
  type Driver,
  KIND,
  type MigrationSpec,
  type OnDivergence,
  type StatefulMigration,
  type Strategy,
} from '../../webhook/api/migration.ts';
import type { Api } from '../api.ts';
import type { Io } from '../io.ts';
import { type Common, durationMs, podName } from '../options.ts';
import { connectTo } from '../session.ts';
import { checkFirst } from './check.ts';
import { errorOf } from './model.ts';
import { nameOfMigration, type ObjectOutput, printMigration } from './print.ts';
import { report } from './report.ts';

export interface MigrateFlags extends Common {
  pod: string;
  to?: string | undefined;
  strategy?: Strategy | undefined;
  driver?: Driver | undefined;
  onDivergence?: OnDivergence | undefined;
  wait: boolean;
  timeout: string;
  output?: ObjectOutput | undefined;
}

/** Pod names may be longer than what leaves room for the generated suffix; the API server cuts, and may cut at a dot. */
const prefixOf = (pod: string): string => `${pod.slice(0, 50).replace(/[.-]+$/, '')}-`;

export const specOf = (
  pod: string,
  { to, strategy, driver, onDivergence }: Pick<MigrateFlags, 'to' | 'strategy' | 'driver' | 'onDivergence'>,
): MigrationSpec => ({
  sourcePod: pod,
  ...(to ? { targetNode: to } : {}),
  ...(strategy ? { migrationStrategy: strategy } : {}),
  ...(driver ? { checkpointDriver: driver } : {}),
  ...(onDivergence ? { onDivergence } : {}),
});

const create = (api: Api, namespace: string, pod: string, spec: MigrationSpec): Promise<StatefulMigration> =>
  api.call<StatefulMigration>({
    verb: 'create',
    kind: 'StatefulMigration',
    namespace,
    query: { fieldManager: 'kubectl-shadow' },
    body: { apiVersion: API_VERSION, kind: KIND, metadata: { generateName: prefixOf(pod), namespace }, spec },
  });

/** Returns the exit code; throws the error of a migration that did not complete. */
export const migrate = async (flags: MigrateFlags, io: Io): Promise<number> => {
  const pod = podName(flags.pod);
  const timeoutMs = durationMs('timeout', flags.timeout);
  const { api, namespace } = await connectTo(flags);
  await checkFirst(api, { namespace, pod, node: flags.to });
  const created = await create(api, namespace, pod, specOf(pod, flags));
  if (!flags.wait) {
    if (flags.output) await printMigration(io, flags.output, created);
    else io.out(`${nameOfMigration(created)} created`);
    return 0;
  }
  io.err(`${nameOfMigration(created)} created`);
  const { timedOut, waitForEnd } = await import('./wait.ts');
  const { how, last } = await waitForEnd(api, io, created, timeoutMs);
  if (how === 'interrupted') return 130;
  if (how === 'timeout') throw timedOut(last, flags.timeout);
  if (flags.output) await printMigration(io, flags.output, last);
  const problem = errorOf(last);
  if (problem) throw problem;
  if (!flags.output) io.out(report(last, Date.now()));
  return 0;
};
