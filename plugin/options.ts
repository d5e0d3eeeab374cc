/** What all commands take, as kubectl names it. */
import { ShadowError } from '../webhook/api/errors.ts';

export interface Common {
  namespace?: string | undefined;
  context?: string | undefined;
  kubeconfig?: string | undefined;
  cluster?: string | undefined;
  user?: string | undefined;
  as?: string | undefined;
  asGroup?: string[] | undefined;
  requestTimeout: string;
}

export const COMMON = {
  namespace: { alias: 'n', type: 'string', describe: 'namespace (default: that of the context)' },
  context: { type: 'string', describe: 'context of the kubeconfig to use' },
  kubeconfig: { type: 'string', describe: 'path of the kubeconfig' },
  cluster: { type: 'string', describe: 'cluster of the kubeconfig to use' },
  user: { type: 'string', describe: 'user of the kubeconfig to use' },
  as: { type: 'string', describe: 'user to impersonate' },
  'as-group': { type: 'string', array: true, describe: 'group to impersonate; may be repeated' },
  'request-timeout': {
    type: 'string',
    default: '30s',
    describe: 'longest wait for one answer of the API server; 0: no limit',
  },
  color: { type: 'boolean', default: true, describe: 'colours on a terminal; --no-color, or NO_COLOR, for none' },
} as const;

export const usage = (detail: string): ShadowError => new ShadowError('SHADOW_E_USAGE', detail);

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A duration as kubectl takes it, in milliseconds: `90`, `90s`, `1m30s`, `1.5h`. Throws SHADOW_E_USAGE. */
export const durationMs = (flag: string, text: string): number => {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text))
    throw usage(`--${flag} "${text}" is no duration; write 90s, 5m or 1m30s`);
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) total += Number(number) * UNIT_MS[unit!]!;
  return total;
};

/** `consumer-0`, `pod/consumer-0`, `pods/consumer-0`, `po/consumer-0` → consumer-0. Throws SHADOW_E_USAGE for other kinds. */
export const podName = (text: string): string => {
  const [kind, name, ...more] = text.includes('/') ? text.split('/') : ['pod', text];
  if (!name || more.length > 0) throw usage(`"${text}" names no pod; write NAME or pod/NAME`);
  if (!['pod', 'pods', 'po'].includes(kind!)) throw usage(`"${text}" is no pod; write NAME or pod/NAME`);
  return name;
};
