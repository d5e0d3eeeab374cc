/** Where a migration is shown while it runs: a redrawn tree on a terminal, new lines elsewhere. */
import type { StatefulMigration } from '../../webhook/api/migration.ts';
import type { Io } from '../io.ts';
import { CLOCK, type Clock, Painter, type Terminal } from '../painter.ts';
import { frame } from './frame.ts';
import { podOf } from './model.ts';
import type { Seen } from './tree.ts';
import { linesOf } from './view.ts';

export interface Board {
  show(migration: StatefulMigration): void;
  /** A line that stays. */
  say(text: string): void;
  /** The terminal is another's until resume(). */
  pause(): void;
  resume(): void;
  /** Leaves the last state on the screen. */
  close(): void;
}

/** What moves, in order, and when each pod was created (milliseconds since the epoch), where that is known. */
export interface Moving {
  pods: readonly string[];
  born: ReadonlyMap<string, number>;
}

const plainBoard = (tell: (text: string) => void): Board => {
  const told = new Set<string>();
  let held: string[] | undefined;
  const say = (text: string): void => {
    if (held) held.push(text);
    else tell(text);
  };
  return {
    show(migration) {
      for (const { key, text } of linesOf(migration)) {
        const own = `${migration.metadata.uid}/${key}`;
        if (!told.has(own)) say(text);
        told.add(own);
      }
    },
    say,
    pause() {
      held = [];
    },
    resume() {
      const lines = held ?? [];
      held = undefined;
      for (const line of lines) tell(line);
    },
    close() {},
  };
};

const liveBoard = (io: Io, terminal: Terminal, { pods, born }: Moving, clock: Clock): Board => {
  const seen = new Map<string, Seen>();
  const painter = new Painter(terminal, clock, io, (size, now) => frame({ pods, seen }, now, size, io));
  let begun = false;
  return {
    show(migration) {
      const pod = podOf(migration);
      seen.set(pod, { migration, born: born.get(pod) });
      if (!begun) painter.start();
      begun = true;
    },
    say(text) {
      if (begun) painter.say(text);
      else io.err(text);
    },
    pause: () => painter.pause(),
    resume: () => painter.start(),
    close: () => painter.close(),
  };
};

/** `tell` takes the lines where nothing can be redrawn. */
export const boardOn = (io: Io, moving: Moving, tell = io.err, clock: Clock = CLOCK): Board =>
  io.terminal ? liveBoard(io, io.terminal, moving, clock) : plainBoard(tell);
