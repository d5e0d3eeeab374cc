/** kubectl shadow uninstall. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import type { Api } from '../api.ts';
import { homeOf } from '../installation.ts';
import type { Io } from '../io.ts';
import type { Pod } from '../kinds.ts';
import { loadManifests, withNamespace } from '../manifests.ts';
import { type Common, durationMs, usage } from '../options.ts';
import { connectTo } from '../session.ts';
import { runTasks } from '../tasks.ts';
import { injectedPods, migrationsOrNone } from './installed.ts';
import { cleanNodes, WHAT } from './nodes.ts';
import { superfluous } from './prune.ts';
import { type Doomed, doom, dropMigrations, removalOf, remove, strayMaps } from './remove.ts';
import { until } from './wait.ts';

export interface UninstallFlags extends Common {
  yes: boolean;
  force: boolean;
  nodeCleanup: boolean;
  timeout: string;
}

const NAMED = 5;
export const some = (names: readonly string[]): string =>
  names.length <= NAMED ? names.join(', ') : `${names.slice(0, NAMED).join(', ')} and ${names.length - NAMED} more`;

export const fullName = ({ metadata }: { metadata: { namespace?: string; name: string } }): string =>
  `${metadata.namespace}/${metadata.name}`;

/** What still needs us, one line; empty: nothing. Pure. */
export const usedBy = (migrations: readonly StatefulMigration[], pods: readonly Pod[]): string => {
  const running = migrations.filter((migration) => !isEnded(migration)).map(fullName);
  const injected = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined).map(fullName);
  return [
    ...(running.length > 0 ? [`running migrations: ${some(running)}`] : []),
    ...(injected.length > 0 ? [`injected pods: ${some(injected)}`] : []),
  ].join('; ');
};

const refuseInUse = async (api: Api, migrations: readonly StatefulMigration[]): Promise<void> => {
  const used = usedBy(migrations, await injectedPods(api));
  if (used) {
    throw new ShadowError('SHADOW_E_IN_USE', used, {
      hint: 'finish or abort the migrations; take the opt-in label off and restart the pods; or use --force (injected pods run on, but can no longer migrate)',
    });
  }
};

const confirm = async (io: Io): Promise<boolean> => {
  if (!io.ask) throw usage('there is no terminal to ask on; say --yes');
  return /^y(es)?$/.test(await io.ask('Remove kubectl-shadow and all StatefulMigrations from the cluster? [y/N] '));
};

export const uninstall = async (flags: UninstallFlags, io: Io): Promise<number> => {
  const timeoutMs = durationMs('timeout', flags.timeout);
  if (!flags.yes && !io.ask) throw usage('there is no terminal to ask on; say --yes');
  const { api } = await connectTo(flags);
  const home = await homeOf(api);
  if (flags.namespace !== undefined && flags.namespace !== home)
    throw usage(`kubectl-shadow is installed in namespace ${home}, not in ${flags.namespace}`);
  const migrations = await migrationsOrNone(api);
  if (!flags.force) await refuseInUse(api, migrations);
  if (!flags.yes && !(await confirm(io))) {
    io.err('nothing was removed');
    return 1;
  }
  const deadline = { at: performance.now() + timeoutMs, given: flags.timeout };
  const objects = withNamespace(loadManifests(), home);
  const { hooks, rest } = removalOf(objects, home);
  // Of another version than the plugin's.
  const others = (await superfluous(api, objects, home)).map(({ kind, name, namespace }) =>
    doom(kind, name, namespace, home),
  );
  const stay = flags.force && (await injectedPods(api)).length > 0;
  const doomed: Doomed[] = [];
  const drop = async (each: Doomed): Promise<void> => {
    if (!(await remove(api, each))) return;
    doomed.push(each);
    io.out(each.line);
  };
  // First nothing calls us any more; then the controller, still running, lets its migrations go; then it goes itself.
  for (const hook of hooks) await drop(hook);
  await dropMigrations(api, migrations, Math.min(timeoutMs, 30_000));
  if (flags.nodeCleanup && !stay)
    await runTasks(io, [{ title: WHAT, run: (tell) => cleanNodes(api, home, deadline, tell) }]);
  else if (flags.nodeCleanup)
    io.err('nodes keep the runtime handler: pods that were moved may need it for as long as they run');
  for (const each of [...(await strayMaps(api, home)), ...others, ...rest]) await drop(each);
  if (doomed.length === 0) {
    io.err('kubectl-shadow is not installed; nothing was removed');
    return 0;
  }
  const left = async (): Promise<string | undefined> => {
    const gone = await Promise.all(doomed.map((each) => each.gone(api)));
    const names = doomed.filter((_, index) => !gone[index]).map(({ name }) => name);
    return names.length > 0 ? `still there: ${some(names)}` : undefined;
  };
  const title = 'waiting until all is gone';
  await runTasks(io, [{ title, run: (tell) => until(title, deadline, left, tell) }]);
  return 0;
};
