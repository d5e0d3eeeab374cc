/** kubectl shadow check. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ShadowError } from '../../webhook/api/errors.ts';
import { type Api, getOrNone } from '../api.ts';
import type { Io } from '../io.ts';
import type { Pod } from '../kinds.ts';
import { assertTransfer, specOf } from '../migration/request.ts';
import { type Common, durationMs, podName, usage } from '../options.ts';
import { connectTo } from '../session.ts';
import { CLUSTER_CHECKS, NEEDED_BY_POD, POD_CHECKS, REHEARSAL_CHECKS } from './catalogue.ts';
import { evaluate, isFailed, type Result } from './evaluate.ts';
import type { Facts } from './facts.ts';
import { DRY_RUN_MS, factOf, gather } from './gather.ts';
import { type Output, printed, type Style, summary } from './print.ts';
import { numbersOf, type RehearseFlags, rehearsalOf, secondsOf } from './rehearse.ts';

export interface CheckFlags extends Common, RehearseFlags {
  pod?: string | undefined;
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
  const { dryRun } = await import('../migration/dryrun.ts');
  const looking = async () => {
    const podUid = (await getOrNone<Pod>(api, 'Pod', pod, namespace).catch(() => undefined))?.metadata.uid;
    const spec = { ...specOf(pod, flags), sourcePod: pod };
    return dryRun(api, { namespace, spec, podUid }, DRY_RUN_MS, signal);
  };
  // It must have deleted its object before we end: dryRun keeps its own time.
  return factOf(looking(), 2 * DRY_RUN_MS);
};

interface Looked {
  facts: Facts;
  results: Result[];
}

/** undefined: broken off. */
const look = async (
  api: Api,
  namespace: string,
  pod: string | undefined,
  flags: CheckFlags,
  signal: AbortSignal,
): Promise<Looked | undefined> => {
  const broken = new Promise<undefined>((resolve) => signal.addEventListener('abort', () => resolve(undefined)));
  const gathering = Promise.race([gather(api, namespace, pod === undefined), broken]);
  if (pod === undefined) {
    const facts = await gathering;
    return facts && { facts, results: evaluate(CLUSTER_CHECKS, facts) };
  }
  const vain = new AbortController();
  const looking = lookedAt(api, namespace, pod, flags, AbortSignal.any([signal, vain.signal]));
  const facts = await gathering;
  // Nobody will look: that it is so is known long before the dry run is over.
  if (facts !== undefined && isFailed(evaluate(NEEDED_BY_POD, facts))) vain.abort();
  const dryRun = await looking;
  if (facts === undefined || signal.aborted) return undefined;
  const all = { ...facts, dryRun };
  // Those of a rehearsal, too: what failed before it is why they are skipped.
  return { facts: all, results: evaluate(flags.rehearse ? REHEARSAL_CHECKS : POD_CHECKS, all) };
};

const failing = (results: readonly Result[]): string =>
  results
    .filter(({ outcome }) => outcome === 'fail')
    .map(({ id, message }) => `${id}: ${message}`)
    .join('; ');

/** Throws SHADOW_E_USAGE for what is asked of a pod where there is none. */
const podOf = (flags: CheckFlags): string | undefined => {
  if (flags.pod !== undefined) return podName(flags.pod);
  const ofPod = (['to', 'strategy', 'driver', 'transfer', 'repository', 'for'] as const).find(
    (flag) => flags[flag] !== undefined,
  );
  if (flags.rehearse) throw usage('--rehearse is for check pod/NAME');
  if (ofPod !== undefined) throw usage(`--${ofPod} is for check pod/NAME`);
  return undefined;
};

const timedOut = (results: readonly Result[], given: string): ShadowError =>
  new ShadowError('SHADOW_E_TIMEOUT', `${summary(results)} after ${given}`, {
    hint: 'see the checks that failed; the same command again goes on waiting',
  });

interface Run {
  api: Api;
  io: Io;
  namespace: string;
  pod: string | undefined;
  flags: CheckFlags;
  /** By performance.now(). */
  deadline: number;
  signal: AbortSignal;
}

const print = ({ io, flags }: Run, results: readonly Result[], facts: Facts): number => {
  const style = styleOf(process.stdout, flags.color);
  io.out(printed(results, flags.output, style, numbersOf(facts.rehearsal)));
  return isFailed(results) ? 1 : 0;
};

/** The pod was found fit. */
const rehearsed = async (run: Run, pod: string, facts: Facts): Promise<number> => {
  const { api, io, flags, namespace, signal } = run;
  const timeoutMs = run.deadline - performance.now();
  const stage = { namespace, pod, flags, seconds: secondsOf(flags), timeoutMs, signal };
  const rehearsal = await rehearsalOf(api, io, stage);
  if (rehearsal === undefined) return 130;
  const all = { ...facts, rehearsal };
  return print(run, evaluate(REHEARSAL_CHECKS, all), all);
};

const run = async (given: Run): Promise<number> => {
  const { api, io, namespace, pod, flags, deadline, signal } = given;
  for (let told = ''; ; ) {
    const looked = await look(api, namespace, pod, flags, signal);
    if (looked === undefined) return 130;
    const { results, facts } = looked;
    const failed = isFailed(results);
    if (!failed && flags.rehearse && pod !== undefined) return rehearsed(given, pod, facts);
    const over = performance.now() + AGAIN_MS > deadline;
    if (!failed || !flags.wait) return print(given, results, facts);
    if (over) {
      print(given, results, facts);
      throw timedOut(results, flags.timeout);
    }
    const now = failing(results);
    if (now !== told) io.err(`waiting: ${now}`);
    told = now;
    await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return 130;
  }
};

/**
 * Returns the exit code: 0 all passed, warnings or not; 1 a check failed; 130 after Ctrl-C. Throws SHADOW_E_TIMEOUT with --wait,
 * and of a rehearsal that does not end.
 */
export const check = async (flags: CheckFlags, io: Io): Promise<number> => {
  const pod = podOf(flags);
  assertTransfer(flags);
  secondsOf(flags);
  const deadline = performance.now() + durationMs('timeout', flags.timeout);
  const { api, namespace } = await connectTo(flags);
  const broken = new AbortController();
  const stop = (): void => broken.abort();
  // What is made for the look must be gone before we go.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  try {
    return await run({ api, io, namespace, pod, flags, deadline, signal: broken.signal });
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, stop);
  }
};
