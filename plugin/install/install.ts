/** kubectl shadow install. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { NAMESPACE } from '../../webhook/api/names.ts';
import type { Io } from '../io.ts';
import { durationMs } from '../options.ts';
import { connectTo } from '../session.ts';
import { clientVersion } from '../version.ts';
import { type BringFlags, bring, printClientSide, refuseForeign } from './bring.ts';
import { readInstalled } from './installed.ts';
import { installedVersion } from './plan.ts';
import { checkNamespace, chosen, objectsOf } from './settings.ts';

/**
 * Over an installation it does what `upgrade` does, and keeps its settings as that does; but with the version it has it asks no
 * migration to end. `--dry-run=client` is the base with what the command line says, and no cluster is asked.
 */
export const install = async (flags: BringFlags, io: Io): Promise<void> => {
  durationMs('timeout', flags.timeout);
  const asked = flags.namespace === undefined ? undefined : checkNamespace(flags.namespace);
  const to = clientVersion();
  if (flags.dryRun === 'client')
    return printClientSide(flags, io, objectsOf(chosen(asked ?? NAMESPACE, flags, undefined, to)));
  const { api } = await connectTo(flags);
  const { namespace: found, installed } = await readInstalled(api);
  const namespace = asked ?? found;
  if (installed && namespace !== found)
    throw new ShadowError('SHADOW_E_NAMESPACE', `it is installed in ${found} already, and a cluster has it once`, {
      hint: 'leave out --namespace, or uninstall it first',
    });
  if (!installed) await refuseForeign(api, namespace);
  const before = installed && { settings: installed.settings, from: installedVersion(installed) };
  await bring(api, flags, io, chosen(namespace, flags, before, to), installed, false);
};
