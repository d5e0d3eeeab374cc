/** What is shipped for Prometheus and Grafana names metrics that exist. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '../../..');
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8');

/** As the code declares them. */
const declared = (): Set<string> => {
  const sources = globSync('webhook/**/*.ts', { cwd: root }).map(textOf).join('\n');
  const full = [...sources.matchAll(/name: '(shadow_\w+)'/g)].map(([, name]) => name!);
  const gauges = [...sources.matchAll(/\bgauge\('(\w+)'/g)].map(([, name]) => `shadow_sidecar_${name}`);
  const counters = [...sources.matchAll(/\bcounter\('(\w+)'/g)].map(([, name]) => `shadow_sidecar_${name}_total`);
  return new Set([...full, ...gauges, ...counters]);
};

const namedIn = (text: string): string[] =>
  [...new Set(text.match(/\bshadow_[a-z_]+/g))].map((name) => name.replace(/_(bucket|sum|count)$/, ''));

test.each(['manifests/monitoring/alerts.yaml', 'manifests/monitoring/dashboard.json'])('%s', (path) => {
  const known = declared();
  const names = namedIn(textOf(path));
  expect(names.length).toBeGreaterThan(3);
  expect(names.filter((name) => !known.has(name))).toEqual([]);
});

test('every metric that is declared is in the operations guide', () => {
  const guide = textOf('docs/operations.md');
  const missing = [...declared()].filter(
    (name) => !guide.includes(name) && !guide.includes(name.replace('shadow_sidecar', '')),
  );
  expect(missing).toEqual([]);
});

test('every alert is explained', () => {
  const guide = textOf('docs/operations.md');
  const { spec } = parse(textOf('manifests/monitoring/alerts.yaml')) as {
    spec: { groups: { rules: { alert: string }[] }[] };
  };
  for (const { alert } of spec.groups.flatMap(({ rules }) => rules)) expect(guide).toContain(`**${alert}**`);
});
