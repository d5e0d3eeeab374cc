/** A Tab on a line `kubectl shadow …`, by the real kubectl, in the real cluster. */
import { delimiter, dirname } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PLUGIN } from '../../scripts/demonstration/migrate.ts';
import { until } from '../../scripts/demonstration/until.ts';
import { run } from '../../scripts/playground/run.ts';
import { kubectlProgram } from '../release/support/krew.ts';
import { type Bed, closeBed, deployApp, migrateAway, nodeOf, openBed, type Spec } from './support/bed.ts';

const SPEC: Spec = { topic: 'tabs', mode: 'sequential', prefetch: 10, declares: true };
let bed: Bed;
let kubectl: string;

beforeAll(async () => {
  kubectl = await kubectlProgram();
  bed = await openBed('shadow-test-tabs');
  await deployApp(bed, SPEC);
});
afterAll(() => closeBed(bed));

const tab = async (...words: string[]): Promise<string[]> => {
  const env = { KUBECONFIG: bed.kubeconfig, PATH: `${dirname(PLUGIN)}${delimiter}${process.env.PATH}` };
  return (await run([kubectl, '__complete', 'shadow', ...words], { env })).stdout.trimEnd().split('\n');
};

/** A busy machine may not answer within a Tab's time: then there is nothing but the directive. */
const offered = (...words: string[]): Promise<string[]> =>
  until(`kubectl shadow ${words.join(' ')} to be completed`, 60_000, async () => {
    const lines = await tab(...words);
    return lines.length > 1 && lines;
  });

it('offers pods with their nodes, nodes, namespaces and migrations', async () => {
  const home = await nodeOf(bed, 'tabs-0');
  expect(await offered('migrate', '-n', bed.namespace, '')).toEqual([`tabs-0\t${home}`, ':4']);
  expect(await offered('migrate', 'tabs-0', '--to', '')).toEqual(['node-1', 'node-2', ':4']);
  expect(await offered('list', '-n', 'shadow-test-t')).toEqual([bed.namespace, ':4']);

  await migrateAway(bed, 'tabs-0');
  expect(await offered('status', '-n', bed.namespace, 'pod/')).toEqual(['pod/tabs-0', ':4']);
  expect(await offered('abort', '-n', bed.namespace, '')).toEqual([
    expect.stringMatching(/^\S+\ttabs-0, Completed$/),
    ':4',
  ]);
});
