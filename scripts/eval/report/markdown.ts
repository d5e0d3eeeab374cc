/** The results as a table, with the paper's medians beside them. Pure. */
import { type Configuration, isInjected, SHAPE } from '../configurations.ts';
import { paperSeconds } from '../paper.ts';
import type { App, MeasuredResult, Result } from '../results.ts';
import { TIMED } from './csv.ts';
import { demandsOf } from './demands.ts';
import { type Cell, cellOf, figureOf, refusalOf, sumOf, type Variant, variantsOf } from './summary.ts';

const APP: Readonly<Record<App, string>> = { node: 'Node.js, amqplib', python: 'Python, pika' };

export type Plot = 'total' | 'phases' | 'gaps';

/** File of a plot, beside the table. */
export const plotFile = ({ app, workMs }: Pick<Variant, 'app' | 'workMs'>, plot: Plot): string =>
  `${plot}-${app}-${workMs}ms.svg`;

const rows = (lines: readonly (readonly string[])[]): string[] => {
  const [head = [], ...body] = lines;
  return [head, head.map((_, index) => (index === 0 ? '--' : '--:')), ...body].map(
    (cells) => `| ${cells.join(' | ')} |`,
  );
};

const spread = (cell: Cell, value: (result: MeasuredResult) => number, digits: number): string => {
  const figure = figureOf(cell, value);
  return figure ? `${figure.median.toFixed(digits)} / ${figure.worst.toFixed(digits)}` : '–';
};

const totalCell = (variant: Variant, config: Configuration, rate: number): string => {
  const cell = cellOf(variant, config, rate);
  const refusal = refusalOf(variant, config);
  const paper = paperSeconds(config, rate);
  const failed = cell.failed.length === 0 ? '' : `, ${cell.failed.length} failed`;
  const ours =
    refusal !== undefined
      ? `unsupported: ${refusal.code}`
      : `${spread(cell, ({ totalSeconds }) => totalSeconds, 2)} (${cell.measured.length}${failed})`;
  return paper === undefined ? ours : `${ours}<br>paper: ${paper.toFixed(1)}`;
};

const totals = (variant: Variant): string[] =>
  rows([
    ['msg/s', ...variant.configs.map((config) => SHAPE[config].title)],
    ...variant.rates.map((rate) => [
      String(rate),
      ...variant.configs.map((config) => totalCell(variant, config, rate)),
    ]),
  ]);

const demands = (variant: Variant): string[] =>
  rows([
    ['', 'demanded', 'measured', 'met'],
    ...demandsOf(variant).map(({ what, demanded, measured, met }) => [
      what,
      demanded,
      measured ?? 'not measured',
      met === undefined ? '–' : met ? 'yes' : '**no**',
    ]),
  ]);

const detailed = (variant: Variant, config: Configuration): string[] => {
  const short = TIMED.filter((phase) => phase !== 'Pending');
  const head = ['msg/s', 'n', 'total s', ...short.map((phase) => `${phase.toLowerCase()} s`)];
  head.push('downtime ms', 'failed probes', 'gap ms', 'lost', 'duplicated', 'reordered', 'reconnects', 'MiB moved');
  const lines = variant.rates.map((rate) => {
    const cell = cellOf(variant, config, rate);
    const sum = (value: (result: MeasuredResult) => number): string =>
      cell.measured.length === 0 ? '–' : String(sumOf(cell, value));
    return [
      String(rate),
      String(cell.measured.length),
      spread(cell, ({ totalSeconds }) => totalSeconds, 2),
      ...short.map((phase) => {
        const figure = figureOf(cell, ({ phaseSeconds }) => phaseSeconds[phase] ?? 0);
        return figure ? figure.median.toFixed(2) : '–';
      }),
      spread(cell, ({ downtimeMs }) => downtimeMs, 0),
      sum(({ failedProbes }) => failedProbes),
      spread(cell, ({ gapMs }) => gapMs, 0),
      sum(({ lost }) => lost),
      sum(({ duplicated }) => duplicated),
      sum(({ reordered }) => reordered),
      sum(({ reconnects }) => reconnects),
      spread(cell, ({ bytes }) => bytes / 2 ** 20, 1),
    ];
  });
  const what = isInjected(config) ? 'with the sidecar' : "without the sidecar, by the paper's protocol";
  return [`#### ${SHAPE[config].title}`, '', `A ${SHAPE[config].owner}, ${what}.`, '', ...rows([head, ...lines]), ''];
};

const told = (result: Extract<Result, { code: string }>): string => {
  const [line = ''] = result.message.split('\n');
  return `${result.code}: ${line.slice(0, 300)}`;
};

const refused = (variant: Variant): string[] => {
  const lines = variant.configs.flatMap((config) => {
    const refusal = refusalOf(variant, config);
    return refusal ? [`- ${SHAPE[config].title}: ${told(refusal)}`] : [];
  });
  return lines.length === 0 ? [] : ['### Not supported by the release measured', '', ...lines, ''];
};

const failures = (variant: Variant): string[] => {
  const lines = variant.results.flatMap((result) =>
    result.outcome === 'failed'
      ? [`- ${SHAPE[result.config].title}, ${result.rate} msg/s, run ${result.run}: ${told(result)}`]
      : [],
  );
  return lines.length === 0 ? [] : ['### Failed', '', ...lines, ''];
};

const section = (variant: Variant): string[] => {
  const measured = variant.configs.filter((config) => refusalOf(variant, config) === undefined);
  return [
    `## ${APP[variant.app]}, ${variant.workMs} ms of work a message`,
    '',
    `![Time of a whole migration by rate](${plotFile(variant, 'total')})`,
    '',
    '### What is demanded',
    '',
    ...demands(variant),
    '',
    '### The whole migration, seconds',
    '',
    'Median / worst (runs).',
    '',
    ...totals(variant),
    '',
    '### Each configuration',
    '',
    'Times are median / worst, those of phases medians; probes, messages and reconnects are sums over all runs.',
    '',
    `![Phases by rate](${plotFile(variant, 'phases')})`,
    '',
    `![Gaps and downtime by rate](${plotFile(variant, 'gaps')})`,
    '',
    ...measured.flatMap((config) => detailed(variant, config)),
    ...refused(variant),
    ...failures(variant),
  ];
};

const distinct = (results: readonly Result[], value: (result: Result) => string): string =>
  [...new Set(results.map(value))].join('; ');

export const markdown = (results: readonly Result[]): string => {
  const times = results.map(({ at }) => at).sort();
  return [
    '# The evaluation, measured again',
    '',
    `Measured by \`npm run eval\` from ${times[0]?.slice(0, 16)} to ${times.at(-1)?.slice(0, 16)} UTC on: ${distinct(results, ({ machine }) => machine)}.`,
    `Builds: ${distinct(results, ({ build }) => build)}. How, and what differs from the paper's setup: [README.md](README.md).`,
    "The paper's medians are of ten runs on three bare-metal nodes, with its own implementation.",
    '',
    ...variantsOf(results).flatMap(section),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
};
