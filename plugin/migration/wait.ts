/** Waiting for a migration's end, with its progress shown, a limit, and Ctrl-C. */
import { ShadowError } from '../../webhook/api/errors.ts';
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import type { Api } from '../api.ts';
import type { Io } from '../io.ts';
import { boardOn } from './board.ts';
import { follow } from './follow.ts';
import { isCommitted } from './model.ts';
import { requestAbort } from './request.ts';

export type Ending = { how: 'ended' | 'timeout' | 'interrupted'; last: StatefulMigration };

/** SIGINT as a promise that can be waited for again and again; `stop` gives Ctrl-C back to node. */
export const interrupts = (): { next(): Promise<'interrupted'>; stop(): void } => {
  let wake = Promise.withResolvers<'interrupted'>();
  const on = (): void => {
    wake.resolve('interrupted');
    wake = Promise.withResolvers();
  };
  process.on('SIGINT', on);
  return { next: () => wake.promise, stop: () => void process.off('SIGINT', on) };
};

/** One stretch of watching: until the end, the limit or Ctrl-C. */
const watchOnce = async (
  api: Api,
  io: Io,
  start: StatefulMigration,
  limitMs: number,
  interrupted: Promise<'interrupted'>,
): Promise<Ending> => {
  const stop = new AbortController();
  const board = await boardOn(io);
  let last = start;
  const ended = (async () => {
    for await (const state of follow(api, start.metadata, stop.signal)) {
      last = state;
      board.show(state);
    }
    return 'ended' as const;
  })();
  const limit = Promise.withResolvers<'timeout'>();
  const timer = setTimeout(() => limit.resolve('timeout'), limitMs);
  try {
    return { how: await Promise.race([ended, limit.promise, interrupted]), last };
  } finally {
    clearTimeout(timer);
    stop.abort();
    await ended.catch(() => {});
    await board.close();
  }
};

const howToGoOn = ({ metadata }: StatefulMigration): string =>
  [
    `the migration goes on`,
    `  see it:   kubectl shadow status ${metadata.name} -n ${metadata.namespace}`,
    `  abort it: kubectl shadow abort ${metadata.name} -n ${metadata.namespace}`,
  ].join('\n');

/** Asked after Ctrl-C: true to go on waiting, for the abort. */
const abortsNow = async (api: Api, io: Io, last: StatefulMigration): Promise<boolean> => {
  if (isCommitted(last) || !io.ask) return false;
  const answer = await io.ask('The migration goes on. Abort it? [y/N] ');
  if (!/^y(es)?$/.test(answer)) return false;
  await requestAbort(api, last.metadata);
  return true;
};

/** Returns the last state seen and how the waiting ended. Throws what `follow` and `requestAbort` throw. */
export const waitForEnd = async (api: Api, io: Io, start: StatefulMigration, timeoutMs: number): Promise<Ending> => {
  const until = performance.now() + timeoutMs;
  const signals = interrupts();
  try {
    for (let last = start; ; ) {
      const ending = await watchOnce(api, io, last, until - performance.now(), signals.next());
      last = ending.last;
      if (ending.how !== 'interrupted' || !(await abortsNow(api, io, last))) {
        if (ending.how === 'interrupted') io.err(howToGoOn(last));
        return ending;
      }
    }
  } finally {
    signals.stop();
  }
};

export const timedOut = (last: StatefulMigration, given: string): ShadowError =>
  new ShadowError('SHADOW_E_TIMEOUT', `${last.metadata.name} after ${given}, phase ${last.status?.phase ?? 'Pending'}`);
