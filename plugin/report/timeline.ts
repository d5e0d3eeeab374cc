/**
 * The picture of a migration: a lane of steps for each handoff, over message rate, lag and gap on one axis of time. An SVG of
 * its own, or part of the page. Pure.
 */
import { seconds } from '../format.ts';
import { ticks } from './chart.ts';
import {
  AXIS,
  endOf,
  type Frame,
  LANE,
  LEFT,
  panelOf,
  RIGHT,
  round,
  type Size,
  STOP_SAYS,
  secondsAt,
  stopsOf,
  TOP,
  WIDE,
} from './frame.ts';
import { drawKey, KEY, keyOf, lane } from './lanes.ts';
import { Markup, m } from './markup.ts';
import { drawPanel, panelsOf } from './plots.ts';
import type { Report } from './schema.ts';
import { PALETTE, PICTURE } from './style.ts';

const STYLE = new Markup(`${PALETTE}\n${PICTURE}`);

const axis = ({ x, end, size }: Frame, top: number, base: number): Markup => {
  const count = Math.max(2, Math.floor((size.width - LEFT - RIGHT) / 90));
  const marks = ticks(end, count).map((ms) => {
    const anchor = x(ms) > size.width - RIGHT - 16 ? 'end' : 'mid';
    return m`<path class="grid" d="M${round(x(ms))} ${top}V${base}"/><text class="soft ${anchor}" x="${round(x(ms))}" y="${base + 16}">${secondsAt(ms)}</text>`;
  });
  return m`${marks}<path class="axis" d="M${LEFT} ${base}H${size.width - RIGHT}"/>`;
};

const bands = ({ report, x, end }: Frame, top: number, base: number): Markup[] =>
  stopsOf(report).map(
    ({ from, to, ms, what }) =>
      m`<rect class="band" x="${round(x(from))}" y="${top}" width="${round(Math.max(1.5, x(to ?? end) - x(from)))}" height="${base - top}"><title>Nobody served for ${seconds(ms)}: ${STOP_SAYS[what]}</title></rect>`,
  );

/** In words, for who does not see it. */
const described = ({ migration, handoffs, totals: { longestStopMs } }: Report): string =>
  [
    `${migration.pod}, ${migration.from ?? 'unknown node'} to ${migration.to ?? 'unknown node'}, by ${migration.strategy}: ${migration.phase} after ${seconds(migration.ms)}.`,
    ...handoffs.map(
      ({ source, copy, steps }) =>
        `${source.pod} to ${copy.pod}: ${steps.map(({ step, ms }) => `${step} ${seconds(ms)}`).join(', ')}.`,
    ),
    ...(longestStopMs === null ? [] : [`Longest time without service: ${seconds(longestStopMs)}.`]),
  ].join(' ');

export const isEmpty = ({ handoffs }: Report): boolean => handoffs.every(({ steps }) => steps.length === 0);

/** `alone`: a file of its own, with its style and its size. */
export const timeline = (report: Report, size: Size = WIDE, alone = true): Markup => {
  const end = endOf(report);
  const room = size.width - LEFT - RIGHT;
  const frame: Frame = { size, report, end, x: (ms) => LEFT + (Math.min(Math.max(0, ms), end) / end) * room };
  const shown = report.handoffs.filter(({ steps }) => steps.length > 0);
  const panels = panelsOf(report);
  const key = TOP + shown.length * LANE + 6;
  const first = key + (1 + Math.max(0, ...keyOf(frame).map(({ line }) => line))) * KEY + 6;
  const base = first + panels.length * panelOf(size);
  const height = base + AXIS;
  const [title, text] = [`tl-${size.id}-title`, `tl-${size.id}-desc`];
  const own = alone ? m` width="${size.width}" height="${height}"` : undefined;
  return m`<svg xmlns="http://www.w3.org/2000/svg" class="tl ${size.id}" viewBox="0 0 ${size.width} ${height}"${own} role="img" aria-labelledby="${title} ${text}">
<title id="${title}">Timeline of ${report.migration.name}</title>
<desc id="${text}">${described(report)}</desc>
${alone ? m`<style>${STYLE}</style><rect width="${size.width}" height="${height}" fill="var(--bg)"/>` : undefined}
${axis(frame, first, base)}
${bands(frame, TOP, base)}
${shown.map((handoff, index) => lane(frame, handoff, TOP + index * LANE))}
${drawKey(frame, key)}
${panels.map(({ panel, most }, index) => drawPanel(frame, panel, first + index * panelOf(size), most))}
</svg>`;
};
