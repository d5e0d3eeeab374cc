/** `--mutations`: puts each deliberate fault in, and requires that some seed finds it. */
import { MUTATIONS, type Mutation } from './mutations.ts';
import { runSeeds } from './run-seeds.ts';
import type { Ground, World } from './world.ts';

export interface Found {
  readonly seed: number;
  readonly invariant: string;
  readonly what: string;
  /** Seeds run until then. */
  readonly after: number;
}

/** The first of the seeds that finds it. */
export const find = async (
  mutation: Mutation,
  seeds: readonly number[],
  jobs: number,
  ground: Ground,
): Promise<Found | undefined> => {
  const undo = mutation.install();
  let found: Found | undefined;
  let after = 0;
  try {
    await runSeeds(seeds, jobs, { ...ground, over: () => found !== undefined }, ({ schedule, oracle }: World) => {
      after += 1;
      const [violation] = oracle.violations;
      if (violation) found ??= { seed: schedule.seed, ...violation, after };
      return found !== undefined;
    });
  } finally {
    undo();
  }
  return found;
};

/** How many were not found. */
export const mutate = async (seeds: readonly number[], jobs: number, ground: Ground): Promise<number> => {
  let missed = 0;
  for (const mutation of MUTATIONS) {
    const found = await find(mutation, seeds, jobs, ground);
    if (!found) missed += 1;
    const how = found ? `seed ${found.seed} (${found.invariant}: ${found.what})` : `NOT FOUND in ${seeds.length} seeds`;
    process.stdout.write(`${mutation.name}: ${how.slice(0, 200)}\n`);
  }
  return missed;
};
