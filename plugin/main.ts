#!/usr/bin/env node
/** kubectl shadow: reads the command line and hands over to one command, which alone is loaded. */
import { terminal } from './io.ts';

/** No top-level await: the released executable is one CommonJS file, which can have none. */
const main = async (words: readonly string[]): Promise<void> => {
  const io = terminal();
  try {
    // Asked at each Tab, by kubectl and shells and never by people: without yargs, which takes longer to load than this.
    if (words[0] === '__complete') {
      await (await import('./completion/complete.ts')).complete(words.slice(1), io);
      // The cluster may still owe an answer that came too late.
      process.stdout.write('', () => process.exit());
      return;
    }
    const [{ default: yargs }, { commandLine }] = await Promise.all([import('yargs'), import('./commands.ts')]);
    await commandLine(yargs([...words]), io).parseAsync();
  } catch (error) {
    const { printed, problemOf } = await import('./problems.ts');
    const problem = problemOf(error);
    io.err(printed(problem, process.env.SHADOW_DEBUG === '1'));
    process.exitCode = problem.exit;
  }
};

const words = process.argv.slice(2);
// As kubectl and its other plugins answer, when they are called with nothing.
void main(words.length === 0 ? ['--help'] : words);
