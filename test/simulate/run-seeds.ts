/** Seeds side by side over one broker. */
import { scheduleOf } from './schedule.ts';
import { type Ground, World } from './world.ts';

const TURNS = 3;

/** Once more, if the machine stood still meanwhile: what failed then may have failed by that. */
const runSeed = async (seed: number, ground: Ground): Promise<World> => {
  for (let turn = 1; ; turn++) {
    const { standstills } = ground.ticker;
    const world = new World(scheduleOf(seed), ground);
    await world.run();
    const disturbed = ground.ticker.standstills > standstills;
    if (world.oracle.violations.length === 0 || !disturbed || turn === TURNS) return world;
    process.stdout.write(`seed ${seed} is run once more: the machine stood still\n`);
  }
};

/** `jobs` at a time; `done` after each. Stops early when it says true. */
export const runSeeds = async (
  seeds: readonly number[],
  jobs: number,
  ground: Ground,
  done: (world: World) => boolean,
): Promise<void> => {
  const left = [...seeds];
  const work = async (): Promise<void> => {
    for (let seed = left.shift(); seed !== undefined; seed = left.shift())
      if (done(await runSeed(seed, ground))) left.splice(0);
  };
  await Promise.all(Array.from({ length: Math.min(jobs, left.length) }, work));
};
