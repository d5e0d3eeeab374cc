/** The steps of each handoff as bars, and the key to their colours. Pure. */
import { seconds } from '../format.ts';
import { widthOf } from './chart.ts';
import { BAR, type Frame, LEFT, RIGHT, round } from './frame.ts';
import { type Markup, m } from './markup.ts';
import type { HandoffReport } from './schema.ts';

const shortened = (text: string, width: number, size: number): string => {
  const most = Math.max(4, Math.floor(width / widthOf('x', size, true)));
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
};

export const lane = ({ x, size }: Frame, handoff: HandoffReport, top: number): Markup => {
  const { source, copy, attempt, steps, from } = handoff;
  const title = `${source.pod} → ${copy.pod}${attempt > 1 ? `, attempt ${attempt}` : ''}`;
  const left = x(from ?? 0);
  const room = size.width - LEFT - RIGHT;
  const text = shortened(title, room, 13);
  // Beside its bar, but never beyond the edge.
  const textAt = Math.max(LEFT, Math.min(left, size.width - RIGHT - widthOf(text, 13, true)));
  const bars = steps.map(({ step, from: begun, ms, says }) => {
    const width = Math.max(1.2, x(begun + ms) - x(begun));
    const named = widthOf(step, 11, true) + 8 < width;
    return m`<g><title>${step}, ${seconds(ms)}${says ? `: ${says}` : ''}</title>
<rect class="s-${step}" x="${round(x(begun))}" y="${top + 20}" width="${round(width)}" height="${BAR}"/>
${named ? m`<text class="in mid" x="${round(x(begun) + width / 2)}" y="${top + 34}">${step}</text>` : undefined}</g>`;
  });
  return m`<text class="h" x="${round(textAt)}" y="${top + 13}">${text}</text>${bars}`;
};

export const KEY = 18;

/** Which colour is which step, in as many lines as they need. */
export const keyOf = ({ report, size }: Frame): { step: string; x: number; line: number }[] => {
  const steps = new Set(report.handoffs.flatMap((handoff) => handoff.steps.map(({ step }) => step)));
  let [x, line] = [LEFT, 0];
  return [...steps].map((step) => {
    const width = 16 + widthOf(step, 12);
    if (x + width > size.width - RIGHT) [x, line] = [LEFT, line + 1];
    const placed = { step, x, line };
    x += width + 14;
    return placed;
  });
};

export const drawKey = (frame: Frame, top: number): Markup[] =>
  keyOf(frame).map(({ step, x, line }) => {
    const y = top + line * KEY;
    return m`<rect class="s-${step}" x="${round(x)}" y="${y}" width="11" height="11" rx="2"/><text class="soft" x="${round(x + 16)}" y="${y + 10}">${step}</text>`;
  });
