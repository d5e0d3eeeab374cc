/** Lines over the rates, on a logarithmic scale: what is compared differs by powers of ten. Pure. */
import { at, escaped } from '../../lib/svg.ts';

export interface Point {
  readonly rate: number;
  readonly value: number;
  /** For who points at it. */
  readonly told: string;
}

export interface Line {
  readonly colour: string;
  /** Not ours. */
  readonly dashed: boolean;
  readonly points: readonly Point[];
}

export interface Chart {
  readonly title: string;
  readonly rates: readonly number[];
  readonly lines: readonly Line[];
  /** The foot of the scale, a power of ten; what is less is drawn there, and the foot is labelled 0 then. */
  readonly foot: number;
}

export const CHART = { width: 960, height: 400, left: 64, right: 24, top: 36, bottom: 44 } as const;

const valuesOf = ({ lines }: Chart): number[] => lines.flatMap(({ points }) => points.map(({ value }) => value));

/** 1, 2, 5, 10 … times the foot, up to at least the greatest value. */
const ticksOf = (chart: Chart): number[] => {
  const most = Math.max(chart.foot * 10, ...valuesOf(chart));
  const ticks: number[] = [];
  for (let power = chart.foot; (ticks.at(-1) ?? 0) < most; power *= 10) ticks.push(power, 2 * power, 5 * power);
  return ticks.slice(0, ticks.findIndex((tick) => tick >= most) + 1 || undefined);
};

/** Pixels between lines at one rate, so that none hides another. */
const DODGE = 5;

/** At `top` of its sheet, CHART.height high. */
export const drawChart = (chart: Chart, top: number): string[] => {
  const ticks = ticksOf(chart);
  const [least = 1, most = 10] = [ticks[0], ticks.at(-1)];
  const high = CHART.height - CHART.top - CHART.bottom;
  const base = top + CHART.top + high;
  const right = CHART.width - CHART.right;
  const step = (right - CHART.left) / chart.rates.length;
  const x = (rate: number): number => CHART.left + (chart.rates.indexOf(rate) + 0.5) * step;
  const y = (value: number): number =>
    base - (Math.log(Math.max(value, least) / least) / Math.log(most / least)) * high;
  const labelOf = (tick: number): string =>
    tick === least && valuesOf(chart).some((value) => value < least) ? '0' : tick.toLocaleString('en');
  const grid = ticks.flatMap((tick, index) => [
    `<path class="${index === 0 ? 'axis' : 'grid'}" d="M${CHART.left} ${at(y(tick))}H${right}"/>`,
    `<text class="t" x="${CHART.left - 8}" y="${at(y(tick) + 4)}">${labelOf(tick)}</text>`,
  ]);
  const rates = chart.rates.map((rate) => `<text class="g" x="${at(x(rate))}" y="${base + 18}">${rate}</text>`);
  const dodged = (index: number): number => (index - (chart.lines.length - 1) / 2) * DODGE;
  const lines = chart.lines.flatMap(({ colour, dashed, points }, index) => [
    ...(points.length > 1
      ? [
          `<polyline points="${points.map(({ rate, value }) => `${at(x(rate) + dodged(index))},${at(y(value))}`).join(' ')}" fill="none" stroke="${colour}" stroke-width="${dashed ? 1.5 : 2.5}"${dashed ? ' stroke-dasharray="5 4"' : ''}/>`,
        ]
      : []),
    ...points.map(
      ({ rate, value, told }) =>
        `<circle cx="${at(x(rate) + dodged(index))}" cy="${at(y(value))}" r="${dashed ? 3 : 4}" fill="${dashed ? '#ffffff' : colour}" stroke="${colour}" stroke-width="1.5"><title>${escaped(told)}</title></circle>`,
    ),
  ]);
  return [
    `<text class="h" x="24" y="${top + 16}">${escaped(chart.title)}</text>`,
    ...grid,
    ...rates,
    `<text class="g" x="${at((CHART.left + right) / 2)}" y="${base + 36}">messages a second</text>`,
    ...lines,
  ];
};

export const CHART_STYLE = [
  '.grid { stroke: #dde2ea; fill: none } .t { fill: #4a5a70; font-size: 12px; text-anchor: end }',
] as const;
