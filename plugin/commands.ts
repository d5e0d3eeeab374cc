/** Every command, its flags, and which module does it. That module is imported only when its command is called. */
import type { Argv } from 'yargs';
import type { Io } from './io.ts';
import { COMMON } from './options.ts';

const OBJECT_OUTPUTS = ['json', 'yaml', 'name'] as const;
const yes = (describe: string) => ({ type: 'boolean', default: true, describe }) as const;
const output = <const C extends readonly string[]>(choices: C) =>
  ({ alias: 'o', choices, describe: 'how the result is printed' }) as const;
const timeout = (given: string) => ({ type: 'string', default: given, describe: 'longest wait' }) as const;

const cluster = (cli: Argv, io: Io) =>
  cli.options(COMMON).command(
    'install',
    'install kubectl-shadow in the cluster, or bring it up to date',
    (command) =>
      command.options({
        image: { type: 'string', describe: 'image of the components' },
        wait: yes('wait until all is ready'),
        timeout: timeout('5m'),
        'dry-run': {
          choices: ['none', 'client', 'server'] as const,
          default: 'none' as const,
          describe: 'change nothing',
        },
        output: output(OBJECT_OUTPUTS),
      }),
    async (flags) => (await import('./install/install.ts')).install(flags, io),
  );

export const commands = (cli: Argv, io: Io) => cluster(cli, io);
