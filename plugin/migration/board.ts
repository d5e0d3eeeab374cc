/** Where `migrate` draws while it waits: a redrawn block on a terminal, new lines elsewhere. */
import { isEnded, type StatefulMigration } from '../../webhook/api/migration.ts';
import type { Io } from '../io.ts';
import { listrOn, REDRAW_MS } from '../screen.ts';
import { phaseOf } from './model.ts';
import { block, linesOf } from './view.ts';

export interface Board {
  show(migration: StatefulMigration): void;
  /** Leaves the last state on the screen. */
  close(): Promise<void>;
}

const plainBoard = (io: Io): Board => {
  const told = new Set<string>();
  return {
    show(migration) {
      for (const { key, text } of linesOf(migration)) {
        if (told.has(key)) continue;
        told.add(key);
        io.err(text);
      }
    },
    async close() {},
  };
};

const liveBoard = async (io: Io): Promise<Board> => {
  let last: StatefulMigration | undefined;
  const end = Promise.withResolvers<void>();
  const listr = await listrOn(io, [
    {
      title: 'waiting for the controller',
      task: async (_context, shown) => {
        // The seconds of the running step move between two states of the object.
        const draw = (): void => {
          if (last) shown.title = block(last, Date.now()).join('\n');
        };
        const ticker = setInterval(draw, REDRAW_MS);
        await end.promise.finally(() => clearInterval(ticker));
        draw();
        // Neither done nor failed: it goes on without us.
        if (!last || !isEnded(last)) return shown.skip(shown.title);
        if (phaseOf(last) !== 'Completed') throw new Error(phaseOf(last));
      },
    },
  ]);
  // It fails for its cross alone; why the migration failed is the command's to say.
  const running = listr.run().catch(() => {});
  return {
    show(migration) {
      last = migration;
    },
    async close() {
      end.resolve();
      await running;
    },
  };
};

export const boardOn = async (io: Io): Promise<Board> => (io.live ? liveBoard(io) : plainBoard(io));
