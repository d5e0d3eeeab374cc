/** `npm run fuzz -- --frames N`: see `--help` and CONTRIBUTING.md. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Fault, fuzz } from './fuzz.ts';
import { type Options, parse, UsageError } from './options.ts';

const USAGE = `npm run fuzz -- [options]

  --frames N     at least so many frames (1000000)
  --from N       seeds from this one on (1)
  --seed N       this one only
  --help         this

Ends with 0: no fault, and memory stayed flat; 1: a fault (its seed is printed) or growth; 2: bad options.
`;

/** Growth of what is in memory between a tenth of the run and its end that is no accident. */
const MOST_GROWTH = 8 << 20;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const inMemory = (): number => {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};
const mib = (bytes: number): string => `${(bytes / (1 << 20)).toFixed(1)} MiB`;

const run = ({ amount, from, seed }: Options): number => {
  if (seed !== undefined) {
    console.log(`seed ${seed}: ${fuzz(seed)} frames, no fault`);
    return 0;
  }
  const began = performance.now();
  let frames = 0;
  let early: number | undefined;
  let shown = began;
  let next = from;
  for (; frames < amount; next++) {
    frames += fuzz(next);
    if (early === undefined && frames >= amount / 10) early = inMemory();
    if (performance.now() - shown < 10_000) continue;
    shown = performance.now();
    console.log(`${frames} frames`);
  }
  const growth = inMemory() - (early ?? inMemory());
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `${frames} frames of seeds ${from} to ${next - 1} in ${seconds.toFixed(1)} s: no fault; memory grew by ${mib(growth)}`,
  );
  return growth > MOST_GROWTH ? 1 : 0;
};

const main = (args: readonly string[]): number => {
  try {
    const options = parse(args, 'frames', 1_000_000);
    if (options) return run(options);
    console.log(USAGE);
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    if (error instanceof UsageError) return 2;
    if (error instanceof Fault) console.error(`again: npm run fuzz -- --seed ${error.seed}`);
    return 1;
  }
};

process.exitCode = main(process.argv.slice(2));
