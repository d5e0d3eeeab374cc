/** npm run bench:sidecar: see options.ts. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRabbitMQ } from '../../test/broker/support/rabbitmq.ts';
import { bundle } from '../bundle.ts';
import { CEILING_MODES, type Ceiling, type CeilingMode, takeCeiling } from './ceiling.ts';
import { CEILING, digestOf, Kept } from './kept.ts';
import { markdown } from './markdown.ts';
import { type Options, parse, USAGE, UsageError } from './options.ts';
import { obtainParts, type Parts, VERSION } from './parts.ts';
import { plot } from './plot.ts';
import { busyShare } from './processes.ts';
import { type Report, verdictsOf } from './report.ts';
import { type Mode, type Row, type Sample, turned } from './rows.ts';
import { takeSample } from './sample.ts';

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const why = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** As in the image; set aside, since a build elsewhere empties dist/. */
const bundleSidecar = async (dir: string): Promise<string> => {
  const { failed } = await bundle();
  const broken = failed.find((line) => line.includes('webhook/sidecar'));
  if (broken !== undefined) throw new Error(`the sidecar does not bundle: ${broken}`);
  const to = join(dir, 'sidecar.cjs');
  copyFileSync(join(import.meta.dirname, '../../dist/sidecar.cjs'), to);
  return to;
};

interface Tools extends Parts {
  /** The sidecar's. */
  readonly bundle: string;
  /** Directory for all that is only of this run. */
  readonly scratch: string;
}

const attempt = async <T>(
  kept: Kept,
  into: T[],
  of: { run: number; row: string; mode: string },
  take: () => Promise<T>,
  tell: (taken: T) => string,
): Promise<void> => {
  const name = `run ${of.run + 1}, ${of.row}, ${of.mode}`;
  try {
    const taken = await take();
    into.push(taken);
    kept.save();
    say(`${name}: ${tell(taken)}`);
  } catch (error) {
    kept.failures.push({ ...of, error: why(error) });
    say(`${name}: NOT MEASURED: ${why(error)}`);
  }
};

const tellSample = ({ received, latency, middle }: Sample): string =>
  `${received.toFixed(0)} msg/s, median ${latency.median} µs, p99 ${latency.p99} µs${
    middle ? `, ${middle.cpuPerMillion.toFixed(2)} CPU s / 10⁶ msg, ${(middle.rss / 2 ** 20).toFixed(0)} MiB` : ''
  }`;

const tellCeiling = ({ bytes, busy }: Ceiling): string =>
  `${(bytes / 1e9).toFixed(2)} GB/s${busy === undefined ? '' : `, ${busy.toFixed(2)} cores busy`}`;

interface Round {
  readonly run: number;
  readonly row: Row;
  readonly modes: readonly Mode[];
}

/** Row by row, in each all modes one after the other: what is compared is measured close together. */
const roundsOf = ({ runs, rows, modes }: Options, kept: Kept): Round[] =>
  Array.from({ length: runs }, (_, run) => run)
    .flatMap((run) => rows.map((row) => ({ run, row, modes: turned<Mode>(modes, run) })))
    .map((round) => ({ ...round, modes: round.modes.filter((mode) => !kept.has(round.run, round.row.name, mode)) }))
    .filter((round) => round.modes.length > 0);

/** False: some are left for another go. */
const takeSamples = async (options: Options, tools: Tools, kept: Kept): Promise<boolean> => {
  const rounds = roundsOf(options, kept);
  if (rounds.length === 0) return true;
  if (kept.over) return false;
  say('starting RabbitMQ');
  const rabbitmq = await startRabbitMQ();
  try {
    const broker = { host: '127.0.0.1', port: rabbitmq.port };
    const how = { broker, ...tools, seconds: options.seconds };
    for (const { run, row, modes } of rounds) {
      if (kept.over) return false;
      for (const mode of modes) {
        const of = { run, row: row.name, mode };
        await attempt(kept, kept.samples, of, () => takeSample(run, row, mode, how), tellSample);
      }
    }
  } finally {
    await rabbitmq.stop();
  }
  return true;
};

const takeCeilings = async (options: Options, tools: Tools, kept: Kept): Promise<boolean> => {
  if (!options.ceiling) return true;
  const modes = CEILING_MODES.filter((mode) => options.modes.includes(mode === 'session' ? 'sidecar' : mode));
  for (let run = 0; run < options.runs; run += 1) {
    const left = turned<CeilingMode>(modes, run).filter((mode) => !kept.has(run, CEILING, mode));
    if (left.length > 0 && kept.over) return false;
    for (const mode of left) {
      const take = () => takeCeiling(run, mode, options.seconds, tools);
      await attempt(kept, kept.ceilings, { run, row: CEILING, mode }, take, tellCeiling);
    }
  }
  return true;
};

/** A cluster beside it costs a third of all that is measured. */
const BUSY = 0.15;

const warnIfBusy = async (): Promise<void> => {
  const share = await busyShare(2000);
  if (share > BUSY)
    say(`WARNING: the machine is busy with something else (${Math.round(share * 100)} %): figures will be off`);
};

/** undefined: the time was over before all was measured. */
const measure = async (options: Options): Promise<Report | undefined> => {
  const scratch = mkdtempSync(join(tmpdir(), 'shadow-bench-'));
  // However this process ends.
  process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
  const parts = await obtainParts(say);
  const tools: Tools = { ...parts, bundle: await bundleSidecar(scratch), scratch };
  const { node } = process.versions;
  const until = performance.now() + (options.within ?? Number.POSITIVE_INFINITY) * 1000;
  await warnIfBusy();
  const terms = { seconds: options.seconds, node, sidecar: digestOf(tools.bundle) };
  const kept = new Kept(options.resume, terms, until);
  const complete = (await takeCeilings(options, tools, kept)) && (await takeSamples(options, tools, kept));
  if (!complete) return undefined;
  const { samples, ceilings, failures } = kept;
  const [cpu] = cpus();
  return {
    made: new Date().toISOString(),
    machine: {
      ...{ cpu: cpu?.model.trim() ?? 'unknown', cores: cpus().length, kernel: release(), node },
      ...{ perfTest: VERSION.perfTest, toxiproxy: VERSION.toxiproxy },
    },
    ...{ runs: options.runs, seconds: options.seconds, samples, ceilings, failures },
  };
};

const publish = (report: Report, options: Options): void => {
  for (const { what, met, measured } of verdictsOf(report))
    if (met !== undefined) say(`${met ? 'met    ' : 'NOT MET'} ${what}: ${measured?.toPrecision(3)}`);
  if (options.json) process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  if (options.out === undefined) {
    if (!options.json) process.stdout.write(markdown(report));
    return;
  }
  mkdirSync(options.out, { recursive: true });
  writeFileSync(join(options.out, 'bench-sidecar.md'), markdown(report));
  if (report.samples.length > 0) writeFileSync(join(options.out, 'bench-sidecar.svg'), plot(report));
  say(`written: ${join(options.out, 'bench-sidecar.md')}`);
};

const main = async (): Promise<number> => {
  let options: Options | undefined;
  try {
    options = parse(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    say(`${error.message}\nsee --help`);
    return 2;
  }
  if (options === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  const report = await measure(options);
  if (!report) {
    say(`not all is measured yet: the same again, with --resume ${options.resume}, goes on`);
    return 3;
  }
  publish(report, options);
  return report.failures.length === 0 ? 0 : 1;
};

// What we started ends with us (processes.ts, and the broker's guard).
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => process.exit(128 + (signal === 'SIGINT' ? 2 : 15)));

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    say(why(error));
    process.exitCode = 1;
  },
);
