/** kubectl shadow check. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ShadowError } from '../../webhook/api/errors.ts';
import type { Driver, Strategy } from '../../webhook/api/migration.ts';
import { type Api, getOrNone } from '../api.ts';
import type { Io } from '../io.ts';
import type { Pod } from '../kinds.ts';
import { type Common, durationMs, podName, usage } from '../options.ts';
import { connectTo } from '../session.ts';
import { CLUSTER_CHECKS, NEEDED_BY_POD, POD_CHECKS } from './catalogue.ts';
import { evaluate, isFailed, type Result } from './evaluate.ts';
import type { Facts } from './facts.ts';
import { DRY_RUN_MS, factOf, gather } from './gather.ts';
import { type Output, printed, type Style, summary } from './print.ts';

export interface CheckFlags extends Common {
  pod?: string | undefined;
  to?: string | undefined;
  strategy?: Strategy | undefined;
  driver?: Driver | undefined;
  wait: boolean;
  timeout: string;
  output: Output;
  color: boolean;
}

/** Between two looks of --wait, milliseconds. */
const AGAIN_MS = 3_000;

export const styleOf = (
  { isTTY }: { isTTY?: boolean | undefined },
  wanted: boolean,
  env: NodeJS.ProcessEnv = process.env,
): Style => {
  const symbols = isTTY === true && env.TERM !== 'dumb';
  return { symbols, color: symbols && wanted && !env.NO_COLOR };
};

/** The controller's look at the pod, beside all else that is asked. */
const lookedAt = async (
  api: Api,
  namespace: string,
  pod: string,
  flags: CheckFlags,
  signal: AbortSignal,
): Promise<NonNullable<Facts['dryRun']>> => {
  const [{ dryRun }, { specOf }] = await Promise.all([
    import('../migration/dryrun.ts'),
    import('../migration/request.ts'),
  ]);
  const looking = async () => {
    const podUid = (await getOrNone<Pod>(api, 'Pod', pod, namespace).catch(() => undefined))?.metadata.uid;
    const spec = { ...specOf(pod, flags), sourcePod: pod };
    return dryRun(api, { namespace, spec, podUid }, DRY_RUN_MS, signal);
  };
  // It must have deleted its object before we end: dryRun keeps its own time.
  return factOf(looking(), 2 * DRY_RUN_MS);
};

/** undefined: broken off. */
const look = async (
  api: Api,
  namespace: string,
  pod: string | undefined,
  flags: CheckFlags,
  signal: AbortSignal,
): Promise<Result[] | undefined> => {
  const broken = new Promise<undefined>((resolve) => signal.addEventListener('abort', () => resolve(undefined)));
  const gathering = Promise.race([gather(api, namespace, pod === undefined), broken]);
  if (pod === undefined) {
    const facts = await gathering;
    return facts && evaluate(CLUSTER_CHECKS, facts);
  }
  const vain = new AbortController();
  const looking = lookedAt(api, namespace, pod, flags, AbortSignal.any([signal, vain.signal]));
  const facts = await gathering;
  // Nobody will look: that it is so is known long before the dry run is over.
  if (facts !== undefined && isFailed(evaluate(NEEDED_BY_POD, facts))) vain.abort();
  const dryRun = await looking;
  return facts === undefined || signal.aborted ? undefined : evaluate(POD_CHECKS, { ...facts, dryRun });
};

const failing = (results: readonly Result[]): string =>
  results
    .filter(({ outcome }) => outcome === 'fail')
    .map(({ id, message }) => `${id}: ${message}`)
    .join('; ');

/** Throws SHADOW_E_USAGE for what is asked of a pod where there is none. */
const podOf = (flags: CheckFlags): string | undefined => {
  if (flags.pod !== undefined) return podName(flags.pod);
  const ofPod = (['to', 'strategy', 'driver'] as const).find((flag) => flags[flag] !== undefined);
  if (ofPod !== undefined) throw usage(`--${ofPod} is for check pod/NAME`);
  return undefined;
};

const timedOut = (results: readonly Result[], given: string): ShadowError =>
  new ShadowError('SHADOW_E_TIMEOUT', `${summary(results)} after ${given}`, {
    hint: 'see the checks that failed; the same command again goes on waiting',
  });

/** Returns the exit code: 0 all passed, warnings or not; 1 a check failed; 130 after Ctrl-C. Throws SHADOW_E_TIMEOUT with --wait. */
export const check = async (flags: CheckFlags, io: Io): Promise<number> => {
  const pod = podOf(flags);
  const deadline = performance.now() + durationMs('timeout', flags.timeout);
  const { api, namespace } = await connectTo(flags);
  const broken = new AbortController();
  const stop = (): void => broken.abort();
  // What is made for the look must be gone before we go.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  try {
    for (let told = ''; ; ) {
      const results = await look(api, namespace, pod, flags, broken.signal);
      if (results === undefined) return 130;
      const failed = isFailed(results);
      const over = performance.now() + AGAIN_MS > deadline;
      if (!failed || !flags.wait || over) io.out(printed(results, flags.output, styleOf(process.stdout, flags.color)));
      if (!failed) return 0;
      if (!flags.wait) return 1;
      if (over) throw timedOut(results, flags.timeout);
      const now = failing(results);
      if (now !== told) io.err(`waiting: ${now}`);
      told = now;
      await sleep(AGAIN_MS, undefined, { signal: broken.signal }).catch(() => undefined);
      if (broken.signal.aborted) return 130;
    }
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop);
  }
};
