/** Waiting for a migration's end, with its progress shown, a limit, and Ctrl-C. */
import { ShadowError } from '../../webhook/api/errors.ts';
import { isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import type { Api } from '../api.ts';
import type { Io } from '../io.ts';
import { problemOf } from '../problems.ts';
import type { Board } from './board.ts';
import { follow } from './follow.ts';
import { isCommitted, phaseOf, podOf } from './model.ts';
import { requestAbort } from './request.ts';

export type Ending = { how: 'ended' | 'timeout' | 'interrupted'; last: StatefulMigration };

/** Ctrl-C, once `interrupts` was called; `stop` gives it back to node. */
export interface Interrupts {
  /** Resolves when there is one that was not taken, also when it came before. */
  next(): Promise<'interrupted'>;
  /** One is dealt with. */
  take(): void;
  stop(): void;
}

export const interrupts = (): Interrupts => {
  let open = 0;
  const waiting = new Set<() => void>();
  const on = (): void => {
    open += 1;
    for (const wake of waiting) wake();
    waiting.clear();
  };
  process.on('SIGINT', on);
  return {
    async next() {
      if (open === 0) await new Promise<void>((resolve) => waiting.add(resolve));
      return 'interrupted';
    },
    take() {
      open = Math.max(0, open - 1);
    },
    stop: () => void process.off('SIGINT', on),
  };
};

export interface Waiting {
  board: Board;
  timeoutMs: number;
  interrupts: Interrupts;
  /** Ctrl-C asks whether to abort; else it just leaves. */
  offersAbort: boolean;
}

const howToGoOn = (last: StatefulMigration): string => {
  const { name, namespace } = last.metadata;
  if (isEnded(last)) return `the migration of ${podOf(last)} is ${phaseOf(last)}`;
  const committed = isCommitted(last);
  return [
    `the migration of ${podOf(last)} goes on${committed ? '; it is committed and finishes by itself' : ''}`,
    `  see it:   kubectl shadow status ${name} -n ${namespace} --watch`,
    ...(committed ? [] : [`  abort it: kubectl shadow abort ${name} -n ${namespace}`]),
  ].join('\n');
};

type Wish = 'abort' | 'leave' | 'watch';

const ANSWERS: readonly (readonly [RegExp, Wish])[] = [
  [/^(a|abort|y|yes)$/, 'abort'],
  [/^(w|watch)$/, 'watch'],
];

/** What Ctrl-C is to mean. A second one leaves at once; what ends meanwhile needs no answer. */
const wishOf = async (
  io: Io,
  last: StatefulMigration,
  ended: Promise<unknown>,
  { board, interrupts: again, offersAbort }: Waiting,
): Promise<Wish> => {
  if (!offersAbort || isCommitted(last) || !io.ask) return 'leave';
  const over = new AbortController();
  const question = `${podOf(last)} is being moved. Abort it, leave it running, or watch on? [a/L/w] `;
  board.pause();
  const answer = await Promise.race([
    io.ask(question, over.signal),
    again.next().then(() => 'leave'),
    ended.then(
      () => 'watch',
      () => 'watch',
    ),
  ]);
  over.abort();
  board.resume();
  return ANSWERS.find(([pattern]) => pattern.test(answer))?.[1] ?? 'leave';
};

/** A commit, or the end, may come before it: then that is told, and the waiting goes on. */
const abortNow = async (api: Api, last: StatefulMigration, board: Board): Promise<void> => {
  try {
    await requestAbort(api, last.metadata);
    board.say('asked to abort');
  } catch (error) {
    const problem = problemOf(error);
    if (problem.code !== 'SHADOW_E_COMMITTED' && problem.code !== 'SHADOW_E_FINISHED') throw error;
    board.say(problem.message);
  }
};

/** Returns the last state seen and how the waiting ended. Throws what `follow` and `requestAbort` throw. */
export const waitForEnd = async (api: Api, io: Io, start: StatefulMigration, waiting: Waiting): Promise<Ending> => {
  const { board, timeoutMs, interrupts: signals } = waiting;
  const stop = new AbortController();
  let last = start;
  board.show(start);
  const ended = (async () => {
    for await (const state of follow(api, start.metadata, stop.signal)) {
      // What was on its way when the waiting ended is not shown any more.
      if (stop.signal.aborted) break;
      last = state;
      board.show(state);
    }
    return 'ended' as const;
  })();
  const limit = Promise.withResolvers<'timeout'>();
  const timer = setTimeout(() => limit.resolve('timeout'), timeoutMs);
  try {
    for (;;) {
      const how = await Promise.race([ended, limit.promise, signals.next()]);
      if (how !== 'interrupted') return { how, last };
      signals.take();
      const wish = await wishOf(io, last, ended, waiting);
      if (wish === 'abort') await abortNow(api, last, board);
      if (wish === 'leave') {
        stop.abort();
        board.close();
        io.err(howToGoOn(last));
        return { how, last };
      }
    }
  } finally {
    clearTimeout(timer);
    stop.abort();
    await ended.catch(() => {});
  }
};

export const timedOut = (last: StatefulMigration, given: string): ShadowError =>
  new ShadowError('SHADOW_E_TIMEOUT', `${last.metadata.name} after ${given}, phase ${last.status?.phase ?? 'Pending'}`);
