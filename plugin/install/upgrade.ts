/** kubectl shadow upgrade. */
import { ShadowError } from '../../webhook/api/errors.ts';
import type { Io } from '../io.ts';
import { durationMs, usage } from '../options.ts';
import { connectTo } from '../session.ts';
import { clientVersion } from '../version.ts';
import { type BringFlags, bring } from './bring.ts';
import { readInstalled } from './installed.ts';
import { installedVersion } from './plan.ts';
import { chosen } from './settings.ts';

/** Throws SHADOW_E_NOT_INSTALLED, SHADOW_E_SKEW, SHADOW_E_IN_USE, SHADOW_E_USAGE, SHADOW_E_TIMEOUT. */
export const upgrade = async (flags: BringFlags, io: Io): Promise<void> => {
  durationMs('timeout', flags.timeout);
  const { api } = await connectTo(flags);
  const { namespace, installed } = await readInstalled(api);
  if (installed === undefined) throw new ShadowError('SHADOW_E_NOT_INSTALLED');
  if (flags.namespace !== undefined && flags.namespace !== namespace)
    throw usage(`kubectl-shadow is installed in namespace ${namespace}, not in ${flags.namespace}`);
  const before = { settings: installed.settings, from: installedVersion(installed) };
  await bring(api, flags, io, chosen(namespace, flags, before, clientVersion()), installed, true);
};
