/** kubectl shadow install. */
import { stringify } from 'yaml';
import { NAMESPACE } from '../../webhook/api/names.ts';
import type { Io } from '../io.ts';
import { type Kind, nameOf, type Obj } from '../kinds.ts';
import { loadManifests, withImage } from '../manifests.ts';
import { type Common, durationMs, usage } from '../options.ts';
import { connectTo } from '../session.ts';
import { runTasks } from '../tasks.ts';
import { applyAll, type DryRun } from './apply.ts';
import { withoutNodeSetup } from './nodes.ts';
import { assertServer } from './server.ts';
import { waitTasks } from './wait.ts';

export interface InstallFlags extends Common {
  image?: string | undefined;
  nodeSetup: boolean;
  wait: boolean;
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

export const install = async (flags: InstallFlags, io: Io): Promise<void> => {
  if (flags.namespace !== undefined && flags.namespace !== NAMESPACE) {
    throw usage(`the components run in namespace ${NAMESPACE}; no other can be chosen`);
  }
  const timeoutMs = durationMs('timeout', flags.timeout);
  const base = loadManifests();
  const chosen = flags.nodeSetup ? base : withoutNodeSetup(base);
  const objects = flags.image ? withImage(chosen, flags.image) : chosen;
  const document = flags.output === 'yaml' || flags.output === 'json' ? flags.output : undefined;
  const line = (object: Obj, text: string): void => {
    if (!document) io.out(flags.output === 'name' ? nameOf(object.kind as Kind, object.metadata.name) : text);
  };

  if (flags.dryRun === 'client') {
    for (const object of objects)
      line(object, `${nameOf(object.kind as Kind, object.metadata.name)} serverside-applied (dry run)`);
    if (document) printAll(io, document, objects);
    return;
  }
  const { api } = await connectTo(flags);
  await assertServer(api);
  const applied: Obj[] = [];
  await applyAll(api, objects, flags.dryRun, (object, text) => {
    applied.push(object);
    line(object, text);
  });
  if (document) printAll(io, document, applied);
  if (flags.dryRun === 'server' || !flags.wait) return;
  await runTasks(io, waitTasks(api, objects, { at: performance.now() + timeoutMs, given: flags.timeout }));
  io.err('kubectl-shadow is ready');
};
