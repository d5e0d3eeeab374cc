/** The report as a picture: throughput, added latency and CPU of each mode, by row. Pure. */
import { at, escaped, legend, svgDocument } from '../lib/svg.ts';
import type { Report } from './report.ts';
import { MODES, type Mode, ROWS, type Row } from './rows.ts';
import { added, MEASURE, ratio, typical } from './statistics.ts';

const COLOUR: Readonly<Record<Mode, string>> = {
  direct: '#9aa5b5',
  pipe: '#3f7f3a',
  toxiproxy: '#8a63b8',
  sidecar: '#d9822b',
  recording: '#b0413e',
};
const LABEL: Readonly<Record<Mode, string>> = {
  direct: 'direct',
  pipe: 'Node.js pipe',
  toxiproxy: 'toxiproxy',
  sidecar: 'sidecar, relaying',
  recording: 'sidecar, recording',
};

interface Bar {
  readonly mode: Mode;
  readonly value: number;
  readonly text: string;
}
interface Group {
  readonly title: string;
  readonly bars: readonly Bar[];
}
interface Panel {
  readonly title: string;
  readonly groups: readonly Group[];
}

const WIDTH = 960;
const LEFT = 24;
const TOP = 56;
const PANEL_HEIGHT = 230;
const PLOT_HEIGHT = 150;
const GAP = 26;

const SHORT: Readonly<Record<string, string>> = {
  'throughput-100': '100 B',
  'throughput-1k': '1 KiB',
  'throughput-16k': '16 KiB',
  'latency-1000': '1,000 msg/s',
  'latency-20': '20 msg/s, prefetch 1',
  'connections-100': '100 connections, 1 KiB',
};

/** Only what was measured; a row without any value is left out. */
const groupsOf = (
  rows: readonly Row[],
  value: (row: string, mode: Mode) => number | undefined,
  text: (value: number) => string,
): Group[] =>
  rows.flatMap(({ name, title }) => {
    const bars = MODES.flatMap((mode) => {
      const each = value(name, mode);
      return each === undefined || !Number.isFinite(each) ? [] : [{ mode, value: each, text: text(each) }];
    });
    return bars.length === 0 ? [] : [{ title: SHORT[name] ?? title, bars }];
  });

export const panelsOf = ({ samples }: Pick<Report, 'samples'>): Panel[] => {
  const full = ROWS.filter((row) => row.of === 'throughput');
  const paced = ROWS.filter((row) => row.of === 'latency');
  const panels: Panel[] = [
    {
      title: 'Throughput, of direct (more is better)',
      groups: groupsOf(
        full,
        (row, mode) => ratio(samples, row, [mode, 'direct'], MEASURE.rate),
        (value) => value.toFixed(2),
      ),
    },
    {
      title: 'Median latency added, microseconds (less is better)',
      groups: groupsOf(
        paced,
        (row, mode) => (mode === 'direct' ? undefined : added(samples, row, [mode, 'direct'], MEASURE.median)),
        (value) => value.toFixed(0),
      ),
    },
    {
      title: 'CPU seconds of the middle a million messages (less is better)',
      groups: groupsOf(
        full,
        (row, mode) => typical(samples, row, mode, MEASURE.cpu),
        (value) => value.toFixed(1),
      ),
    },
  ];
  return panels.filter(({ groups }) => groups.length > 0);
};

const drawGroup = (group: Group, x: number, width: number, base: number, most: number): string[] => {
  const bar = Math.min(46, width / group.bars.length);
  const from = x + (width - bar * group.bars.length) / 2;
  const drawn = group.bars.flatMap(({ mode, value, text }, index) => {
    // Nothing is below 0 but what is too small to be told from noise.
    const height = (Math.max(0, value) / most) * PLOT_HEIGHT;
    const left = from + index * bar;
    return [
      `<rect x="${at(left + 2)}" y="${at(base - height)}" width="${at(bar - 4)}" height="${at(height)}" fill="${COLOUR[mode]}"/>`,
      `<text class="v" x="${at(left + bar / 2)}" y="${at(base - height - 4)}">${escaped(text)}</text>`,
    ];
  });
  return [...drawn, `<text class="g" x="${at(x + width / 2)}" y="${at(base + 18)}">${escaped(group.title)}</text>`];
};

const drawPanel = (panel: Panel, top: number): string[] => {
  const base = top + 36 + PLOT_HEIGHT;
  const values = panel.groups.flatMap(({ bars }) => bars.map(({ value }) => value));
  const most = Math.max(...values, Number.MIN_VALUE);
  const width = (WIDTH - 2 * LEFT - GAP * (panel.groups.length - 1)) / panel.groups.length;
  return [
    `<text class="h" x="${LEFT}" y="${top + 14}">${escaped(panel.title)}</text>`,
    `<path class="axis" d="M${LEFT} ${base}H${WIDTH - LEFT}"/>`,
    ...panel.groups.flatMap((group, index) => drawGroup(group, LEFT + index * (width + GAP), width, base, most)),
  ];
};

export const plot = (report: Pick<Report, 'samples'>): string => {
  const panels = panelsOf(report);
  return svgDocument(
    {
      width: WIDTH,
      height: TOP + panels.length * PANEL_HEIGHT,
      label: 'What the sidecar costs, beside a bare pipe and toxiproxy',
    },
    [
      ...legend(
        MODES.map((mode) => ({ label: LABEL[mode], colour: COLOUR[mode] })),
        LEFT,
        18,
        180,
      ),
      ...panels.flatMap((panel, index) => drawPanel(panel, TOP + index * PANEL_HEIGHT)),
    ],
  );
};
