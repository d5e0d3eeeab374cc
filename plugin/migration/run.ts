/** Pods moved one after another; the first that fails stops the rest. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ShadowError } from '../../webhook/api/errors.ts';
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import { type Api, getOrNone } from '../api.ts';
import { deploymentMissing } from '../install/ready.ts';
import type { Io } from '../io.ts';
import type { Deployment } from '../kinds.ts';
import { problemOf } from '../problems.ts';
import { type Board, boardOn } from './board.ts';
import { checkFirst } from './check.ts';
import { errorOf } from './model.ts';
import { nameOfMigration } from './print.ts';
import { create, type SpecFlags } from './request.ts';
import { type Interrupts, interrupts, timedOut, waitForEnd } from './wait.ts';

/** What became of one pod. Neither migration nor problem: it was not begun. */
export interface Move {
  pod: string;
  migration?: StatefulMigration;
  problem?: ShadowError;
}

export interface RunFlags extends SpecFlags {
  timeoutMs: number;
  /** As the user gave it. */
  timeout: string;
}

export interface Run {
  moves: Move[];
  /** Ctrl-C ended the waiting. */
  interrupted: boolean;
  /** The first failure. */
  problem?: ShadowError | undefined;
}

const SETTLE_MS = 30_000;
const POLL_MS = 250;

/**
 * A Deployment that has just adopted a copy counts its replicas anew, and is refused as being rolled out until it has. After
 * SETTLE_MS it is the controller's to say what is wrong with it.
 */
const settle = async (api: Api, { status, metadata }: StatefulMigration): Promise<void> => {
  const name = status?.deploymentName;
  if (name === undefined) return;
  for (const until = performance.now() + SETTLE_MS; performance.now() < until; await sleep(POLL_MS)) {
    const deployment = await getOrNone<Deployment>(api, 'Deployment', name, metadata.namespace).catch(() => undefined);
    if (deployment === undefined || deploymentMissing(deployment) === undefined) return;
  }
};

interface Stage {
  api: Api;
  io: Io;
  namespace: string;
  flags: RunFlags;
  board: Board;
  signals: Interrupts;
}

type Outcome = 'moved' | 'failed' | 'interrupted';

const moveOne = async (stage: Stage, move: Move): Promise<Outcome> => {
  const { api, io, namespace, flags, board, signals } = stage;
  move.migration = await create(api, namespace, move.pod, flags);
  board.say(`${nameOfMigration(move.migration)} created`);
  const waiting = { board, timeoutMs: flags.timeoutMs, interrupts: signals, offersAbort: true };
  const { how, last } = await waitForEnd(api, io, move.migration, waiting);
  move.migration = last;
  if (how === 'interrupted') return 'interrupted';
  const problem = how === 'timeout' ? timedOut(last, flags.timeout) : errorOf(last);
  if (problem) move.problem = problem;
  return problem ? 'failed' : 'moved';
};

/** Much may have changed since all were checked. */
const prepare = async (stage: Stage, move: Move, before: StatefulMigration): Promise<'ready' | 'interrupted'> => {
  const { api, namespace, flags, signals } = stage;
  const ready = settle(api, before)
    .then(() => checkFirst(api, { namespace, pods: [move.pod], node: flags.to }))
    .then(() => 'ready' as const);
  return Promise.race([ready, signals.next()]);
};

const moveAll = async (stage: Stage, moves: readonly Move[]): Promise<Outcome> => {
  for (const [at, move] of moves.entries()) {
    const before = moves[at - 1]?.migration;
    try {
      if (before && (await prepare(stage, move, before)) === 'interrupted') return 'interrupted';
      const outcome = await moveOne(stage, move);
      if (outcome !== 'moved') return outcome;
    } catch (error) {
      move.problem = problemOf(error);
      return 'failed';
    }
  }
  return 'moved';
};

/** `born`: when the pods were created. Never throws for a migration that fails. */
export const runAll = async (
  api: Api,
  io: Io,
  namespace: string,
  { pods, born }: { pods: readonly string[]; born: ReadonlyMap<string, number> },
  flags: RunFlags,
): Promise<Run> => {
  const moves = pods.map((pod): Move => ({ pod }));
  const board = boardOn(io, { pods, born });
  const signals = interrupts();
  try {
    const outcome = await moveAll({ api, io, namespace, flags, board, signals }, moves);
    return { moves, interrupted: outcome === 'interrupted', problem: moves.find(({ problem }) => problem)?.problem };
  } finally {
    board.close();
    signals.stop();
  }
};
