/** How a sidecar stands still for a cut: mute, or at a content boundary from which on it records. Then it learns as whom it wakes. */
import type { Answer, Command } from '../api/control.ts';
import { asShadowError, ShadowError } from '../api/errors.ts';
import type { Log } from '../log.ts';
import type { Control } from './control.ts';
import { type freeze, uidAfterWaking } from './freeze.ts';
import type { Handoff } from './handoff.ts';
import { type Paths, readUid } from './identity.ts';
import type { ReplayRelay } from './replay/relay-replay.ts';
import type { Replay } from './replay/replay.ts';

export type Freeze = Extract<Command, { type: 'freeze' }>;

export interface StandstillOptions {
  readonly relay: { quiescent(): boolean; readonly replay: ReplayRelay };
  readonly replay: Replay;
  readonly control: () => Pick<Control, 'flush'>;
  /** Connections of our own that must not be open while frozen. */
  readonly health: { rest(): Promise<void> };
  /** How the process stands still (freeze.ts). */
  readonly freeze: typeof freeze;
  readonly paths: Paths;
  readonly handoff: () => Handoff;
  readonly change: (change: Partial<Handoff>) => void;
  readonly tell: () => void;
  readonly uid: () => string;
  readonly becomeCopy: (uid: string) => void;
  readonly die: (why: string) => void;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

export interface Standstill {
  /** Answers the command, and returns when the process goes on. Rejects when it can't stand still, and goes on as before. */
  freeze(command: Freeze): Promise<void>;
}

const QUIESCENT_WITHIN_MS = 500;
/** Longest time a source looks for a content boundary of every session. */
const HALT_MS = 500;
/** The id files are there from the pod's start: this long without them means a broken volume. */
const UID_PATIENCE_MS = 10_000;

const until = async (condition: () => boolean, withinMs: number): Promise<boolean> => {
  const deadline = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return true;
};

const answerTo = ({ id }: Freeze): Answer => ({ type: 'answer', id, ok: true, result: {} });

export const createStandstill = (options: StandstillOptions): Standstill => {
  const { relay, replay, control, paths, handoff, change, log } = options;

  const standStill = ({ generation, deadlineMs }: Freeze): 'thawed' | 'deadline' | 'unfrozen' => {
    const woken = options.freeze({ runDir: paths.runDir, generation, deadlineMs });
    try {
      const now = uidAfterWaking(() => readUid(paths.idDir), UID_PATIENCE_MS);
      if (now !== options.uid()) options.becomeCopy(now);
    } catch (error) {
      options.die(`not knowing who wakes: ${asShadowError(error).message}`);
    }
    log.info({ woken, generation, as: handoff().state }, 'woke');
    return woken;
  };

  const mute = async (command: Freeze): Promise<void> => {
    const quiescent = (): boolean => relay.quiescent();
    if (!(await until(quiescent, QUIESCENT_WITHIN_MS))) throw new ShadowError('SHADOW_E_FREEZE', 'bytes are under way');
    if (!(await control().flush(answerTo(command)))) return;
    await options.health.rest();
    // Without the marker file the agent's cut fails and the attempt is repeated: not freezing is always safe.
    if (!(await until(quiescent, QUIESCENT_WITHIN_MS))) return log.warn('not frozen: bytes are under way again');
    standStill(command);
  };

  /** The cut of a source that goes on: from the place where it stands still it records. */
  const toRecord = async (command: Freeze): Promise<void> => {
    const { claim, generation } = command;
    // An earlier record is of another cut.
    replay.stop();
    if (handoff().state === 'recording') {
      change({ state: 'idle', recorded: false, generation: 0, lost: '' });
      options.tell();
    }
    const record = await replay.prepare(claim);
    await relay.replay.halt(HALT_MS);
    const flushed = await control().flush(answerTo(command));
    await options.health.rest();
    if (!flushed || !relay.replay.halted()) {
      relay.replay.goOn();
      return log.warn('not frozen');
    }
    // Not told before it has stood still: nothing may be under way then.
    change({ state: 'recording', claim, lost: '', recorded: true, retired: false, generation: 0 });
    record();
    const woken = standStill(command);
    if (handoff().state !== 'recording') return;
    if (woken === 'thawed') change({ generation });
    relay.replay.goOn();
    replay.begin();
    log.info({ from: 'idle', to: 'recording', claim }, 'state');
    options.tell();
  };

  return { freeze: (command) => (command.record === true ? toRecord(command) : mute(command)) };
};
