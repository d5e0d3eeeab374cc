/** npm run bench:startup: how long `kubectl shadow --help` takes, of the executable as it is released and of the sources. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundlePlugin, makeExecutable } from '../release/executable.ts';
import { ownPlatform, REPOSITORY } from '../release/platforms.ts';
import { median } from './statistics.ts';

const { values } = parseArgs({ options: { runs: { type: 'string', default: '21' } } });
const runs = Number(values.runs);
if (!/^\d+$/.test(values.runs) || runs < 1) throw new Error(`--runs ${values.runs}: not a whole number from 1`);
const platform = ownPlatform();
if (!platform) throw new Error('nothing is released for this machine');

/** Milliseconds from the call to the end of the process. */
const timed = ([program = '', ...args]: readonly string[]): number => {
  const from = performance.now();
  const { status, stderr } = spawnSync(program, [...args, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const took = performance.now() - from;
  if (status !== 0) throw new Error(`${program}: exit ${status}: ${stderr}`);
  return took;
};

const dir = mkdtempSync(join(tmpdir(), 'startup-'));
try {
  const bundle = join(dir, 'plugin.cjs');
  const work = join(dir, 'work');
  mkdirSync(work);
  await bundlePlugin(bundle);
  const executable = await makeExecutable({ platform, bundle, work, say: (line) => console.error(line) });
  const ways: Readonly<Record<string, readonly string[]>> = {
    'the executable': [executable],
    'node plugin/main.ts': [process.execPath, join(REPOSITORY, 'plugin/main.ts')],
    'node -e 0, for comparison': [process.execPath, '-e', '0', '--'],
  };
  const taken = Object.fromEntries(Object.keys(ways).map((name): [string, number[]] => [name, []]));
  // The first of each brings its files into memory. From then on in turn: what else the machine does meets all alike.
  for (let run = 0; run <= runs; run++)
    for (const [name, argv] of Object.entries(ways)) {
      const took = timed(argv);
      if (run > 0) taken[name]!.push(took);
    }
  console.log(
    `kubectl shadow --help, milliseconds, ${runs} runs each, on ${cpus().length} cores of ${cpus()[0]?.model}`,
  );
  for (const [name, all] of Object.entries(taken)) {
    const [middle, worst] = [median(all), Math.max(...all)].map((ms) => ms.toFixed(0).padStart(5));
    console.log(`${name.padEnd(28)} median ${middle}   worst ${worst}`);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
