/** What a recorded terminal session looks like, and the picture made of it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Cast, castText, type Event, parseCast } from '../../../scripts/record/cast.ts';
import { colourText } from '../../../scripts/record/colours.ts';
import { type Frame, framesOf, frameText } from '../../../scripts/record/frames.ts';
import { picture } from '../../../scripts/record/picture.ts';
import { svgOf } from '../../../scripts/record/svg.ts';

const ESC = '\x1b';
const cast = (outputs: readonly (readonly [number, string])[], width = 20, height = 4): Cast => ({
  header: { version: 2, width, height, title: 'A <test> & more' },
  events: outputs.map(([at, text]): Event => [at, 'o', text]),
});
const texts = (frames: readonly Frame[]): string[] => frames.map(frameText);
const LOOK = { columns: 20, rows: 4, title: 'A <test> & more', pauseMs: 1000 };

describe('frames are what the terminal shows', () => {
  test('the cursor goes back up and a line is written anew; what comes together is one picture', async () => {
    const frames = await framesOf(
      cast([
        [0, 'one\r\ntwo\r\n'],
        [0.5, `${ESC}[2A${ESC}[K`],
        [0.51, 'ONE\r\n\r\n'],
        [0.9, `${ESC}[2A${ESC}[J`],
      ]),
    );
    expect(texts(frames)).toEqual(['one\ntwo', 'ONE\ntwo', '']);
    expect(frames.map(({ at }) => at)).toEqual([0, 510, 900]);
  });

  test('no picture in the midst of a synchronized update, none twice, none of what was typed', async () => {
    const { header, events } = cast([
      [0, 'a'],
      [1, `${ESC}[?2026h${ESC}[2J`],
      [2, `${ESC}[Hb${ESC}[?2026l`],
      [3, `${ESC}[m`],
    ]);
    const typed: Event = [2.5, 'i', 'x'];
    const frames = await framesOf({ header, events: [...events.slice(0, 3), typed, ...events.slice(3)] });
    expect(texts(frames)).toEqual(['a', 'b']);
  });

  test('lines scroll out, long ones wrap, and a character may come in two chunks of escapes', async () => {
    const [frame] = await framesOf(
      cast(
        [
          [0, `1\r\n2\r\n3\r\n${'x'.repeat(21)}${ESC}`],
          [0.01, '[1Dy'],
        ],
        20,
        3,
      ),
    );
    expect(frameText(frame!)).toBe(`3\n${'x'.repeat(20)}\ny`);
  });

  test('wide characters take two cells, and what follows stands behind them', async () => {
    const [frame] = await framesOf(cast([[0, '漢字 ok']]));
    const [run] = frame!.rows[0]!;
    expect(run!.cells.slice(0, 3)).toEqual([
      ['漢', 2],
      ['字', 2],
      [' ', 1],
    ]);
    const svg = svgOf([frame!], LOOK);
    expect(svg).toContain('<text x="0 16.8">漢字</text>');
    expect(svg).toContain('<text x="42" textLength="16.8" lengthAdjust="spacingAndGlyphs">ok</text>');
  });

  test('colours, weights and their end', async () => {
    const [frame] = await framesOf(
      cast([[0, `${ESC}[1;32mgo${ESC}[0m ${ESC}[2mdim${ESC}[0m ${ESC}[38;5;208mo${ESC}[38;2;1;2;3mr${ESC}[0m!`]]),
    );
    const styles = frame!.rows[0]!.map(({ column, style, cells }) => [
      column,
      cells.map(([text]) => text).join(''),
      style.fg,
      style.bold,
      style.dim,
    ]);
    expect(styles).toEqual([
      [0, 'go', 2, true, false],
      [3, 'dim', undefined, false, true],
      [7, 'o', 208, false, false],
      [8, 'r', '#010203', false, false],
      [9, '!', undefined, false, false],
    ]);
    expect(colourText(208)).toEqual({ fill: '#ff8700' });
    expect(colourText(255)).toEqual({ fill: '#eeeeee' });
  });

  test('spaces are nothing, unless they have a background', async () => {
    const [frame] = await framesOf(cast([[0, `  a  b  ${ESC}[7m c ${ESC}[0m`]]));
    const svg = svgOf([frame!], LOOK);
    const seen = [...svg.matchAll(/<text x="([\d.]+)"[^>]*>([^<]*)</g)].map(([, x, text]) => [Number(x), text]);
    expect(seen).toEqual([
      [16.8, 'a'],
      [42, 'b'],
      [75.6, 'c'],
    ]);
    expect(svg).toContain('<rect x="67.2" y="-14" width="25.2" height="19" class="fg"/>');
  });

  test('the cursor is where it is, and nowhere while it is hidden', async () => {
    const frames = await framesOf(
      cast([
        [0, 'ab'],
        [1, `${ESC}[?25l`],
        [2, `\r\n${ESC}[?25h`],
      ]),
    );
    expect(frames.map(({ cursor }) => cursor)).toEqual([{ column: 2, row: 0 }, undefined, { column: 0, row: 1 }]);
  });
});

describe('the picture', () => {
  const session = cast([
    [0, 'one'],
    [1, '\r\ntwo'],
    [2.5, '\r\n<&>'],
  ]);

  test('shows each frame at its time, the last for the pause, and without motion the last alone', async () => {
    const svg = await picture(session);
    // 2.5 s and the pause of 6; 20 cells are 168 wide.
    expect(svg).toContain('animation:play 8500ms step-end infinite');
    expect(svg).toContain(
      '@keyframes play{0%{transform:translateX(0px)}11.765%{transform:translateX(-168px)}29.412%{transform:translateX(-336px)}}',
    );
    expect(svg).toContain(
      '.reel{transform:translateX(-336px)}@media screen and (prefers-reduced-motion:no-preference)',
    );
  });

  test('a line that stays is drawn once; nothing is fetched, no script, texts escaped', async () => {
    const svg = await picture(session);
    expect(svg.match(/>one</g)).toHaveLength(1);
    expect(svg.match(/<use href="#r0" y="14"/g)).toHaveLength(3);
    expect(svg).toContain('>&lt;&amp;&gt;<');
    expect(svg).toContain('<title>A &lt;test&gt; &amp; more</title>');
    expect(svg).not.toMatch(/<script|@import|url\(|href="[^#]|\bon\w+=/);
  });

  test('what shows nothing is refused', async () => {
    await expect(picture(cast([]))).rejects.toMatchObject({ code: 'SHADOW_E_INVALID' });
  });
});

describe('the file', () => {
  const session = cast([[0.25, `${ESC}[32m"é"\r\n`]]);

  test('comes back as it was written', () => {
    expect(parseCast(castText(session))).toEqual(session);
  });

  test.each([
    ['', 'line 1'],
    ['{"version":1,"width":80,"height":24}', 'line 1'],
    ['{"version":2,"width":80,"height":24}\n[1,"o"]', 'line 2'],
    ['{"version":2,"width":80,"height":24}\n[1,"o","a"]\n{', 'line 3'],
    ['{"version":2,"width":80,"height":24}\n[1,"o","a"]\n[0.5,"o","b"]', 'line 3'],
  ])('%j is refused, by its line', (text, line) => {
    expect(() => parseCast(text)).toThrow(
      expect.objectContaining({ code: 'SHADOW_E_INVALID', message: expect.stringContaining(line) }),
    );
  });
});

describe('docs/migrate.svg', () => {
  const docs = join(import.meta.dirname, '../../../docs');
  const recorded = parseCast(readFileSync(join(docs, 'migrate.cast'), 'utf8'));
  const drawn = readFileSync(join(docs, 'migrate.svg'), 'utf8');

  test('is drawn from docs/migrate.cast (npm run record -- --draw), and small', async () => {
    expect(drawn).toBe(await picture(recorded));
    expect(drawn.length).toBeLessThan(150_000);
  });

  test('begins with the command, shows how source and copy go on, and ends with the pod moved and the prompt', async () => {
    const seen = texts(await framesOf(recorded));
    const typed = /^\$ kubectl shadow migrate pod\/consumer-0 -n shadow-demo --to node-[12]\n/;
    const both = /● consumer-0 +source +Serving.*◐ consumer-0-shadow +copy +Replaying/s;
    expect(seen.some((text) => typed.test(text) && both.test(text))).toBe(true);
    const swapped = /○ consumer-0 +source +Gone.*◐ consumer-0 +successor +Replaying/s;
    expect(seen.some((text) => swapped.test(text))).toBe(true);
    expect(seen.at(-1)).toMatch(/^consumer-0 moved from node-([12]) to node-(?!\1)[12] in [\d.]+s \(ShadowPodSwap\)$/m);
    expect(seen.at(-1)).toMatch(/\n\$$/);
  });
});
