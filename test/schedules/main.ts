/** `npm run schedules -- --runs N`: see `--help` and CONTRIBUTING.md. */
import { type Options, parse, UsageError } from '../fuzz/options.ts';
import { runSchedule, scheduleOf } from '../unit/sidecar/model/schedule.ts';

const USAGE = `npm run schedules -- [options]

Random schedules of the pure session (frames, cuts, handoffs, deaths) against a model of app and broker.

  --runs N       so many (1000)
  --from N       seeds from this one on (1)
  --seed N       this one only
  --help         this

Ends with 0: all held; 1: one did not (its seed is printed); 2: bad options.
`;

const runOne = (seed: number): void => {
  const schedule = scheduleOf(seed);
  try {
    runSchedule(schedule);
  } catch (error) {
    console.error(`${JSON.stringify(schedule)}\nagain: npm run schedules -- --seed ${seed}`);
    throw error;
  }
};

const run = ({ amount, from, seed }: Options): void => {
  const [first, last] = seed === undefined ? [from, from + amount - 1] : [seed, seed];
  const began = performance.now();
  let shown = began;
  for (let each = first; each <= last; each++) {
    runOne(each);
    if (performance.now() - shown < 10_000) continue;
    shown = performance.now();
    console.log(`${each - first + 1} of ${last - first + 1}`);
  }
  const seconds = (performance.now() - began) / 1000;
  console.log(`seeds ${first} to ${last}: all held, ${seconds.toFixed(1)} s`);
};

const main = (args: readonly string[]): number => {
  try {
    const options = parse(args, 'runs', 1000);
    if (options) run(options);
    else console.log(USAGE);
    return 0;
  } catch (error) {
    console.error(error instanceof UsageError ? error.message : error);
    return error instanceof UsageError ? 2 : 1;
  }
};

process.exitCode = main(process.argv.slice(2));
