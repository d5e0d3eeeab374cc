/** Axes, scales and lines of a plot. Pure; coordinates are the picture's units. */

const STEPS = [1, 2, 5, 10] as const;

/** A round distance of ticks, of which at most `count` fit into `span`. */
export const tickStep = (span: number, count: number): number => {
  const rough = Math.max(span, Number.MIN_VALUE) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * STEPS.find((each) => each * power >= rough * (1 - 1e-9))!;
};

/** Multiples of a round number from 0 to `most`. */
export const ticks = (most: number, count: number): number[] => {
  if (!(most > 0)) return [0];
  const step = tickStep(most, count);
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, index) =>
    Number((index * step).toPrecision(12)),
  );
};

/** The next round number, so that nothing touches the top of its plot. */
export const ceilingOf = (most: number, count: number): number => {
  if (!(most > 0)) return 1;
  const step = tickStep(most, count);
  return Number((Math.ceil(most / step - 1e-9) * step).toPrecision(12));
};

export interface Scale {
  x(ms: number): number;
  y(value: number): number;
}

const at = (value: number): string => String(Number(value.toFixed(1)));

export interface Point {
  at: number;
  value: number;
}

/** Runs of points without a hole: one of unknown value, or a stretch longer than `gapMs`, ends a run. */
export const runsOf = (times: readonly number[], values: readonly (number | null)[], gapMs: number): Point[][] => {
  const runs: Point[][] = [];
  let last: number | undefined;
  times.forEach((time, index) => {
    const value = values[index];
    if (value === null || value === undefined) return;
    if (last === undefined || time - last > gapMs) runs.push([]);
    runs.at(-1)!.push({ at: time, value });
    last = time;
  });
  return runs;
};

/** The `d` of a path: a line for each run. One point alone is a dot (a line of no length with round caps). */
export const lineOf = (runs: readonly (readonly Point[])[], { x, y }: Scale): string =>
  runs
    .map((run) => {
      const points = run.length === 1 ? [run[0]!, run[0]!] : run;
      return points.map((each, index) => `${index === 0 ? 'M' : 'L'}${at(x(each.at))} ${at(y(each.value))}`).join('');
    })
    .join('');

/** A wedge that rises with the time nobody served, to `ms` at its end. */
export const wedgeOf = (from: number, to: number, ms: number, { x, y }: Scale): string =>
  `M${at(x(from))} ${at(y(0))}L${at(x(to))} ${at(y(ms))}V${at(y(0))}Z`;

/** At most about so wide is a text of `size`, set in one of the wider fonts: no browser is there to measure it. */
export const widthOf = (text: string, size: number, bold = false): number => text.length * size * (bold ? 0.72 : 0.64);
