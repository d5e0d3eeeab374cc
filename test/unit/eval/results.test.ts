import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { go } from '../../../scripts/eval/go.ts';
import { missing, orderOf } from '../../../scripts/eval/plan.ts';
import { type Outcome, Results, type RunKey } from '../../../scripts/eval/results.ts';
import { measured, unsupported } from './sample.ts';

let dir = '';
let file = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'eval-'));
  file = join(dir, 'out/results.jsonl');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const stamp = { build: 'b', machine: 'm' };
const quiet = () => undefined;
const outcomeOf = ({ config, rate, run }: RunKey): Outcome => measured(config, rate, run);
const configs = ['Sequential', 'ShadowPodSwap', 'StopAndCopy'] as const;
const order = orderOf({ app: 'node', workMs: 10, configs, rates: [10, 120], runs: 2, seed: 1 });

describe('the file of results', () => {
  test('gives back what was appended, one line each', () => {
    const results = new Results(file);
    const both = [measured('StopAndCopy', 10, 1), unsupported('Sequential')];
    for (const each of both) results.append(each);
    expect(new Results(file).all).toEqual(both);
    expect(readFileSync(file, 'utf8').split('\n')).toHaveLength(3);
  });

  test('wherever its last line is torn, the others stand and the next is whole', () => {
    const first = new Results(file);
    first.append(measured('StopAndCopy', 10, 1));
    const one = readFileSync(file).length;
    first.append(measured('StopAndCopy', 10, 2, { machine: 'Zürich' }));
    const bytes = readFileSync(file);
    for (let length = one; length < bytes.length; length += 37) {
      writeFileSync(file, bytes);
      truncateSync(file, length);
      const torn = new Results(file);
      expect(torn.all.map(({ run }) => run)).toEqual([1]);
      torn.append(measured('StopAndCopy', 10, 3));
      expect(new Results(file).all.map(({ run }) => run)).toEqual([1, 3]);
    }
  });

  test('a line that is broken elsewhere is named', () => {
    new Results(file).append(measured('StopAndCopy', 10, 1));
    appendFileSync(file, 'nonsense\n');
    expect(() => new Results(file)).toThrow(`${file}, line 2 is no result`);
  });
});

/** Makes runs for ever, and tells of each that it begins. */
const ENDLESS = `
import { go } from '${join(import.meta.dirname, '../../../scripts/eval/go.ts')}';
import { Results } from '${join(import.meta.dirname, '../../../scripts/eval/results.ts')}';
const keys = JSON.parse(process.argv[2]);
const outcome = JSON.parse(process.argv[3]);
let done = 0;
await go({
  keys, results: new Results(process.argv[1]), stamp: { build: 'b', machine: 'm' }, over: () => false, log: () => undefined,
  runOnce: async () => {
    if (done === 3) { console.log('begun'); await new Promise((resolve) => setTimeout(resolve, 60000)); }
    done += 1;
    return outcome;
  },
});`;

describe('a go', () => {
  test('that is killed in the midst of a run is taken up by the next one', async () => {
    const outcome = measured('StopAndCopy', 10, 1);
    const { app, workMs, config, rate, run, ...rest } = outcome;
    const args = ['--input-type=module-typescript', '-e', ENDLESS, file, JSON.stringify(order), JSON.stringify(rest)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const results = new Results(file);
    expect(results.all).toHaveLength(3);
    const left = missing(order, results.all);
    expect(left).toEqual(order.slice(3));
    expect(
      await go({ keys: left, results, runOnce: async (key) => outcomeOf(key), stamp, over: () => false, log: quiet }),
    ).toBe(0);
    expect(missing(order, new Results(file).all)).toEqual([]);
    expect(new Results(file).all).toHaveLength(order.length);
  });

  test('asks for what is refused once, and for all else', async () => {
    const results = new Results(file);
    const runOnce = async (key: RunKey): Promise<Outcome> =>
      key.config === 'Sequential' ? unsupported('Sequential') : outcomeOf(key);
    expect(await go({ keys: order, results, runOnce, stamp, over: () => false, log: quiet })).toBe(0);
    expect(results.all.filter(({ outcome }) => outcome === 'unsupported')).toHaveLength(1);
    expect(results.all.filter(({ outcome }) => outcome === 'measured')).toHaveLength(8);
  });

  test('goes on after a run that could not be made, and leaves it for another', async () => {
    const results = new Results(file);
    const said: string[] = [];
    let calls = 0;
    const runOnce = async (key: RunKey): Promise<Outcome> => {
      calls += 1;
      if (calls === 2) throw new Error('no broker');
      return outcomeOf(key);
    };
    const left = await go({ keys: order, results, runOnce, stamp, over: () => false, log: (line) => said.push(line) });
    expect(left).toBe(1);
    expect(said.filter((line) => line.includes('NOT MEASURED: no broker'))).toHaveLength(1);
    expect(missing(order, results.all)).toEqual([order[1]]);
  });

  test('ends where nothing can be made any more', async () => {
    let calls = 0;
    const runOnce = async (): Promise<Outcome> => {
      calls += 1;
      throw new Error('no cluster');
    };
    const results = new Results(file);
    await expect(go({ keys: order, results, runOnce, stamp, over: () => false, log: quiet })).rejects.toThrow(
      'in a row',
    );
    expect(calls).toBe(3);
    expect(results.all).toEqual([]);
  });

  test('begins nothing more when its time is over, and tells how much is left and how long that takes', async () => {
    const results = new Results(file);
    const said: string[] = [];
    const over = () => results.all.length === 5;
    const log = (line: string) => said.push(line);
    expect(await go({ keys: order, results, runOnce: async (key) => outcomeOf(key), stamp, over, log })).toBe(7);
    expect(said[4]).toMatch(/ s, downtime 0 ms, gap 20\d ms \(30 s; 7 to go, about 4 min\)$/);
  });
});
