/** Brings a cluster's installation to what is wanted: what `install` and `upgrade` have in common. */
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { ShadowError } from '../../webhook/api/errors.ts';
import { NAMESPACE } from '../../webhook/api/names.ts';
import { type Api, getOrNone } from '../api.ts';
import { isOurs } from '../installation.ts';
import type { Io } from '../io.ts';
import { type Kind, type Meta, nameOf, type Obj } from '../kinds.ts';
import { type Common, durationMs } from '../options.ts';
import { runTasks } from '../tasks.ts';
import { clientVersion } from '../version.ts';
import { applyAll, type DryRun } from './apply.ts';
import { type Installed, injectedPods, migrationsOrNone, runningOf } from './installed.ts';
import { endCleanup } from './nodes.ts';
import { agedTable, installedVersion, planTable, refusedJump } from './plan.ts';
import { superfluous } from './prune.ts';
import { doom, remove } from './remove.ts';
import { assertServer } from './server.ts';
import { objectsOf, type Settings, type Wishes } from './settings.ts';
import { fullName, some } from './uninstall.ts';
import { type Deadline, waitTasks } from './wait.ts';

export interface BringFlags extends Common, Wishes {
  force: boolean;
  wait: boolean;
  waitForMigrations: boolean;
  timeout: string;
  dryRun: DryRun;
  output?: 'yaml' | 'json' | 'name' | undefined;
}

const printAll = (io: Io, output: 'yaml' | 'json', objects: readonly Obj[]): void => {
  if (output === 'json') io.out(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }, null, 2));
  else
    io.out(
      objects
        .map((object) => stringify(object, { lineWidth: 0 }))
        .join('---\n')
        .trimEnd(),
    );
};

const documentOf = ({ output }: BringFlags): 'yaml' | 'json' | undefined =>
  output === 'yaml' || output === 'json' ? output : undefined;

const teller =
  (flags: BringFlags, io: Io) =>
  (object: Obj, text: string): void => {
    if (documentOf(flags) === undefined)
      io.out(flags.output === 'name' ? nameOf(object.kind as Kind, object.metadata.name) : text);
  };

/** What would be applied, told without a word to the cluster. */
export const printClientSide = (flags: BringFlags, io: Io, objects: readonly Obj[]): void => {
  const tell = teller(flags, io);
  for (const object of objects)
    tell(object, `${nameOf(object.kind as Kind, object.metadata.name)} serverside-applied (dry run)`);
  const document = documentOf(flags);
  if (document) printAll(io, document, objects);
};

/**
 * The namespace goes with the installation when it is removed. Throws SHADOW_E_NAMESPACE for one that somebody else has made;
 * nobody calls theirs as we call ours.
 */
export const refuseForeign = async (api: Api, namespace: string): Promise<void> => {
  if (namespace === NAMESPACE) return;
  const found = await getOrNone<{ metadata: Meta }>(api, 'Namespace', namespace);
  if (found === undefined || isOurs(found.metadata)) return;
  throw new ShadowError('SHADOW_E_NAMESPACE', `namespace ${namespace} exists, and uninstall would delete it`, {
    hint: `choose one that does not exist, or give it away: kubectl label namespace ${namespace} app.kubernetes.io/name=kubectl-shadow`,
  });
};

const running = async (api: Api): Promise<string[]> => runningOf(await migrationsOrNone(api)).map(fullName);

/** Throws SHADOW_E_IN_USE while migrations run; with `deadline` SHADOW_E_TIMEOUT when they still do then. */
const awaitMigrations = async (api: Api, io: Io, deadline: Deadline | undefined): Promise<void> => {
  for (let told = ''; ; await sleep(1_000)) {
    const names = await running(api);
    if (names.length === 0) return;
    const left = `running migrations: ${some(names)}`;
    if (deadline === undefined)
      throw new ShadowError('SHADOW_E_IN_USE', left, {
        hint: 'finish or abort them, or use --wait-for-migrations; with --force they go on under the new controller',
      });
    if (performance.now() > deadline.at) throw new ShadowError('SHADOW_E_TIMEOUT', `after ${deadline.given}: ${left}`);
    if (left !== told) io.err(`waiting: ${left}`);
    told = left;
  }
};

const prune = async (
  api: Api,
  { dryRun }: BringFlags,
  objects: readonly Obj[],
  namespace: string,
  tell: (object: Obj, text: string) => void,
): Promise<void> => {
  for (const { kind, name, namespace: where } of await superfluous(api, objects, namespace)) {
    if (dryRun === 'none' && !(await remove(api, doom(kind, name, where)))) continue;
    const suffix = dryRun === 'none' ? '' : dryRun === 'client' ? ' (dry run)' : ' (server dry run)';
    tell({ apiVersion: '', kind, metadata: { name } }, `${nameOf(kind, name)} pruned${suffix}`);
  }
};

const tellAged = async (api: Api, io: Io, version: string): Promise<void> => {
  const table = agedTable(await injectedPods(api), version);
  if (table === '') return;
  io.err(
    `These pods run on with the sidecar of another version than ${version}. To give them the new one, restart them:`,
  );
  io.err(table);
  io.err('What was injected in its manifest (kubectl shadow inject) is injected anew from the manifest without it.');
};

const deadlineOf = ({ timeout }: BringFlags): Deadline => ({
  at: performance.now() + durationMs('timeout', timeout),
  given: timeout,
});

/** Before anything is changed. Throws SHADOW_E_SKEW, SHADOW_E_IN_USE, SHADOW_E_TIMEOUT. */
const examine = async (api: Api, flags: BringFlags, io: Io, installed: Installed, wanted: Settings): Promise<void> => {
  const version = clientVersion();
  io.err(planTable(installed, wanted, version, await injectedPods(api)));
  const refused = refusedJump(installed, version);
  if (refused !== undefined && !flags.force)
    throw new ShadowError('SHADOW_E_SKEW', refused, {
      hint: 'upgrade by one minor version at a time, with the plugin of each; or use --force',
    });
  if (flags.force || flags.dryRun !== 'none') return;
  await awaitMigrations(api, io, flags.waitForMigrations ? deadlineOf(flags) : undefined);
};

/**
 * Applies what is wanted, waits, and prunes what is there no more. `installed`: what there is. Migrations must not run while
 * the version changes; with `mustBeQuiet` not in any case.
 */
export const bring = async (
  api: Api,
  flags: BringFlags,
  io: Io,
  wanted: Settings,
  installed: Installed | undefined,
  mustBeQuiet: boolean,
): Promise<void> => {
  await assertServer(api);
  const objects = objectsOf(wanted);
  const changes = installed !== undefined && installedVersion(installed) !== clientVersion();
  if (installed && (changes || mustBeQuiet)) await examine(api, flags, io, installed, wanted);
  const tell = teller(flags, io);
  if (flags.dryRun === 'client') {
    printClientSide(flags, io, objects);
    return prune(api, flags, objects, wanted.namespace, tell);
  }
  if (flags.dryRun === 'none') await endCleanup(api, wanted.namespace);
  const applied: Obj[] = [];
  await applyAll(api, objects, flags.dryRun, (object, text) => {
    applied.push(object);
    tell(object, text);
  });
  const document = documentOf(flags);
  if (document) printAll(io, document, applied);
  const waits = flags.wait && flags.dryRun === 'none';
  if (waits) await runTasks(io, waitTasks(api, objects, wanted, deadlineOf(flags)));
  // Only now: until the new parts are ready the old ones may need it.
  if (installed) await prune(api, flags, objects, wanted.namespace, tell);
  if (flags.dryRun === 'server') return;
  if (waits) io.err('kubectl-shadow is ready');
  if (changes || mustBeQuiet) await tellAged(api, io, clientVersion());
};
