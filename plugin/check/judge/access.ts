/** May the caller do what `migrate` does? Pure. */
import type { Facts, Finding } from '../facts.ts';
import { fail, pass } from '../facts.ts';

export const rights = ({ rights: all, namespace }: Facts): Finding => {
  const unknown = all.find(({ allowed }) => !('got' in allowed));
  if (unknown !== undefined) {
    const { allowed } = unknown;
    const why = 'failed' in allowed ? allowed.failed : 'denied' in allowed ? allowed.denied : 'no answer';
    return fail(`could not ask what you may: ${why}`);
  }
  const missing = all.filter(({ allowed }) => !('got' in allowed && allowed.got));
  if (missing.length === 0) return pass(`you may migrate pods in namespace ${namespace}`);
  const byResource = Map.groupBy(missing, ({ resource }) => resource);
  const lines = [...byResource].map(([resource, of]) => `${of.map(({ verb }) => verb).join(', ')} ${resource}`);
  return fail(`in namespace ${namespace} you may not ${lines.join('; nor ')}`);
};
