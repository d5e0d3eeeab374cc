import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { STRATEGIES, type Strategy } from '../../webhook/api/migration.ts';
import { brokerUrl, down, ensureUp, kubeconfigPath } from '../playground/lib.ts';
import { kubeFrom, reachable } from './kube.ts';
import { comparison, joined, type Proof, table } from './report.ts';
import { runScenario } from './scenario.ts';

const DEFAULT: Strategy = 'ShadowPodSwap';
const COMPARED: readonly Strategy[] = ['ShadowPodSwap', 'StopAndCopy'];

const options = await yargs(hideBin(process.argv))
  .scriptName('scripts/demo')
  .usage(
    '$0 [options]\n\nMoves a running RabbitMQ consumer to another node under load and back, and proves that nothing was lost.',
  )
  .option('rate', { type: 'number', default: 60, describe: 'messages a second' })
  .option('migrations', { type: 'number', default: 2, describe: 'how often the consumer moves; 2: there and back' })
  .option('strategy', { choices: STRATEGIES, default: DEFAULT, describe: 'how it moves' })
  .option('compare', {
    type: 'boolean',
    default: false,
    describe: `one run with ${COMPARED.join(', one with ')}, side by side`,
  })
  .option('keep', { type: 'boolean', default: false, describe: 'leave the example and the playground running' })
  .option('json', {
    type: 'boolean',
    default: false,
    describe: 'print the proof as one JSON object; progress on standard error',
  })
  .check(({ rate, migrations }) => {
    if (!(rate > 0)) throw new Error('--rate must be above 0');
    if (!Number.isInteger(migrations) || migrations < 1) throw new Error('--migrations must be a whole number from 1');
    return true;
  })
  .strict()
  .version(false)
  .parseAsync();

const log = (line: string): void => {
  (options.json ? process.stderr : process.stdout).write(`${line}\n`);
};

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => interrupt.abort(new Error(`stopped by ${signal}`)));

const wasUp = await reachable(kubeconfigPath());
let exit = 1;
try {
  if (!wasUp) log('Bringing up the playground: two nodes on this machine. The first time it builds what it needs.');
  await ensureUp({ log });
  const kubeconfig = kubeconfigPath();
  const proofs: Proof[] = [];
  for (const strategy of options.compare ? COMPARED : [options.strategy]) {
    proofs.push(
      await runScenario({
        kube: kubeFrom(kubeconfig),
        kubeconfig,
        brokerUrl: await brokerUrl(),
        rate: options.rate,
        migrations: options.migrations,
        strategy,
        keep: options.keep,
        output: options.json ? 'stderr' : 'inherit',
        log,
        signal: interrupt.signal,
      }),
    );
    if (interrupt.signal.aborted) break;
  }
  const proof = joined(proofs);
  const text = [...proofs.map(table), ...(options.compare ? [comparison(proofs)] : [])].join('\n\n');
  process.stdout.write(options.json ? `${JSON.stringify(proof)}\n` : `\n${text}\n`);
  exit = proof.ok ? 0 : 1;
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  log(`The demonstration failed: ${message}`);
  if (options.json) process.stdout.write(`${JSON.stringify({ ok: false, migrations: [], error: message })}\n`);
} finally {
  if (!wasUp && !options.keep) {
    log('Taking the playground down');
    await down();
  }
}
process.exit(exit);
