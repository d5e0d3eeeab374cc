/** The session in README.md: a real shell in a real terminal, and its picture as a real browser shows it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCast } from '../../scripts/record/cast.ts';
import { type Frame, framesOf, frameText } from '../../scripts/record/frames.ts';
import { recordSession } from '../../scripts/record/session.ts';
import { type Chromium, startChromium, type Tab } from './chromium.ts';

test('a session is what a shell in a terminal of that size writes, with the exit codes', async () => {
  const { cast, exits } = await recordSession({
    commands: ['tput cols; tput lines; test -t 0 && test -t 1', "printf '\\e[31mred\\e[0m\\n'; (exit 3)"],
    columns: 60,
    rows: 11,
    title: 't',
    env: {},
    timeoutMs: 30_000,
  });
  expect(exits).toEqual([0, 3]);
  const frames = await framesOf(cast);
  const last = frameText(frames.at(-1)!).split('\n');
  expect(last).toEqual([
    expect.stringMatching(/^\$ tput/),
    '60',
    '11',
    expect.stringMatching(/^\$ printf/),
    'red',
    '$',
  ]);
  expect(frames.at(-1)!.rows[4]).toMatchObject([{ column: 0, style: { fg: 1 } }]);
  // Typed, not there at once.
  expect(frames.length).toBeGreaterThan(5);
});

test('a command that does not end is told, with the screen', async () => {
  const session = { commands: ['sleep 60'], columns: 40, rows: 5, title: 't', env: {}, timeoutMs: 3000 };
  await expect(recordSession(session)).rejects.toThrow(/no prompt after sleep 60: .*\$ sleep 60/s);
});

/** SHADOW_TEST_PICTURES: a directory to look at afterwards. */
const kept = process.env.SHADOW_TEST_PICTURES;
const DOCS = join(import.meta.dirname, '../../docs');
const PICTURE = pathToFileURL(join(DOCS, 'migrate.svg')).href;

/** Indexes of the frames that are seen, by where they are. */
const SEEN = `(() => {
  const { x, width } = document.querySelector('svg > svg');
  const box = { left: x.baseVal.value, right: x.baseVal.value + width.baseVal.value };
  const frames = [...document.querySelectorAll('.reel > g')];
  return frames.flatMap((each, index) => {
    const { left, right } = each.getBoundingClientRect();
    return right > box.left + 1 && left < box.right - 1 ? [index] : [];
  });
})()`;

/** What reaches beyond its frame: a frame's neighbour would show it. */
const STICKING_OUT = `(() => {
  const width = document.querySelector('svg > svg').width.baseVal.value;
  return [...document.querySelectorAll('.reel > g')].flatMap((each, index) => {
    const { x, width: wide } = each.getBBox();
    return x < -1 || x + wide > width + 1 ? [index] : [];
  });
})()`;

/** Contrast (WCAG 2) of each class of text with the card, the lowest first. Dimmed text counts as it is seen. */
const CONTRASTS = `(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const card = parts(getComputedStyle(document.querySelector('.card')).fill);
  const seen = new Map();
  for (const text of document.querySelectorAll('defs text')) {
    const { fill, opacity } = getComputedStyle(text);
    const own = text.hasAttribute('class') && /\\b(a\\d+|fg|bg)\\b/.test(text.getAttribute('class'));
    const base = parts(own ? fill : getComputedStyle(document.querySelector('.t')).fill);
    const mixed = base.map((part, at) => part * opacity + card[at] * (1 - opacity));
    const [a, b] = [light(mixed), light(card)].sort((one, other) => other - one);
    seen.set(text.getAttribute('class'), (a + 0.05) / (b + 0.05));
  }
  return [...seen].sort((one, other) => one[1] - other[1]);
})()`;

describe('docs/migrate.svg', () => {
  const dir = mkdtempSync(join(tmpdir(), 'shadow-picture-'));
  let chromium: Chromium;
  let tab: Tab;
  let frames: Frame[];
  beforeAll(async () => {
    frames = await framesOf(parseCast(readFileSync(join(DOCS, 'migrate.cast'), 'utf8')));
    chromium = await startChromium((line) => console.log(line));
    tab = await chromium.tab();
    if (kept) mkdirSync(kept, { recursive: true });
  });
  afterAll(async () => {
    await chromium?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const look = async (name: string): Promise<void> => {
    if (kept) writeFileSync(join(kept, `${name}.png`), await tab.picture());
  };
  const at = (ms: number): Promise<void> =>
    tab.value(`document.getAnimations().forEach((each) => { each.pause(); each.currentTime = ${ms}; })`);

  test.each(['light', 'dark'] as const)('shows each frame when its time is, whole, %s', async (scheme) => {
    await tab.show(1000, scheme);
    await tab.open(PICTURE);
    const start = frames[0]!.at;
    for (const [index, frame] of frames.entries()) {
      await at(frame.at - start + 2);
      expect(await tab.value(SEEN)).toEqual([index]);
      if (index % 12 === 11 || index === frames.length - 1) await look(`migrate-${scheme}-${index}`);
    }
    expect(await tab.value(STICKING_OUT)).toEqual([]);
    expect(tab.fetched).toEqual([PICTURE]);
    expect(tab.said).toEqual([]);
  });

  test.each(['light', 'dark'] as const)('is readable, %s', async (scheme) => {
    await tab.show(1000, scheme);
    await tab.open(PICTURE);
    const [[worst, contrast] = []] = await tab.value<[string, number][]>(CONTRASTS);
    expect(contrast, worst).toBeGreaterThan(4.5);
  });

  test('begins anew after a pause on the end', async () => {
    await tab.show(1000, 'light');
    await tab.open(PICTURE);
    const { duration, iterations } = await tab.value<{ duration: number; iterations: number | null }>(
      'document.getAnimations()[0].effect.getTiming()',
    );
    const length = frames.at(-1)!.at - frames[0]!.at;
    expect(duration - length).toBeGreaterThan(4000);
    expect(iterations).toBeNull();
    await at(duration - 5);
    expect(await tab.value(SEEN)).toEqual([frames.length - 1]);
    await at(duration + 5);
    expect(await tab.value(SEEN)).toEqual([0]);
  });

  test('stands still on the end for who wants no motion, and on paper', async () => {
    await tab.open(PICTURE);
    for (const media of [
      { media: 'screen', features: [{ name: 'prefers-reduced-motion', value: 'reduce' }] },
      { media: 'print', features: [] },
    ]) {
      await tab.send('Emulation.setEmulatedMedia', media);
      expect(await tab.value('document.getAnimations().length')).toBe(0);
      expect(await tab.value(SEEN)).toEqual([frames.length - 1]);
    }
  });

  test('is an image in a page, as in README.md', async () => {
    await tab.show(1000, 'dark');
    const page = join(dir, 'page.html');
    writeFileSync(page, `<body style="margin:20px;background:#0d1117"><img src="${PICTURE}" width="100%">`);
    await tab.open(pathToFileURL(page).href);
    const { width, ratio } = await tab.value<{ width: number; ratio: number }>(
      '(({ naturalWidth: width, naturalHeight: height }) => ({ width, ratio: width / height }))(document.images[0])',
    );
    expect(width).toBeGreaterThan(800);
    expect(ratio).toBeGreaterThan(1);
    await look('migrate-image');
  });
});
