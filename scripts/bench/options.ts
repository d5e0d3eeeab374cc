/** What the command line asks for. Pure. */
import { parseArgs } from 'node:util';
import { chosen, count, listed, orUsage, UsageError } from '../lib/arguments.ts';
import { MODES, type Mode, ROWS, type Row } from './rows.ts';

export { UsageError };

export const USAGE = `npm run bench:sidecar -- [options]

Measures the sidecar against a bare TCP pipe and toxiproxy, on a RabbitMQ of its own, with RabbitMQ PerfTest; and without
a broker, against a synthetic source and sink. Writes docs/bench-sidecar.md and .svg. The machine should have nothing else to do.

  --runs N       repeat all of it so many times, interleaved (3)
  --seconds N    length of a measured window; the same time before it warms up (8)
  --rows LIST    only these: ${listed(ROWS.map(({ name }) => name))}
  --modes LIST   only these: ${listed(MODES)}
  --no-ceiling   leave out the part without a broker
  --only-ceiling nothing but that
  --resume FILE  keep there what is measured, and leave out what it holds already
  --within N     with --resume: begin no further row after N seconds
  --out DIR      write table and plot there (docs; of a part of rows and modes nothing is written unless this is given)
  --json         print all rows to standard output
  --help         this

Ends with 0: all measured; 1: something could not be measured; 2: bad options; 3: --within was too short for all.
Progress is told on standard error.
`;

export interface Options {
  readonly runs: number;
  readonly seconds: number;
  readonly rows: readonly Row[];
  readonly modes: readonly Mode[];
  readonly ceiling: boolean;
  /** Directory for table and plot; undefined: they are not written. */
  readonly out: string | undefined;
  readonly json: boolean;
  /** A file. */
  readonly resume: string | undefined;
  /** Seconds. */
  readonly within: number | undefined;
}

const known = {
  runs: { type: 'string', default: '3' },
  seconds: { type: 'string', default: '8' },
  rows: { type: 'string' },
  modes: { type: 'string' },
  'no-ceiling': { type: 'boolean', default: false },
  'only-ceiling': { type: 'boolean', default: false },
  out: { type: 'string' },
  resume: { type: 'string' },
  within: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** undefined: the usage is asked for. Throws UsageError. */
export const parse = (args: string[]): Options | undefined => {
  const { values } = orUsage(() => parseArgs({ args, options: known }));
  if (values.help) return undefined;
  if (values['no-ceiling'] && values['only-ceiling'])
    throw new UsageError('--no-ceiling and --only-ceiling leave nothing to do');
  if (values['only-ceiling'] && values.rows !== undefined)
    throw new UsageError('--only-ceiling and --rows exclude each other');
  if (values.out === '') throw new UsageError('--out: a directory is missing');
  if (values.resume === '') throw new UsageError('--resume: a file is missing');
  if (values.within !== undefined && values.resume === undefined)
    throw new UsageError('--within without --resume would lose what it measures');
  const rows = values['only-ceiling'] ? [] : chosen(values.rows, 'rows', ROWS, ({ name }) => name);
  const modes = chosen(values.modes, 'modes', MODES, (mode) => mode);
  // A part must not take the place of the whole.
  const whole = rows.length === ROWS.length && modes.length === MODES.length && !values['no-ceiling'];
  return {
    runs: count(values.runs, 'runs', 1, 100),
    seconds: count(values.seconds, 'seconds', 1, 600),
    rows,
    modes,
    ceiling: !values['no-ceiling'],
    out: values.out ?? (whole ? 'docs' : undefined),
    json: values.json,
    resume: values.resume,
    within: values.within === undefined ? undefined : count(values.within, 'within', 1, 86_400),
  };
};
