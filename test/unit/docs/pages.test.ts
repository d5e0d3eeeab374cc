/** What the pages say that can be looked up: places they lead to, commands, versions. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { definition } from '../../../plugin/completion/definition.ts';
import { VERSION } from '../../../scripts/playground/layout.ts';
import { STEPS } from '../../../webhook/api/migration.ts';
import { LEAST } from '../../../webhook/controller/preflight/node.ts';
import { CLIENT } from '../../clients/clients.ts';

const REPOSITORY = join(import.meta.dirname, '../../..');
const textOf = (page: string): string => readFileSync(join(REPOSITORY, page), 'utf8');
const PAGES = [
  ...['README.md', 'CONTRIBUTING.md'],
  ...readdirSync(join(REPOSITORY, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];
const prose = (text: string): string => text.replace(/^```[\s\S]*?^```/gm, '');

/** As GitHub makes them: lower case, no punctuation, dashes for spaces. */
const anchors = (page: string): Set<string> =>
  new Set(
    [...prose(textOf(page)).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );

describe('links', () => {
  test.each(PAGES)('%s: each leads somewhere', (page) => {
    const targets = [...prose(textOf(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);
    const dead = targets
      .filter((target) => !/^https?:/.test(target))
      .filter((target) => {
        const [file = '', anchor] = target.split('#');
        const path = file === '' ? page : join(dirname(page), file);
        if (!existsSync(join(REPOSITORY, path))) return true;
        return anchor !== undefined && path.endsWith('.md') && !anchors(path).has(anchor);
      });
    expect(dead).toEqual([]);
  });
});

const shell = (text: string): string[] =>
  [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block]) => block!.split('\n'));

describe('commands', () => {
  const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
  const lines = PAGES.flatMap((page) => shell(textOf(page)));

  test('each npm run is a script of ours', () => {
    const named = lines.flatMap((line) => [...line.matchAll(/npm run (?:-s )?([\w:-]+)/g)].map(([, name]) => name!));
    expect(named).toContain('image');
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });

  test('each kubectl shadow command is one, with flags it has', () => {
    const { commands, flags } = definition();
    const told = lines.flatMap((line) => [...line.replace(/\s#\s.*/, '').matchAll(/kubectl shadow ([a-z]+)([^|]*)/g)]);
    expect(told.map(([, name]) => name)).toContain('migrate');
    const wrong = told.flatMap(([whole, name, rest = '']) => {
      const command = commands.find((each) => each.name === name);
      if (command === undefined) return [whole];
      const known = new Set([...command.flags, ...flags].map((flag) => flag.name));
      return [...rest.matchAll(/ --([a-z-]+)/g)].filter(([, flag]) => !known.has(flag!)).map(([flag]) => whole + flag);
    });
    expect(wrong).toEqual([]);
  });
});

describe('docs/quickstart.md: what it needs', () => {
  const rows = new Map(
    [...textOf('docs/quickstart.md').matchAll(/^\| ([^|]+) \| ([^|]*) \| ([^|]*) \|/gm)].map(
      ([, what, supported, tested]) => [what!, { supported: supported!, tested: tested! }],
    ),
  );

  test.each([
    ['Kubernetes', VERSION.kubernetes],
    ['containerd', VERSION.containerd],
    ['runc', VERSION.runc],
    ['CRIU', VERSION.criu],
  ])('%s is tested in the version that the playground has', (what, version) => {
    expect(rows.get(what)?.tested).toBe(version);
  });

  test('containerd and runc are supported from where preflight takes them, and each tested client is named', () => {
    expect(rows.get('containerd')?.supported).toContain(LEAST.containerd);
    expect(rows.get('runc')?.supported).toContain(LEAST.runc);
    const told = rows.get('clients in the app')?.tested;
    for (const { title } of Object.values(CLIENT)) expect(told).toContain(title.replace(/^com\.\w+:| \(.*/g, ''));
  });
});

test('docs/how-it-works.md says of each step before the commit what happens when it fails, and of those after it', () => {
  const table = [...textOf('docs/how-it-works.md').matchAll(/^\| ([^|]+) \|/gm)].map(([, step]) => step!).join(', ');
  const steps = STEPS.filter((step) => !['Done', 'Aborting', 'Aborted'].includes(step));
  expect(steps.filter((step) => !table.includes(step))).toEqual([]);
});
