/** A few random schedules of `npm run simulate`, and that it is not blind: deliberate faults are found. */
import { expect, it } from 'vitest';
import { find } from '../simulate/mutate.ts';
import { MUTATIONS } from '../simulate/mutations.ts';
import { printFailure } from '../simulate/report.ts';
import { withGround } from '../simulate/run.ts';
import { runSeeds } from '../simulate/run-seeds.ts';

const seeds = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
const FAULTS = ['a settlement for the source is dropped', 'a publish the copy made alone is sent twice'];

it('random schedules break no invariant, and deliberate faults do', { timeout: 180_000 }, async () => {
  await withGround(async (ground) => {
    const failed: number[] = [];
    let replayed = 0;
    await runSeeds(seeds(30), 10, ground, (world) => {
      if (world.oracle.violations.length > 0) {
        failed.push(world.schedule.seed);
        printFailure(world);
      }
      replayed += world.oracle.counts.get('committed (replay)') ?? 0;
      return false;
    });
    expect(failed).toEqual([]);
    expect(replayed).toBeGreaterThan(10);
    for (const name of FAULTS) {
      const mutation = MUTATIONS.find((each) => each.name === name)!;
      expect(await find(mutation, seeds(40), 10, ground), name).toBeDefined();
    }
  });
});
