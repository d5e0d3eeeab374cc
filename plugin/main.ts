#!/usr/bin/env node
/** kubectl shadow: reads the command line and hands over to one command, which alone is loaded. */
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { commandLine } from './commands.ts';
import { terminal } from './io.ts';

const io = terminal();
try {
  await commandLine(yargs(hideBin(process.argv)), io).parseAsync();
} catch (error) {
  const { printed, problemOf } = await import('./problems.ts');
  const problem = problemOf(error);
  io.err(printed(problem, process.env.SHADOW_DEBUG === '1'));
  process.exitCode = problem.exit;
}
