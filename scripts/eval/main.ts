/** npm run eval: see options.ts. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { connect } from 'amqplib';
import { kubeFrom, reachable } from '../demonstration/kube.ts';
import { pikaImage } from '../images/python.ts';
import { brokerSeries, brokerUrl, down, ensureUp, importEverywhere, kubeconfigPath } from '../playground/lib.ts';
import { go } from './go.ts';
import { type Options, parse, USAGE, UsageError } from './options.ts';
import { isOf, missing, orderOf, secondsLeft, spoken } from './plan.ts';
import { csv } from './report/csv.ts';
import { markdown, plotFile } from './report/markdown.ts';
import { gapPlot, phasePlot, totalPlot } from './report/plots.ts';
import { refusalOf, variantsOf } from './report/summary.ts';
import { type Result, Results, type RunKey } from './results.ts';
import { runOnce } from './run.ts';
import { PYTHON_IMAGE, remove } from './workload.ts';

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => interrupt.abort(new Error(`stopped by ${signal}`)));

const machine = (): string => {
  const [cpu] = cpus();
  return `${cpus().length} cores of ${cpu?.model.trim() ?? 'an unknown CPU'}, Linux ${release()}, RabbitMQ ${brokerSeries()}`;
};

const PROGRAMS = ['controller', 'webhook', 'sidecar', 'agent', 'setup', 'examples/ms2m-consumer'];

/** Of what is measured, as the playground has it now. */
const build = (): string => {
  const hash = createHash('sha256');
  for (const path of PROGRAMS.flatMap((name) => [`${name}.cjs`, `${name}.mjs`]))
    if (existsSync(join(import.meta.dirname, '../../dist', path)))
      hash.update(path).update(readFileSync(join(import.meta.dirname, '../../dist', path)));
  return hash.digest('hex').slice(0, 12);
};

const publish = (results: readonly Result[], out: string): void => {
  if (results.length === 0) return;
  const write = (name: string, text: string): void => writeFileSync(join(out, name), text);
  mkdirSync(out, { recursive: true });
  write('results.csv', csv(results));
  write('results.md', markdown(results));
  for (const variant of variantsOf(results)) {
    if (variant.configs.every((config) => refusalOf(variant, config) !== undefined)) continue;
    write(plotFile(variant, 'total'), totalPlot(variant));
    write(plotFile(variant, 'phases'), phasePlot(variant));
    write(plotFile(variant, 'gaps'), gapPlot(variant));
  }
  say(`written: ${join(out, 'results.md')}`);
};

const makeRuns = async (options: Options, keys: readonly RunKey[], results: Results): Promise<number> => {
  const until = performance.now() + (options.within ?? Number.POSITIVE_INFINITY) * 1000;
  const wasUp = await reachable(kubeconfigPath());
  if (!wasUp) say('Bringing up the playground: two nodes on this machine. The first time it builds what it needs.');
  await ensureUp({ log: say });
  if (options.app === 'python')
    await importEverywhere(await pikaImage(PYTHON_IMAGE, join(import.meta.dirname, 'apps/python/consumer.py')));
  const kube = kubeFrom(kubeconfigPath());
  const site = { kube, brokerUrl: brokerUrl(), log: say, signal: interrupt.signal };
  try {
    return await go({
      keys,
      results,
      runOnce: (key) => runOnce(site, key),
      stamp: { build: build(), machine: machine() },
      over: () => interrupt.signal.aborted || performance.now() > until,
      log: say,
    });
  } finally {
    const broker = await connect(brokerUrl());
    await remove(kube, await broker.createChannel());
    await broker.close();
    if (!wasUp) await down(say);
  }
};

/** A migration that failed in an earlier go has failed. */
const codeOf = (left: number, asked: readonly RunKey[], results: readonly Result[]): number => {
  const failed = results.some((result) => result.outcome === 'failed' && asked.some((key) => isOf(key, result)));
  if (failed) return 1;
  return left > 0 ? 3 : 0;
};

const measure = async (options: Options, results: Results): Promise<number> => {
  const all = orderOf(options);
  const keys = missing(all, results.all);
  const { configs, rates, runs } = options;
  say(
    `${all.length} runs: ${configs.length} configurations, ${rates.length} rates, ${runs} of each; seed ${options.seed}`,
  );
  say(`${all.length - keys.length} are done, ${keys.length} to go: about ${spoken(secondsLeft(keys, results.all))}`);
  say(`Results: ${options.out}`);
  if (keys.length === 0) {
    publish(results.all, options.out);
    return codeOf(0, all, results.all);
  }
  try {
    const left = await makeRuns(options, keys, results);
    if (left > 0) say(`${left} runs are left: the same again, with --resume --out ${options.out}, goes on`);
    return codeOf(left, all, results.all);
  } finally {
    publish(results.all, options.out);
  }
};

const main = async (): Promise<number> => {
  const options = parse(process.argv.slice(2));
  if (options === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  const file = join(options.out, 'results.jsonl');
  const results = new Results(file);
  if (options.reportOnly) {
    if (results.all.length === 0) throw new UsageError(`--report: there is nothing in ${file}`);
    publish(results.all, options.out);
    return 0;
  }
  if (results.all.length > 0 && !options.resume)
    throw new UsageError(`${file} has results: --resume goes on with what is missing, --out names another place`);
  return measure(options, results);
};

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    say(
      error instanceof UsageError
        ? `${error.message}\nsee --help`
        : error instanceof Error
          ? error.message
          : String(error),
    );
    process.exit(error instanceof UsageError ? 2 : 1);
  },
);
