/** kubectl shadow version. */
import { CONTROLLER } from '../webhook/api/names.ts';
import { UNMARKED, VERSION_LABEL } from '../webhook/api/skew.ts';
import { getOrNone } from './api.ts';
import { readAsset } from './assets.ts';
import { homeOf } from './installation.ts';
import type { Io } from './io.ts';
import type { Deployment } from './kinds.ts';
import type { Common } from './options.ts';
import { connectTo } from './session.ts';

export interface VersionFlags extends Common {
  client: boolean;
  output?: 'json' | 'yaml' | undefined;
}

export const clientVersion = (): string => {
  const { version } = JSON.parse(readAsset('package.json')) as { version: string };
  return version;
};

/** What the controller is, or why that is not known: this command answers without a cluster, too. */
const installed = async (
  flags: VersionFlags,
): Promise<{ version?: string; image?: string; namespace?: string; unknown?: string }> => {
  try {
    const { api } = await connectTo(flags);
    const namespace = await homeOf(api);
    const controller = await getOrNone<Deployment>(api, 'Deployment', CONTROLLER, namespace);
    const image = controller?.spec.template.spec.containers[0]?.image;
    if (controller === undefined || image === undefined) return { unknown: 'not installed' };
    return { version: controller.metadata.labels?.[VERSION_LABEL] ?? UNMARKED, image, namespace };
  } catch (error) {
    const { problemOf } = await import('./problems.ts');
    return { unknown: problemOf(error).message };
  }
};

export const version = async (flags: VersionFlags, io: Io): Promise<void> => {
  const client = clientVersion();
  const server = flags.client ? undefined : await installed(flags);
  if (flags.output) {
    const { printDocument } = await import('./migration/print.ts');
    await printDocument(io, flags.output, { client: { version: client }, ...(server ? { server } : {}) });
    return;
  }
  io.out(`Client Version: ${client}`);
  if (server?.version) {
    io.out(`Server Version: ${server.version}`);
    io.out(`Server Image: ${server.image}`);
  } else if (server) io.err(`Server Version: unknown (${server.unknown})`);
};
