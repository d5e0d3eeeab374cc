/** The results as pictures: the whole migration, its phases, and what users see of it. Pure. */
import { at, escaped, legend, svgDocument } from '../../lib/svg.ts';
import { CONFIGURATIONS, type Configuration, isPapers, PAPERS, SHAPE } from '../configurations.ts';
import { paperSeconds } from '../paper.ts';
import type { MeasuredResult } from '../results.ts';
import { CHART, CHART_STYLE, type Chart, drawChart, type Line } from './chart.ts';
import { TIMED, type Timed } from './csv.ts';
import { cellOf, figureOf, type Variant } from './summary.ts';

const COLOUR: Readonly<Record<Configuration, string>> = {
  Sequential: '#8a63b8',
  ShadowPod: '#2f7fb5',
  ExchangeFence: '#3f7f3a',
  Deployment: '#9a7b2f',
  ShadowPodSwap: '#d9822b',
  StopAndCopy: '#b0413e',
};

const PHASE_COLOUR: Readonly<Record<Timed, string>> = {
  Pending: '#c9d1dc',
  Checkpointing: '#2f7fb5',
  Transferring: '#8a63b8',
  Restoring: '#3f7f3a',
  Replaying: '#d9822b',
  Finalizing: '#b0413e',
};

/** Whose every result was refused has no figures, and no place in a plot. */
const drawn = (variant: Variant): Configuration[] =>
  variant.configs.filter((config) => variant.rates.some((rate) => cellOf(variant, config, rate).measured.length > 0));

const lineOf = (
  variant: Variant,
  config: Configuration,
  value: (result: MeasuredResult) => number,
  figure: 'median' | 'worst',
  unit: string,
  digits: number,
): Line => ({
  colour: COLOUR[config],
  dashed: false,
  points: variant.rates.flatMap((rate) => {
    const cell = cellOf(variant, config, rate);
    const of = figureOf(cell, value);
    if (!of) return [];
    const told = `${SHAPE[config].title}, ${rate} msg/s: median ${of.median.toFixed(digits)} ${unit}, worst ${of.worst.toFixed(digits)} ${unit}, n = ${cell.measured.length}`;
    return [{ rate, value: of[figure], told }];
  }),
});

const paperLines = (rates: readonly number[]): Line[] =>
  PAPERS.map((config) => ({
    colour: COLOUR[config],
    dashed: true,
    points: rates.flatMap((rate) => {
      const seconds = paperSeconds(config, rate);
      if (seconds === undefined) return [];
      return [{ rate, value: seconds, told: `${SHAPE[config].title}, ${rate} msg/s: the paper's median ${seconds} s` }];
    }),
  }));

const LEGEND_TOP = 18;
const CHARTS_TOP = 56;

const keysOf = (configs: readonly Configuration[]): string[] =>
  legend(
    configs.map((config) => ({ label: SHAPE[config].title, colour: COLOUR[config] })),
    24,
    LEGEND_TOP,
  );

const sheet = (label: string, keys: readonly string[], charts: readonly Chart[]): string =>
  svgDocument({ width: CHART.width, height: CHARTS_TOP + charts.length * CHART.height, label, style: CHART_STYLE }, [
    ...keys,
    ...charts.flatMap((chart, index) => drawChart(chart, CHARTS_TOP + index * CHART.height)),
  ]);

export const totalPlot = (variant: Variant): string => {
  const ours = drawn(variant).map((config) => lineOf(variant, config, (each) => each.totalSeconds, 'median', 's', 2));
  const lines = [...paperLines(variant.rates), ...ours];
  const configs = CONFIGURATIONS.filter((config) => isPapers(config) || drawn(variant).includes(config));
  const title = "Whole migration, seconds: medians; dashed: the paper's, on its machines";
  return sheet('Time of a whole migration by rate', keysOf(configs), [{ title, rates: variant.rates, lines, foot: 1 }]);
};

/** Less is not told apart. */
const PROBE_MS = 10;

export const gapPlot = (variant: Variant): string => {
  const configs = drawn(variant);
  const linesOf = (value: (result: MeasuredResult) => number): Line[] =>
    configs.map((config) => lineOf(variant, config, value, 'worst', 'ms', 0));
  const { rates } = variant;
  return sheet('Gaps in processing and downtime by rate', keysOf(configs), [
    {
      title: 'Longest time in which a message waited and none was done, ms: the worst run',
      ...{ rates, lines: linesOf(({ gapMs }) => gapMs), foot: PROBE_MS },
    },
    {
      title: 'Downtime, ms: the longest streak of failed HTTP probes, the worst run',
      ...{ rates, lines: linesOf(({ downtimeMs }) => downtimeMs), foot: PROBE_MS },
    },
  ]);
};

const PANEL = { width: 468, height: 250, plot: 160, top: 30, left: 12 } as const;

interface Segment {
  readonly phase: Timed;
  readonly seconds: number;
}

/** Medians of the phases, in the order they come; what was never entered is none. */
export const stackOf = (variant: Variant, config: Configuration, rate: number): Segment[] => {
  const cell = cellOf(variant, config, rate);
  return TIMED.flatMap((phase) => {
    const seconds = figureOf(cell, ({ phaseSeconds }) => phaseSeconds[phase] ?? 0)?.median ?? 0;
    return seconds > 0 ? [{ phase, seconds }] : [];
  });
};

const heightOf = (stack: readonly Segment[]): number => stack.reduce((sum, { seconds }) => sum + seconds, 0);

const drawPanel = (variant: Variant, config: Configuration, x: number, y: number): string[] => {
  const stacks = variant.rates.map((rate) => ({ rate, stack: stackOf(variant, config, rate) }));
  const most = Math.max(...stacks.map(({ stack }) => heightOf(stack)), Number.MIN_VALUE);
  const base = y + PANEL.top + 18 + PANEL.plot;
  const step = (PANEL.width - 2 * PANEL.left) / stacks.length;
  const bar = Math.min(46, step - 8);
  const bars = stacks.flatMap(({ rate, stack }, index) => {
    const middle = x + PANEL.left + (index + 0.5) * step;
    let foot = base;
    const segments = stack.map(({ phase, seconds }) => {
      const height = (seconds / most) * PANEL.plot;
      foot -= height;
      const told = `${SHAPE[config].title}, ${rate} msg/s: ${phase} ${seconds.toFixed(2)} s`;
      return `<rect x="${at(middle - bar / 2)}" y="${at(foot)}" width="${at(bar)}" height="${at(height)}" fill="${PHASE_COLOUR[phase]}"><title>${escaped(told)}</title></rect>`;
    });
    const sum = stack.length === 0 ? '–' : heightOf(stack).toFixed(1);
    return [
      ...segments,
      `<text class="v" x="${at(middle)}" y="${at(foot - 4)}">${sum}</text>`,
      `<text class="g" x="${at(middle)}" y="${at(base + 18)}">${rate}</text>`,
    ];
  });
  return [
    `<text class="h" x="${x + PANEL.left}" y="${y + 16}">${escaped(SHAPE[config].title)}</text>`,
    `<path class="axis" d="M${x + PANEL.left} ${at(base)}H${x + PANEL.width - PANEL.left}"/>`,
    ...bars,
  ];
};

/** Each panel on a scale of its own. */
export const phasePlot = (variant: Variant): string => {
  const configs = drawn(variant);
  const panels = configs.flatMap((config, index) =>
    drawPanel(variant, config, 12 + (index % 2) * PANEL.width, CHARTS_TOP + Math.floor(index / 2) * PANEL.height),
  );
  const keys = legend(
    TIMED.map((phase) => ({ label: phase, colour: PHASE_COLOUR[phase] })),
    24,
    LEGEND_TOP,
  );
  const height = CHARTS_TOP + Math.ceil(configs.length / 2) * PANEL.height;
  return svgDocument({ width: CHART.width, height, label: 'Phases of a migration by rate, seconds' }, [
    ...keys,
    ...panels,
  ]);
};
