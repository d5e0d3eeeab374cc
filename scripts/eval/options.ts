/** What the command line asks for. Pure. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { chosen, count, listed, orUsage, UsageError } from '../lib/arguments.ts';
import { CONFIGURATIONS } from './configurations.ts';
import { RATES } from './paper.ts';
import type { Asked } from './plan.ts';
import { APPS } from './results.ts';

export { UsageError };

const DOCS = 'docs/evaluation';
const QUICK_RATES = [10, 120];

export const USAGE = `npm run eval -- [options]

Measures the paper's evaluation again, on the playground of this machine: its configurations and ours, at its rates. Each run
is added to OUT/results.jsonl; OUT/results.csv, results.md and plots are made of that. The machine should have nothing else to do.

  --rates LIST    messages a second (${listed(RATES)})
  --configs LIST  only these: ${listed(CONFIGURATIONS)}
  --runs N        runs of each configuration at each rate, interleaved (3)
  --app NAME      the consumer: ${listed(APPS)} (node)
  --work MS       its work on a message (10; 16 makes the paper's slower one, of about 60 messages a second)
  --quick         rates ${listed(QUICK_RATES)} and one run each, unless said otherwise
  --seed N        shuffles the order (1)
  --resume        go on with what OUT/results.jsonl lacks
  --within N      begin no further run after N seconds
  --report        measure nothing: make table and plots anew
  --out DIR       OUT (${DOCS}; of a part of it, a directory of its own in ${tmpdir()})
  --help          this

Ends with 0: all was measured, or is not supported by this release, which the table says; 1: something failed; 2: bad options; 3: runs are left.
Progress is told on standard error.
`;

export interface Options extends Asked {
  readonly resume: boolean;
  /** Seconds. */
  readonly within: number | undefined;
  readonly reportOnly: boolean;
  readonly out: string;
}

const known = {
  rates: { type: 'string' },
  configs: { type: 'string' },
  runs: { type: 'string' },
  app: { type: 'string', default: 'node' },
  work: { type: 'string', default: '10' },
  quick: { type: 'boolean', default: false },
  seed: { type: 'string', default: '1' },
  resume: { type: 'boolean', default: false },
  within: { type: 'string' },
  report: { type: 'boolean', default: false },
  out: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

const MOST_RATE = 10_000;

/** Any rate will do; the paper's are only those it can be compared at. */
const ratesOf = (text: string): number[] => {
  const rates = text.split(',').map((rate) => count(rate.trim(), 'rates', 1, MOST_RATE));
  return [...new Set(rates)].sort((a, b) => a - b);
};

const appOf = (name: string) => {
  const [app, ...others] = chosen(name, 'app', APPS, String);
  if (app === undefined || others.length > 0) throw new UsageError(`--app ${name}: one of ${listed(APPS)}`);
  return app;
};

const outOf = (said: string | undefined, whole: boolean, needed: boolean, now: Date): string => {
  if (said === '') throw new UsageError('--out: a directory is missing');
  if (said !== undefined) return said;
  // A part must not take the place of the whole.
  if (whole) return DOCS;
  if (needed) throw new UsageError('--resume and --report of a part: name its directory with --out');
  return join(tmpdir(), `shadow-evaluation-${now.toISOString().replaceAll(/[:.]/g, '-')}`);
};

/** undefined: the usage is asked for. Throws UsageError. */
export const parse = (args: string[], now = new Date()): Options | undefined => {
  const { values } = orUsage(() => parseArgs({ args, options: known }));
  if (values.help) return undefined;
  const configs = chosen(values.configs, 'configs', CONFIGURATIONS, String);
  const rates = values.rates === undefined ? [...(values.quick ? QUICK_RATES : RATES)] : ratesOf(values.rates);
  const runs = count(values.runs ?? (values.quick ? '1' : '3'), 'runs', 1, 100);
  const whole = configs.length === CONFIGURATIONS.length && RATES.every((rate) => rates.includes(rate)) && runs >= 3;
  return {
    app: appOf(values.app),
    workMs: count(values.work, 'work', 0, 10_000),
    configs,
    rates,
    runs,
    seed: count(values.seed, 'seed', 0, 1_000_000),
    resume: values.resume,
    within: values.within === undefined ? undefined : count(values.within, 'within', 1, 86_400),
    reportOnly: values.report,
    out: outOf(values.out, whole, values.resume || values.report, now),
  };
};
