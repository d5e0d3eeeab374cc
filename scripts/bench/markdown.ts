/** The report as a page of docs/. Pure. */
import { CEILING_MODES, type CeilingMode } from './ceiling.ts';
import { ceilingOf, medianOf, type Report, type Verdict, verdictsOf } from './report.ts';
import { MODES, type Mode, ROWS, type Row } from './rows.ts';
import { added, MEASURE, ratio, typical } from './statistics.ts';

const NONE = '–';
type Shown = number | undefined;

const whole = (value: Shown): string => (value === undefined ? NONE : Math.round(value).toLocaleString('en-US'));
const two = (value: Shown): string => (value === undefined ? NONE : value.toFixed(2));
const mebibytes = (value: Shown): string => (value === undefined ? NONE : (value / 2 ** 20).toFixed(0));
const signed = (value: Shown): string => (value === undefined ? NONE : `${value >= 0 ? '+' : ''}${whole(value)}`);

/** Name and figures of each line; the first column reads to the right, all others to the left. */
const table = (head: readonly string[], lines: readonly (readonly string[])[]): string =>
  [head, head.map((_, index) => (index === 0 ? '--' : '--:')), ...lines]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');

const NAME: Readonly<Record<Mode | CeilingMode, string>> = {
  direct: 'direct',
  pipe: 'Node.js pipe',
  toxiproxy: 'toxiproxy',
  sidecar: 'sidecar, relaying',
  recording: 'sidecar, recording',
  session: "the sidecar's session alone",
};

const HEAD = [
  'through',
  'msg/s',
  'of direct',
  'of pipe',
  'of toxiproxy',
  'median µs',
  'added',
  'p95',
  'p99',
  'CPU s / 10⁶ msg',
  'of pipe',
  'RSS MiB',
];

const line = ({ samples }: Report, row: Row, mode: Mode): string[] => {
  const value = (measure: keyof typeof MEASURE): Shown => typical(samples, row.name, mode, MEASURE[measure]);
  const rate = (to: Mode): Shown => ratio(samples, row.name, [mode, to], MEASURE.rate);
  // At a given rate all have the same throughput; and what a few messages cost is less than the clock of CPU time tells.
  const full = row.of === 'throughput';
  return [
    NAME[mode],
    whole(value('rate')),
    ...(full ? (['direct', 'pipe', 'toxiproxy'] as const).map((to) => two(rate(to))) : [NONE, NONE, NONE]),
    whole(value('median')),
    signed(mode === 'direct' ? undefined : added(samples, row.name, [mode, 'direct'], MEASURE.median)),
    whole(value('p95')),
    whole(value('p99')),
    two(full ? value('cpu') : undefined),
    two(full ? ratio(samples, row.name, [mode, 'pipe'], MEASURE.cpu) : undefined),
    mebibytes(value('rss')),
  ];
};

const rowTable = (report: Report, row: Row): string[] => {
  const modes = MODES.filter((mode) =>
    report.samples.some((sample) => sample.row === row.name && sample.mode === mode),
  );
  if (modes.length === 0) return [];
  return [
    `### ${row.title}`,
    '',
    table(
      HEAD,
      modes.map((mode) => line(report, row, mode)),
    ),
    '',
  ];
};

const ceilings = ({ ceilings }: Report): string[] => {
  const modes = CEILING_MODES.filter((mode) => ceilingOf(ceilings, mode).length > 0);
  if (modes.length === 0) return [];
  const lines = modes.map((mode) => {
    const of = ceilingOf(ceilings, mode);
    const value = (pick: (ceiling: (typeof of)[number]) => Shown): Shown => medianOf(of, pick);
    return [
      NAME[mode],
      two((value(({ bytes }) => bytes) ?? Number.NaN) / 1e9),
      whole(value(({ messages }) => messages)),
      two(value(({ cpuPerMillion }) => cpuPerMillion)),
      two(value(({ busy }) => busy)),
    ];
  });
  return [
    '## Without a broker',
    '',
    'A synthetic source delivers messages of 1 KiB in chunks of 64 KiB, cut wherever that falls; a sink reads them and',
    'acknowledges what was whole in each chunk it read. Both are one process, on one core; the middle has the other.',
    '',
    table(['through', 'GB/s', 'msg/s', 'CPU s / 10⁶ msg', 'cores busy'], lines),
    '',
  ];
};

const BOUND: Readonly<Record<Verdict['bound'], string>> = { least: '≥', most: '≤', above: '>' };

const shown = (value: Shown, unit: Verdict['unit']): string => {
  if (value === undefined) return NONE;
  if (unit === 'B/s') return `${two(value / 1e9)} GB/s`;
  return unit === 'µs' ? `${whole(value)} µs` : two(value);
};

const verdicts = (report: Report): string[] => [
  '## What is demanded of it',
  '',
  table(
    ['', 'demanded', 'measured', 'met'],
    verdictsOf(report).map(({ what, bound, limit, measured, unit, met }) => [
      what,
      `${BOUND[bound]} ${shown(limit, unit)}`,
      shown(measured, unit),
      met === undefined ? NONE : met ? 'yes' : '**no**',
    ]),
  ),
  '',
];

const failures = ({ failures }: Report): string[] =>
  failures.length === 0
    ? []
    : [
        '## Not measured',
        '',
        ...failures.map(({ run, row, mode, error }) => `- run ${run + 1}, ${row}, ${mode}: ${error.split('\n')[0]}`),
        '',
      ];

export const markdown = (report: Report): string => {
  const { machine, runs, seconds, made } = report;
  return [
    '# What the sidecar costs',
    '',
    `Measured by \`npm run bench:sidecar\` on ${made.slice(0, 10)}: ${machine.cores} cores of ${machine.cpu}, Linux ${machine.kernel},`,
    `Node.js ${machine.node}, RabbitMQ PerfTest ${machine.perfTest}, toxiproxy ${machine.toxiproxy}. Broker, PerfTest and what stands`,
    'between them share these cores. The load is 1 producer and 1 consumer on a classic queue unless said otherwise, with confirms,',
    'and each delivery acknowledged by itself.',
    '',
    `Each figure is the median of ${runs === 1 ? '1 run' : `${runs} runs`}, in which all modes take turns; ratios and differences are taken within a run, and the`,
    `median of those is shown. A run measures ${seconds} s after as long a time to warm up, each with a fresh process in the middle. "direct"`,
    'has no middle; "Node.js pipe" is `socket.pipe(socket)` and nothing else. While recording, the record streams to another process,',
    'by TLS, and that process has its part of the same cores; in a cluster it is on another node. CPU and memory are those of the middle.',
    '',
    '![Throughput, latency and CPU of each](bench-sidecar.svg)',
    '',
    ...verdicts(report),
    '## With RabbitMQ',
    '',
    ...ROWS.flatMap((row) => rowTable(report, row)),
    ...ceilings(report),
    ...failures(report),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
};
