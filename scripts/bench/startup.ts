/** npm run bench:startup: how long `kubectl shadow --help` takes, of the executable as it is released and of the sources. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { asShadowError, ShadowError } from '../../webhook/api/errors.ts';
import { bundlePlugin, makeExecutable } from '../release/executable.ts';
import { ownPlatform, REPOSITORY } from '../release/platforms.ts';
import { median } from './statistics.ts';

const runsOf = (args: string[]): number => {
  let text: string;
  try {
    text = parseArgs({ args, options: { runs: { type: 'string', default: '21' } } }).values.runs;
  } catch (error) {
    throw new ShadowError('SHADOW_E_USAGE', (error as Error).message);
  }
  if (!/^[1-9]\d{0,3}$/.test(text))
    throw new ShadowError('SHADOW_E_USAGE', `--runs ${text}: not a number from 1 to 9999`);
  return Number(text);
};

/** Milliseconds from the call to the end of the process. */
const timed = ([program = '', ...args]: readonly string[]): number => {
  const from = performance.now();
  const { status, stderr } = spawnSync(program, [...args, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const took = performance.now() - from;
  if (status !== 0) throw new Error(`${program}: exit ${status}: ${stderr}`);
  return took;
};

/** In turn: what else the machine does meets all alike. The first run of each brings its files into memory, and does not count. */
const measured = (ways: Readonly<Record<string, readonly string[]>>, runs: number): Record<string, number[]> => {
  const taken = Object.fromEntries(Object.keys(ways).map((name): [string, number[]] => [name, []]));
  for (let run = 0; run <= runs; run++)
    for (const [name, argv] of Object.entries(ways)) {
      const took = timed(argv);
      if (run > 0) taken[name]!.push(took);
    }
  return taken;
};

/** Path of the executable for this machine, made in `dir`. */
const build = async (dir: string): Promise<string> => {
  const platform = ownPlatform();
  if (!platform) throw new ShadowError('SHADOW_E_HOST', 'nothing is released for this machine');
  const [bundle, work] = [join(dir, 'plugin.cjs'), join(dir, 'work')];
  mkdirSync(work);
  await bundlePlugin(bundle);
  return makeExecutable({ platform, bundle, work, say: (line) => console.error(line) });
};

const dir = mkdtempSync(join(tmpdir(), 'startup-'));
try {
  const runs = runsOf(process.argv.slice(2));
  const ways = {
    'the executable': [await build(dir)],
    'node plugin/main.ts': [process.execPath, join(REPOSITORY, 'plugin/main.ts')],
    'node -e 0, for comparison': [process.execPath, '-e', '0', '--'],
  };
  console.log(
    `kubectl shadow --help, milliseconds, ${runs} runs each, on ${cpus().length} cores of ${cpus()[0]?.model}`,
  );
  for (const [name, all] of Object.entries(measured(ways, runs))) {
    const [middle, worst] = [median(all), Math.max(...all)].map((ms) => ms.toFixed(0).padStart(5));
    console.log(`${name.padEnd(28)} median ${middle}   worst ${worst}`);
  }
} catch (error) {
  const { message, code, exit } = asShadowError(error);
  console.error(`error: ${message} [${code}]`);
  process.exitCode = exit;
} finally {
  rmSync(dir, { recursive: true, force: true });
}
