#!/usr/bin/env node
/** kubectl shadow: reads the command line and hands over to one command, which alone is loaded. */
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { commands } from './commands.ts';
import { terminal } from './io.ts';
import { usage } from './options.ts';

const io = terminal();
const cli = commands(yargs(hideBin(process.argv)), io)
  .scriptName('kubectl shadow')
  .alias('h', 'help')
  .version(false)
  .strict()
  .demandCommand(1, 'a command is missing')
  .recommendCommands()
  .showHelpOnFail(false)
  .exitProcess(false)
  .wrap(null)
  .fail((message, error) => {
    throw error ?? usage(message);
  });

try {
  await cli.parseAsync();
} catch (error) {
  const { printed, problemOf } = await import('./problems.ts');
  const problem = problemOf(error);
  io.err(printed(problem, process.env.SHADOW_DEBUG === '1'));
  process.exitCode = problem.exit;
}
