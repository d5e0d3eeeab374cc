import { existsSync, readFileSync } from 'node:fs';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { asShadowError, ShadowError } from '../../webhook/api/errors.ts';
import { isNodeName, KUBECONFIG, NODES } from './layout.ts';
import { down, ensureUp, powerCut, powerOn } from './lib.ts';
import { SERIES, type Series } from './rabbitmq.ts';
import { printStatus } from './status.ts';

const needRoot = (): void => {
  if (process.getuid?.() !== 0) throw new ShadowError('SHADOW_E_ROOT');
};

/** One plain line a step, with the seconds since the start: the same on a terminal and in a log. */
const clock = (): ((line: string) => void) => {
  const start = performance.now();
  return (line) => console.log(`${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${line}`);
};

const up = async (install: boolean, rabbitmq: Series | undefined): Promise<void> => {
  needRoot();
  const say = clock();
  await ensureUp({ log: say, install, rabbitmq });
  say(`up; export KUBECONFIG=${KUBECONFIG}`);
};

const takeDown = async (): Promise<void> => {
  needRoot();
  const removed = await down(console.log);
  console.log(removed.length === 0 ? 'nothing is up' : `removed:\n${removed.map((line) => `  ${line}`).join('\n')}`);
};

const power = async (to: string, node: string): Promise<void> => {
  needRoot();
  if (!isNodeName(node)) throw new ShadowError('SHADOW_E_NODE_NOT_FOUND', node);
  await (to === 'on' ? powerOn(node) : powerCut(node));
  console.log(`${node} is ${to}`);
};

const kubeconfig = (raw: boolean): void => {
  if (!existsSync(KUBECONFIG))
    throw new ShadowError('SHADOW_E_HOST', 'the playground is not up (npm run playground -- up)');
  console.log(raw ? readFileSync(KUBECONFIG, 'utf8') : KUBECONFIG);
};

try {
  await yargs(hideBin(process.argv))
    .scriptName('playground')
    .usage('$0 <command>\n\nA real two-node Kubernetes on this one machine: no Docker, no virtual machine.')
    .command(
      'up',
      'build what is missing, start the cluster and install kubectl-shadow',
      (args) =>
        args
          .option('install', { type: 'boolean', default: true, describe: '--no-install: the bare cluster' })
          // type: it would be a number else, and none of the choices
          .option('rabbitmq', {
            type: 'string',
            choices: SERIES,
            describe: "its broker: 3, the machine's package, or 4, a newer one",
          }),
      (args) => up(args.install, args.rabbitmq),
    )
    .command('down', 'end it and leave nothing behind', {}, takeDown)
    .command(
      'power <to> <node>',
      "cut a node's power, or give it back: it boots from its own disk",
      (args) =>
        args
          .positional('to', { choices: ['on', 'off'] as const, demandOption: true })
          .positional('node', { choices: NODES, demandOption: true }),
      (args) => power(args.to, args.node),
    )
    .command('status', 'nodes, components, versions and memory', {}, printStatus)
    .command(
      'kubeconfig',
      'print the path of its kubeconfig',
      (args) => args.option('raw', { type: 'boolean', default: false, describe: 'print the content' }),
      (args) => kubeconfig(args.raw),
    )
    .demandCommand(1, 'name a command')
    .strict()
    .version(false)
    .fail((message, error) => {
      throw error ?? new ShadowError('SHADOW_E_USAGE', message);
    })
    .parseAsync();
} catch (thrown) {
  const error = asShadowError(thrown);
  const hint = error.code === 'SHADOW_E_USAGE' ? 'see npm run playground -- --help' : error.hint;
  console.error(`${error.code}: ${error.message}\n${hint}`);
  // Not exitCode: other waits of a failed `up` may still be going on.
  process.exit(error.exit);
}
