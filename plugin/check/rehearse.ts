/** check --rehearse: the rehearsal itself, told as it goes on standard error, and what it found as a fact. */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { MOST_REHEARSE_SECONDS, REHEARSE_SECONDS } from '../../webhook/api/rehearsal.ts';
import { type Api, getOrNone } from '../api.ts';
import type { Io } from '../io.ts';
import type { Pod } from '../kinds.ts';
import { rehearse } from '../migration/rehearse.ts';
import { type SpecFlags, specOf } from '../migration/request.ts';
import { linesOf } from '../migration/view.ts';
import { durationMs, usage } from '../options.ts';
import { problemOf } from '../problems.ts';
import type { Fact } from './facts.ts';
import type { Rehearsed } from './print.ts';

export interface RehearseFlags extends SpecFlags {
  rehearse: boolean;
  for?: string | undefined;
}

/** Throws SHADOW_E_USAGE. */
export const secondsOf = (flags: RehearseFlags): number => {
  if (flags.for === undefined) return REHEARSE_SECONDS;
  if (!flags.rehearse) throw usage('--for is for check pod/NAME --rehearse');
  const seconds = Math.ceil(durationMs('for', flags.for) / 1000);
  if (seconds < 1 || seconds > MOST_REHEARSE_SECONDS)
    throw usage(`--for "${flags.for}" must be 1s to ${MOST_REHEARSE_SECONDS}s`);
  return seconds;
};

const teller = (io: Io): ((state: StatefulMigration) => void) => {
  const told = new Set<string>();
  return (state) => {
    for (const { key, text } of linesOf(state)) {
      if (!told.has(key)) io.err(text);
      told.add(key);
    }
  };
};

export interface Stage {
  namespace: string;
  pod: string;
  flags: RehearseFlags;
  seconds: number;
  timeoutMs: number;
  signal: AbortSignal;
}

/** undefined: broken off. Throws SHADOW_E_TIMEOUT. */
export const rehearsalOf = async (
  api: Api,
  io: Io,
  { namespace, pod, flags, seconds, timeoutMs, signal }: Stage,
): Promise<Fact<StatefulMigration> | undefined> => {
  const podUid = (await getOrNone<Pod>(api, 'Pod', pod, namespace).catch(() => undefined))?.metadata.uid;
  const spec = { ...specOf(pod, flags), sourcePod: pod };
  io.err(`rehearsing ${pod}, playing for ${seconds} s at most; it serves on, and Ctrl-C puts all back`);
  signal.addEventListener('abort', () => io.err('broken off: all is being put back'), { once: true });
  try {
    return { got: await rehearse(api, { namespace, spec, podUid, seconds, timeoutMs, signal, show: teller(io) }) };
  } catch (error) {
    const problem = problemOf(error);
    if (problem.code === 'SHADOW_E_TIMEOUT') throw problem;
    if (signal.aborted) return undefined;
    return { failed: `${problem.code}: ${problem.message}`, hint: problem.hint };
  }
};

/** For -o json. */
export const numbersOf = (fact: Fact<StatefulMigration> | undefined): Rehearsed | undefined => {
  if (fact === undefined || !('got' in fact)) return undefined;
  const { rehearsal, strategy, strategyReason, error } = fact.got.status ?? {};
  return rehearsal && { ...rehearsal, strategy, strategyReason, error };
};
