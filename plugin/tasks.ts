/** Things done one after the other, shown as they go: listr2 on a terminal, plain lines elsewhere. */
import type { Io } from './io.ts';
import { listrOn } from './screen.ts';

export interface Task {
  title: string;
  /** `tell` says how far it is; shown beside the title. */
  run(tell: (detail: string) => void): Promise<void>;
}

const plain = async (io: Io, tasks: readonly Task[]): Promise<void> => {
  for (const { title, run } of tasks) {
    let last = '';
    await run((detail) => {
      if (detail !== last) io.err(`${title}: ${detail}`);
      last = detail;
    });
    io.err(`${title}: done`);
  }
};

const live = async (io: Io, tasks: readonly Task[]): Promise<void> => {
  const listr = await listrOn(
    io,
    tasks.map(({ title, run }) => ({
      title,
      task: (_context, shown) =>
        run((detail) => {
          shown.title = `${title}: ${detail}`;
        }).then(() => {
          shown.title = title;
        }),
    })),
  );
  await listr.run();
};

export const runTasks = (io: Io, tasks: readonly Task[]): Promise<void> => (io.live ? live : plain)(io, tasks);
