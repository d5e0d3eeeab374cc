/** Message rate, lag and gap over time. Pure. */
import { seconds } from '../format.ts';
import { ceilingOf, lineOf, runsOf, type Scale, ticks, wedgeOf, widthOf } from './chart.ts';
import {
  type Frame,
  headOf,
  isNarrow,
  LEFT,
  PLOT,
  RIGHT,
  round,
  type Size,
  STOP_SAYS,
  secondsAt,
  stopsOf,
} from './frame.ts';
import { type Markup, m } from './markup.ts';
import type { Curves, Report, Stop } from './schema.ts';

interface Line {
  curve: Exclude<keyof Curves, 'at'>;
  /** Its class, and what it is called. */
  as: 'source' | 'copy' | 'lag';
  text: string;
}

export interface Panel {
  title: string;
  unit: string;
  lines: readonly Line[];
  tick: (value: number) => string;
}

const plain = (value: number): string => String(value);
const RATE: Panel = {
  title: 'Message rate',
  unit: 'deliveries a second',
  lines: [
    { curve: 'sourceRate', as: 'source', text: 'source' },
    { curve: 'copyRate', as: 'copy', text: 'copy' },
  ],
  tick: plain,
};
const LAG: Panel = {
  title: 'Lag of the copy',
  unit: 'outputs and deliveries owed',
  lines: [{ curve: 'lag', as: 'lag', text: 'lag' }],
  tick: plain,
};
const GAP: Panel = {
  title: 'Gap',
  unit: 'time without service, or without progress',
  lines: [
    { curve: 'sourceGap', as: 'source', text: 'source' },
    { curve: 'copyGap', as: 'copy', text: 'copy' },
  ],
  tick: secondsAt,
};

/** Looks are closer together than this, or there was none. */
const HOLE = 3;
const LEAST_HOLE_MS = 1500;

const holeOf = ({ at }: Curves): number => {
  const spaces = at.slice(1).map((time, index) => time - at[index]!);
  const median = [...spaces].sort((a, b) => a - b)[spaces.length >> 1] ?? 0;
  return Math.max(LEAST_HOLE_MS, HOLE * median);
};

const curvesOf = ({ handoffs }: Report): Curves[] => handoffs.flatMap(({ curves }) => (curves ? [curves] : []));

const valuesOf = (report: Report, { lines }: Panel): number[] =>
  curvesOf(report).flatMap((curves) => lines.flatMap(({ curve }) => curves[curve].filter((value) => value !== null)));

interface Sign {
  /** A line of that class, or a box. */
  line?: Line['as'];
  box?: 'held' | 'wedge';
  text: string;
}

const signsOf = (report: Report, panel: Panel): Sign[] => {
  const drawn = panel.lines.filter((line) => valuesOf(report, { ...panel, lines: [line] }).length > 0);
  const lines = panel.lines.length > 1 ? drawn.map(({ as, text }): Sign => ({ line: as, text })) : [];
  const held = curvesOf(report).some(({ throttle }) => throttle.some((share) => share !== null && share < 1));
  if (panel === RATE && held) lines.push({ box: 'held', text: 'held back' });
  if (panel === GAP && stopsOf(report).length > 0) lines.push({ box: 'wedge', text: 'not served' });
  return lines;
};

/** Ends at the right edge; where there is no room beside the title, it begins below it. */
const legend = (signs: readonly Sign[], size: Size, top: number): Markup[] => {
  const widths = signs.map(({ text }) => widthOf(text, 12) + 30);
  const whole = widths.reduce((sum, width) => sum + width, 0);
  const y = top + (isNarrow(size) ? 31 : 13);
  let x = isNarrow(size) ? LEFT : size.width - RIGHT - whole;
  return signs.map(({ line, box, text }, index) => {
    const at = x;
    x += widths[index]!;
    const drawn = line
      ? m`<path class="c ${line}" d="M${round(at)} ${y - 4}h18"/>`
      : m`<rect class="${box}" x="${round(at + 4)}" y="${y - 9}" width="14" height="9"/>`;
    return m`<g class="sign">${drawn}<text class="soft" x="${round(at + 23)}" y="${y}">${text}</text></g>`;
  });
};

/** Where the source was held back to the copy's pace. */
const heldBack = ({ report, x }: Frame, base: number): Markup[] =>
  curvesOf(report).flatMap(({ at, throttle }) =>
    at.flatMap((from, index) => {
      const to = at[index + 1];
      const share = throttle[index];
      if (to === undefined || to - from > LEAST_HOLE_MS || share === null || share === undefined || share >= 1)
        return [];
      const told = `the source was held back to ${Math.round(share * 100)} % of the copy's pace`;
      return [
        m`<rect class="held" x="${round(x(from))}" y="${base - 3}" width="${round(x(to) - x(from))}" height="3"><title>${told}</title></rect>`,
      ];
    }),
  );

export const drawPanel = (frame: Frame, panel: Panel, top: number, most: number): Markup => {
  const { report, x, size } = frame;
  const right = size.width - RIGHT;
  const base = top + headOf(size) + PLOT;
  const ceiling = ceilingOf(most, 3);
  const scale: Scale = { x, y: (value) => base - (Math.min(value, ceiling) / ceiling) * PLOT };
  const rows = ticks(ceiling, 3).map(
    (tick) =>
      m`<path class="grid" d="M${LEFT} ${round(scale.y(tick))}H${right}"/><text class="soft end" x="${LEFT - 6}" y="${round(scale.y(tick) + 4)}">${panel.tick(tick)}</text>`,
  );
  const wedges = panel === GAP ? stopsOf(report).map((stop) => wedge(frame, stop, scale)) : [];
  const drawn = curvesOf(report).flatMap((curves) =>
    panel.lines.map(({ curve, as }) => {
      const d = lineOf(runsOf(curves.at, curves[curve], holeOf(curves)), scale);
      return d === '' ? undefined : m`<path class="c ${as}" d="${d}"/>`;
    }),
  );
  const shown = legend(signsOf(report, panel), size, top);
  return m`<text class="h" x="${LEFT}" y="${top + 13}">${panel.title}<tspan class="soft" font-weight="400" dx="8">${panel.unit}</tspan></text>${shown}${rows}${wedges}${drawn}${panel === RATE ? heldBack(frame, base) : undefined}`;
};

const wedge = ({ x, end, size }: Frame, { from, to, ms, what }: Stop, scale: Scale): Markup => {
  const until = to ?? end;
  const text = seconds(ms);
  // Beside its tip, or above it where that would be beyond the edge.
  const beside = x(until) + 4 + widthOf(text, 12, true) < size.width - RIGHT;
  const [left, below] = beside ? [x(until) + 4, 12] : [x(until) - 2, -5];
  return m`<path class="wedge" d="${wedgeOf(from, until, ms, scale)}"><title>${text} ${STOP_SAYS[what]}</title></path><text class="told${beside ? '' : ' end'}" x="${round(left)}" y="${round(scale.y(ms) + below)}">${text}</text>`;
};

export const panelsOf = (report: Report): { panel: Panel; most: number }[] => {
  const stops = Math.max(0, ...stopsOf(report).map(({ ms }) => ms));
  return [RATE, LAG, GAP].flatMap((panel) => {
    const values = valuesOf(report, panel);
    const most = Math.max(0, ...values, panel === GAP ? stops : 0);
    return values.length > 0 || (panel === GAP && stops > 0) ? [{ panel, most }] : [];
  });
};
