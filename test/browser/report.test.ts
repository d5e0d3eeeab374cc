/** The report as it is seen: in a real browser, light and dark, wide and narrow, on paper, and by who hears it. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytes, seconds } from '../../plugin/format.ts';
import { reportOf } from '../../plugin/report/data.ts';
import { page } from '../../plugin/report/page.ts';
import type { Report } from '../../plugin/report/schema.ts';
import { timeline } from '../../plugin/report/timeline.ts';
import { runPlugin } from '../../scripts/demonstration/migrate.ts';
import { API_VERSION, KIND, PLURAL, type StatefulMigration } from '../../webhook/api/migration.ts';
import { SAMPLES } from '../unit/plugin/report-sample.ts';
import { NOW } from '../unit/plugin/sample.ts';
import { type Chromium, startChromium, type Tab } from './chromium.ts';

/** SHADOW_TEST_PICTURES: a directory to look at afterwards. */
const kept = process.env.SHADOW_TEST_PICTURES;
const dir = mkdtempSync(join(tmpdir(), 'shadow-report-'));
let chromium: Chromium;
let tab: Tab;

const of = (migration: StatefulMigration): Report => reportOf(migration, NOW, '0.2.0');
const all = Object.entries(SAMPLES);
const written = (name: string, text: string): string => {
  const file = join(dir, name);
  writeFileSync(file, text);
  return pathToFileURL(file).href;
};

beforeAll(async () => {
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

/** What sticks out: of the page, of its box, of the picture. What scrolls in a box of its own may. */
const OVERFLOWING = `(() => {
  const wide = document.documentElement.clientWidth;
  const told = [];
  if (document.documentElement.scrollWidth > wide) told.push('the page is ' + document.documentElement.scrollWidth + ' wide');
  for (const each of document.querySelectorAll('main *')) {
    if (each.closest('.scroll') || each.closest('svg') || each.getClientRects().length === 0) continue;
    const { left, right } = each.getBoundingClientRect();
    if (left < -0.5 || right > wide + 0.5) told.push(each.tagName + ' ' + each.textContent.slice(0, 40) + ' ' + left + ' to ' + right);
  }
  for (const svg of document.querySelectorAll('svg')) {
    if (svg.getClientRects().length === 0) continue;
    const { width, height } = svg.viewBox.baseVal;
    for (const each of svg.querySelectorAll('text, rect, path')) {
      const box = each.getBBox();
      if (box.x < -1 || box.y < -1 || box.x + box.width > width + 1 || box.y + box.height > height + 1)
        told.push('in the picture: ' + each.tagName + ' ' + each.textContent.slice(0, 40) + ' at ' + JSON.stringify([box.x, box.y, box.width, box.height]));
      const bar = each.matches('.in') && each.parentElement.querySelector('rect').getBBox();
      if (bar && box.width > bar.width) told.push('wider than its step: ' + each.textContent);
    }
  }
  return told;
})()`;

/** Texts of the picture that lie on one another. */
const COLLIDING = `(() => {
  const told = [];
  for (const svg of document.querySelectorAll('svg')) {
    if (svg.getClientRects().length === 0) continue;
    const all = [...svg.querySelectorAll('text, .sign')].filter((each) => !each.parentElement.matches('.sign'));
    const texts = all.map((each) => ({ text: each.textContent, box: each.getBBox() }));
    texts.forEach((a, index) => {
      for (const b of texts.slice(index + 1)) {
        const over = Math.min(a.box.x + a.box.width, b.box.x + b.box.width) - Math.max(a.box.x, b.box.x);
        const deep = Math.min(a.box.y + a.box.height, b.box.y + b.box.height) - Math.max(a.box.y, b.box.y);
        if (over > 1 && deep > 4) told.push(a.text + ' on ' + b.text);
      }
    });
  }
  return told;
})()`;

describe('kubectl shadow report', () => {
  let server: Server;
  let kubeconfig: string;
  beforeAll(async () => {
    const items = [SAMPLES.stopped, SAMPLES.refused].map((each) => ({ ...each, apiVersion: API_VERSION, kind: KIND }));
    // What an API server says to a list; nothing else may be asked.
    server = createServer(({ method, url }, response) => {
      const asked = method === 'GET' && url?.startsWith(`/apis/${API_VERSION}/namespaces/shop/${PLURAL}`);
      response.writeHead(asked ? 200 : 403, { 'content-type': 'application/json' });
      response.end(JSON.stringify(asked ? { kind: 'List', metadata: {}, items } : { kind: 'Status', code: 403 }));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    kubeconfig = join(dir, 'kubeconfig');
    const config = {
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'c', users: [{ name: 'u', user: {} }] },
      clusters: [{ name: 'k', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } }],
      contexts: [{ name: 'c', context: { cluster: 'k', user: 'u', namespace: 'shop' } }],
    };
    writeFileSync(kubeconfig, JSON.stringify(config));
  });
  afterAll(() => void server.close());
  const typed = (...args: string[]) => runPlugin(['report', ...args], { kubeconfig });

  test('writes a page that is the page, a picture, and the numbers', async () => {
    const file = join(dir, 'typed.html');
    const { exit, stdout, stderr } = await typed('pod/consumer-0', '--file', file);
    expect({ exit, stdout, stderr }).toEqual({ exit: 0, stdout: '', stderr: `${file} written\n` });
    await tab.open(pathToFileURL(file).href);
    expect(await tab.value('document.title')).toBe('consumer-0 moved from worker-a to worker-b (completed)');
    const json = await typed('consumer-0-aaaaa', '-o', 'json');
    expect(JSON.parse(json.stdout)).toMatchObject({ kind: 'MigrationReport', migration: { name: 'consumer-0-aaaaa' } });
    expect((await typed('consumer-0-aaaaa', '-o', 'svg')).stdout).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
  });
  test.each([
    [['nope'], 1, 'SHADOW_E_MIGRATION_NOT_FOUND'],
    [['consumer-0-rrrrr', '-o', 'svg'], 2, 'SHADOW_E_USAGE'],
    [['consumer-0-aaaaa', '-o', 'pdf'], 2, 'SHADOW_E_USAGE'],
    [['sts/consumer'], 2, 'SHADOW_E_USAGE'],
    [['consumer-0-aaaaa', '--file', '/nowhere/at/all.html'], 1, 'SHADOW_E_FILE'],
    [['consumer-0-aaaaa', '-n', 'other'], 1, 'SHADOW_E_FORBIDDEN'],
  ])('%s: exit %i, %s', async (args, expected, code) => {
    const { exit, stdout, stderr } = await typed(...args);
    expect({ exit, stdout }).toEqual({ exit: expected, stdout: '' });
    expect(stderr).toContain(`[${code}]`);
  });
});

describe.each(all)('%s', (name, migration) => {
  test('has the numbers that its JSON has, says nothing and fetches nothing', async () => {
    const url = written(`${name}.html`, page(of(migration)));
    await tab.show(1280, 'light');
    await tab.open(url);
    const json = JSON.parse(JSON.stringify(of(migration)));
    const shown = await tab.value<{ path: string; value: string; text: string }[]>(
      `[...document.querySelectorAll('data')].map((each) => ({ path: each.dataset.path, value: each.value, text: each.textContent }))`,
    );
    expect(shown.length).toBeGreaterThan(0);
    for (const { path, value, text } of shown) {
      // biome-ignore lint/suspicious/noExplicitAny: any document
      const expected = path.split('.').reduce((each: any, key) => each[key], json) as number;
      expect(Number(value), path).toBe(expected);
      const ways = [
        String,
        seconds,
        bytes,
        (share: number) => `${Math.round(share * 100)} %`,
        (ms: number) => (ms / 1000).toFixed(2),
      ];
      expect(
        ways.map((way) => way(expected)),
        path,
      ).toContain(text);
    }
    expect(tab.fetched).toEqual([url]);
    expect(tab.said).toEqual([]);
    expect(await tab.value('document.scripts.length + document.images.length')).toBe(0);
    expect(await tab.value('typeof globalThis.pwned')).toBe('undefined');
  });

  test('fits, at any width, in any light, on paper', async () => {
    for (const [width, scheme] of [
      [1280, 'light'],
      [1280, 'dark'],
      [760, 'light'],
      [400, 'light'],
      [400, 'dark'],
      [320, 'light'],
    ] as const) {
      await tab.show(width, scheme);
      expect(await tab.value(OVERFLOWING), `${width} ${scheme}`).toEqual([]);
      expect(await tab.value(COLLIDING), `${width} ${scheme}`).toEqual([]);
      await look(`${name}-${width}-${scheme}`);
    }
    await tab.show(760, 'dark', 'print');
    expect(await tab.value(OVERFLOWING)).toEqual([]);
    await look(`${name}-print`);
    // Ink is dear, and what is folded away can't be opened on paper.
    expect(await tab.value('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)');
    expect(
      await tab.value(`[...document.querySelectorAll('details table')].every((each) => each.checkVisibility())`),
    ).toBe(true);
    await tab.show(1280, 'dark');
    expect(await tab.value('getComputedStyle(document.body).backgroundColor')).not.toBe('rgb(255, 255, 255)');
  });

  test('can be heard: one picture with a name and words, tables with captions and heads', async () => {
    await tab.show(1280, 'light');
    const { nodes } = await tab.send<{
      nodes: { role?: { value: string }; name?: { value: string }; ignored: boolean }[];
    }>('Accessibility.getFullAXTree');
    const images = nodes.filter(({ ignored, role }) => !ignored && (role?.value === 'image' || role?.value === 'img'));
    expect(images).toHaveLength(migration.status?.handoffs?.length ? 1 : 0);
    for (const { name: told } of images) expect(told?.value).toMatch(/^Timeline of .*by \w+: \w+ after \d/s);
    expect(
      await tab.value(
        `[...document.querySelectorAll('table')].filter((each) => !each.caption || !each.querySelector('th[scope]')).length`,
      ),
    ).toBe(0);
    expect(await tab.value('document.documentElement.lang')).toBe('en');
    expect(await tab.value(`[...document.querySelectorAll('h1')].length`)).toBe(1);
  });
});

describe.each(all.filter(([, { status }]) => status?.handoffs !== undefined))(
  'the picture of %s',
  (name, migration) => {
    test('is a file of its own', async () => {
      const url = written(`${name}.svg`, timeline(of(migration)).text);
      await tab.show(1060, 'light');
      await tab.open(url);
      expect(await tab.value('document.documentElement.tagName')).toBe('svg');
      expect(await tab.value(`document.querySelectorAll('parsererror').length`)).toBe(0);
      const fill = `getComputedStyle(document.querySelector('rect')).fill`;
      expect(await tab.value(fill)).toBe('rgb(255, 255, 255)');
      await look(`${name}-svg`);
      await tab.show(1060, 'dark');
      expect(await tab.value(fill)).not.toBe('rgb(255, 255, 255)');
      expect(tab.fetched).toEqual([url]);
      expect(tab.said).toEqual([]);
    });
  },
);
