/** A listr2 screen on standard error that is redrawn at most five times a second. */
import type { ListrTask } from 'listr2';
import type { Io } from './io.ts';

export const REDRAW_MS = 200;

/** Imported when first drawn: a command that shows nothing does not load it. */
export const listrOn = async (io: Io, tasks: ListrTask[]) => {
  const { createWritable, DefaultRenderer, Listr, ListrLogger, ProcessOutput, Spinner } = await import('listr2');
  if (!io.color) process.env.NO_COLOR = '1';

  class Slow extends Spinner {
    override start(redraw?: () => void): void {
      super.start(redraw, REDRAW_MS);
    }
  }
  class Throttled extends DefaultRenderer {
    #drawn = Number.NEGATIVE_INFINITY;
    // The last state is never lost: the end of the run prints it whatever was drawn before.
    override update(): void {
      const now = performance.now();
      if (now - this.#drawn < REDRAW_MS - 20) return;
      this.#drawn = now;
      super.update();
    }
  }
  const nowhere = createWritable(() => {}) as unknown as NodeJS.WriteStream;
  const logger = new ListrLogger({ useIcons: true, processOutput: new ProcessOutput(process.stderr, nowhere) });
  return new Listr(tasks, {
    renderer: Throttled,
    rendererOptions: {
      logger,
      spinner: new Slow(),
      formatOutput: 'truncate',
      collapseErrors: false,
      showErrorMessage: false,
    },
    // Ctrl-C is the command's own business.
    registerSignalListeners: false,
  });
};
