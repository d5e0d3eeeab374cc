/** What the command line asks for. Pure. */
import { parseArgs } from 'node:util';

export const USAGE = `npm run simulate -- [options]

  --seeds N      so many seeds (200)
  --from N       from this one on (1)
  --seed N       this one only
  --jobs N       so many at a time (24)
  --repeat N     each seed so many times, one after the other
  --mutations    break the code in known ways, and see each found
  --help         this

Ends with 0: no violation; 1: some; 2: bad options.
`;

/** Its message is for people. */
export class UsageError extends Error {}

export interface Options {
  readonly seeds: readonly number[];
  readonly jobs: number;
  readonly mutations: boolean;
}

const count = (text: string, name: string, least: number): number => {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < least)
    throw new UsageError(`--${name} ${text}: not a whole number of ${least} or more`);
  return value;
};

const options = {
  seeds: { type: 'string', default: '200' },
  from: { type: 'string', default: '1' },
  seed: { type: 'string' },
  jobs: { type: 'string', default: '24' },
  repeat: { type: 'string', default: '1' },
  mutations: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

const valuesOf = (args: string[]) => {
  try {
    return parseArgs({ args, options }).values;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (!code.startsWith('ERR_PARSE_ARGS')) throw error;
    throw new UsageError((error as Error).message);
  }
};

/** Undefined: the usage is asked for. Throws UsageError. */
export const parse = (args: string[]): Options | undefined => {
  const values = valuesOf(args);
  if (values.help) return undefined;
  const from = values.seed === undefined ? count(values.from, 'from', 0) : count(values.seed, 'seed', 0);
  const many = values.seed === undefined ? count(values.seeds, 'seeds', 1) : 1;
  const repeat = count(values.repeat, 'repeat', 1);
  const jobs = count(values.jobs, 'jobs', 1);
  return {
    seeds: Array.from({ length: many * repeat }, (_, index) => from + Math.floor(index / repeat)),
    // The same seed twice at a time would share its queues.
    jobs: repeat > 1 ? 1 : jobs,
    mutations: values.mutations,
  };
};
