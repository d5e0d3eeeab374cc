import { describe, expect, test } from 'vitest';
import { Painter, REDRAW_MS, type Size } from '../../../plugin/painter.ts';
import { cutText, type Line, lineText, lineWidth, widthOf } from '../../../plugin/style.ts';
import { Screen, woundClock } from './stage.ts';

const LOOK = { color: false, unicode: true };

/** A painter of lines that a test sets. */
const scene = (size: Size, lines: (now: number) => string[], look = LOOK) => {
  const clock = woundClock();
  const screen = new Screen(size, clock);
  const painter = new Painter(screen, clock, look, (_, now) => lines(now).map((text): Line => [[text, 'good']]));
  return { clock, screen, painter };
};

/** The most writes within any second. */
const busiest = (times: readonly number[]): number =>
  Math.max(0, ...times.map((at) => times.filter((other) => other >= at && other < at + 1000).length));

describe('the painter', () => {
  test('draws five times a second at most, whatever changes, and the last state', () => {
    let changes = 0;
    const { clock, screen, painter } = scene({ columns: 40, rows: 10 }, () => [`change ${++changes}`]);
    painter.start();
    for (let ms = 0; ms < 10_000; ms += 10) {
      clock.pass(10);
      if (ms % 70 === 0) painter.say(`line ${ms}`);
    }
    painter.close();
    expect(busiest(screen.writes.map(({ at }) => at))).toBeLessThanOrEqual(5);
    expect(screen.writes.length).toBeGreaterThan(30);
    expect(screen.lines.at(-2)).toBe(`change ${changes}`);
    const drawn = screen.writes.length;
    clock.pass(5000);
    expect(screen.writes).toHaveLength(drawn);
  });

  test('writes nothing where nothing changed, and of a frame the changed lines alone', () => {
    let second = 'b';
    const { clock, screen, painter } = scene({ columns: 40, rows: 10 }, () => ['a', second, 'c']);
    painter.start();
    clock.pass(3 * REDRAW_MS);
    expect(screen.writes).toHaveLength(1);
    second = 'B';
    clock.pass(REDRAW_MS);
    expect(screen.writes).toHaveLength(2);
    expect(screen.writes[1]?.text).not.toMatch(/[ac]\n/);
    expect(screen.lines).toEqual(['a', 'B', 'c', '']);
  });

  test('leaves nothing of longer frames and lines', () => {
    let lines = ['one', 'a long second line', 'three'];
    const { clock, screen, painter } = scene({ columns: 40, rows: 10 }, () => lines);
    painter.start();
    lines = ['one', 'short'];
    clock.pass(REDRAW_MS);
    expect(screen.lines).toEqual(['one', 'short', '']);
    lines = ['one', 'short', 'and', 'more'];
    clock.pass(REDRAW_MS);
    expect(screen.lines).toEqual(['one', 'short', 'and', 'more', '']);
  });

  test('what is said stays above it, once', () => {
    const { clock, screen, painter } = scene({ columns: 40, rows: 10 }, (now) => [`now ${now}`]);
    painter.start();
    painter.say('created');
    clock.pass(2 * REDRAW_MS);
    painter.close();
    expect(screen.lines).toEqual(['created', `now ${2 * REDRAW_MS}`, '']);
  });

  test('gives the terminal away for a question, and comes back below it', () => {
    const { clock, screen, painter } = scene({ columns: 40, rows: 10 }, () => ['a', 'b']);
    painter.start();
    painter.pause();
    clock.pass(5000);
    expect(screen.lines).toEqual(['']);
    screen.write('abort? n\n');
    painter.start();
    expect(screen.lines).toEqual(['abort? n', 'a', 'b', '']);
  });

  test.each([40, 25, 12])(
    'a terminal narrowed from 60 to %d columns keeps one block, and what was above it',
    (columns) => {
      const { clock, screen, painter } = scene({ columns: 60, rows: 30 }, () => ['x'.repeat(59), 'y'.repeat(30), 'z']);
      screen.write('$ kubectl shadow migrate\n');
      painter.start();
      screen.resize(columns);
      clock.pass(REDRAW_MS);
      const cut = (letter: string, length: number): string => cutText(letter.repeat(length), columns - 1, LOOK);
      // What was typed is broken too.
      const typed = Math.ceil('$ kubectl shadow migrate'.length / columns);
      expect(screen.lines.slice(typed)).toEqual([cut('x', 59), cut('y', 30), 'z', '']);
      expect(screen.lines.slice(0, typed).join('')).toBe('$ kubectl shadow migrate');
    },
  );

  test('is never as high as the terminal, so that nothing scrolls away under it', () => {
    const { clock, screen, painter } = scene({ columns: 40, rows: 5 }, (now) =>
      Array.from({ length: 20 }, (_, at) => `${at} ${now}`),
    );
    painter.start();
    clock.pass(10 * REDRAW_MS);
    expect(screen.lines).toEqual([0, 1, 2, 3].map((at) => `${at} ${10 * REDRAW_MS}`).concat(''));
  });

  test('without colour it writes no colour', () => {
    const sgr = /\[\d+m/;
    const plain = scene({ columns: 40, rows: 5 }, () => ['a']);
    plain.painter.start();
    expect(plain.screen.writes[0]?.text).not.toMatch(sgr);
    const coloured = scene({ columns: 40, rows: 5 }, () => ['a'], { ...LOOK, color: true });
    coloured.painter.start();
    expect(coloured.screen.writes[0]?.text).toMatch(sgr);
  });
});

describe('a line', () => {
  test('is cut to the cells it may take, wide characters and spans alike', () => {
    const line: Line = [['ab', 'good'], ['日本語'], ['cd', 'bad']];
    expect(lineWidth(line)).toBe(10);
    for (let width = 1; width <= 12; width++) {
      const text = lineText(line, width, LOOK);
      expect(widthOf(text)).toBeLessThanOrEqual(width);
      expect(text.endsWith('…')).toBe(width < 10);
    }
    expect(lineText(line, 10, LOOK)).toBe('ab日本語cd');
    expect(widthOf('é')).toBe(1);
  });
  test('cannot steer the terminal', () => {
    expect(lineText([['a\u001b[2Jb\u0007\rc\u009bd']], 40, LOOK)).toBe('a [2Jb  c d');
  });
  test('without unicode is ASCII', () => {
    expect(lineText([['x'.repeat(50)]], 10, { color: false, unicode: false })).toBe('xxxxxxxxx~');
  });
});
