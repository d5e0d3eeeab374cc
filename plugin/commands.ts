/** Every command, its flags, and which module does it. That module is imported only when its command is called. */
import type { Argv } from 'yargs';
import { DRIVERS, ON_DIVERGENCE, STRATEGIES } from '../webhook/api/migration.ts';
import type { Io } from './io.ts';
import { COMMON, usage } from './options.ts';

const OBJECT_OUTPUTS = ['json', 'yaml', 'name'] as const;
const TABLE_OUTPUTS = ['json', 'yaml', 'wide', 'name'] as const;

const flag = <const D extends boolean>(given: D, describe: string) =>
  ({ type: 'boolean', default: given, describe }) as const;
const output = <const C extends readonly string[]>(choices: C) =>
  ({ alias: 'o', choices, describe: 'how the result is printed' }) as const;
const timeout = (given: string) =>
  ({ type: 'string', default: given, requiresArg: true, describe: 'longest wait (exit code 124 after it)' }) as const;
const all = { alias: 'A', type: 'boolean', default: false, describe: 'all namespaces' } as const;

/** A command that returns a number says its exit code. */
const ends = async (running: Promise<unknown>): Promise<void> => {
  const code = await running;
  if (typeof code === 'number') process.exitCode = code;
};

const shared = (cli: Argv) => cli.options(COMMON);
type Shared = ReturnType<typeof shared>;

const installation = (cli: Shared, io: Io) =>
  cli
    .command(
      'install',
      'install kubectl-shadow in the cluster, or bring it up to date',
      (command) =>
        command.options({
          image: { type: 'string', requiresArg: true, describe: 'image of the components' },
          'node-setup': flag(true, 'bring CRIU and the runtime handler to the nodes (docs/install.md)'),
          wait: flag(true, 'wait until all is ready'),
          timeout: timeout('5m'),
          'dry-run': {
            choices: ['none', 'client', 'server'] as const,
            default: 'none' as const,
            describe: 'change nothing',
          },
          output: output(OBJECT_OUTPUTS),
        }),
      async (flags) => ends((await import('./install/install.ts')).install(flags, io)),
    )
    .command(
      'uninstall',
      'remove kubectl-shadow from the cluster',
      (command) =>
        command.options({
          yes: { ...flag(false, 'do not ask'), alias: 'y' },
          force: flag(false, 'even while migrations run or injected pods remain'),
          'node-cleanup': flag(true, 'take CRIU and the runtime handler from the nodes'),
          timeout: timeout('3m'),
        }),
      async (flags) => ends((await import('./install/uninstall.ts')).uninstall(flags, io)),
    );

const migrations = (cli: Shared, io: Io) =>
  cli
    .command(
      'migrate <pod>',
      'move a running pod to another node',
      (command) =>
        command.positional('pod', { type: 'string', demandOption: true, describe: 'NAME or pod/NAME' }).options({
          to: { type: 'string', requiresArg: true, describe: 'target node (default: the controller chooses)' },
          strategy: { choices: STRATEGIES, describe: 'how it is moved (default: Auto)' },
          driver: { choices: DRIVERS, describe: 'who makes the checkpoint (default: runc)' },
          'on-divergence': {
            choices: ON_DIVERGENCE,
            describe: "when the copy's app does otherwise than the source's (default: Abort)",
          },
          wait: flag(true, 'wait for the end, and report'),
          timeout: timeout('5m'),
          output: output(OBJECT_OUTPUTS),
        }),
      async (flags) => ends((await import('./migration/migrate.ts')).migrate(flags, io)),
    )
    .command(
      'status [name]',
      'show a migration in detail',
      (command) =>
        command
          .positional('name', {
            type: 'string',
            describe: 'NAME of a migration, or pod/NAME for its newest (default: the newest)',
          })
          .options({ output: output(TABLE_OUTPUTS) }),
      async (flags) => ends((await import('./migration/list.ts')).status(flags, io)),
    )
    .command(
      ['list', 'ls'],
      'list migrations',
      (command) => command.options({ 'all-namespaces': all, output: output(TABLE_OUTPUTS) }),
      async (flags) => ends((await import('./migration/list.ts')).list(flags, io)),
    )
    .command(
      'abort <name>',
      'abort a migration that is not committed',
      (command) =>
        command
          .positional('name', { type: 'string', demandOption: true, describe: 'NAME of a migration, or pod/NAME' })
          .options({
            wait: flag(false, 'wait until it is aborted'),
            timeout: timeout('2m'),
            output: output(OBJECT_OUTPUTS),
          }),
      async (flags) => ends((await import('./migration/abort.ts')).abort(flags, io)),
    );

const checking = (cli: Shared, io: Io) =>
  cli.command(
    'check [pod]',
    'say whether the cluster is fit, or whether a pod can be migrated',
    (command) =>
      command.positional('pod', { type: 'string', describe: 'pod/NAME (default: the cluster)' }).options({
        to: { type: 'string', requiresArg: true, describe: 'of a pod: target node' },
        strategy: { choices: STRATEGIES, describe: 'of a pod: how it would be moved (default: Auto)' },
        driver: { choices: DRIVERS, describe: 'of a pod: who would make the checkpoint (default: runc)' },
        wait: flag(false, 'look again until no check fails'),
        timeout: timeout('5m'),
        output: { ...output(['table', 'json', 'short'] as const), default: 'table' as const },
        color: flag(true, 'colours on a terminal (--no-color, or NO_COLOR: none)'),
      }),
    async (flags) => ends((await import('./check/check.ts')).check(flags, io)),
  );

const reports = (cli: Shared, io: Io) =>
  cli.command(
    'report [name]',
    'make a report of a migration: one page, a picture, or its numbers',
    (command) =>
      command
        .positional('name', {
          type: 'string',
          describe: 'NAME of a migration, or pod/NAME for its newest (default: the newest)',
        })
        .options({
          output: { ...output(['html', 'svg', 'json'] as const), default: 'html' as const },
          file: { type: 'string', requiresArg: true, describe: 'where it is written (default: standard output)' },
        }),
    async (flags) => ends((await import('./report/command.ts')).report(flags, io)),
  );

const version = (cli: Shared, io: Io) =>
  cli.command(
    'version',
    'print the versions of the plugin and of what is installed',
    (command) => command.options({ client: flag(false, 'the plugin only'), output: output(['json', 'yaml'] as const) }),
    async (flags) => ends((await import('./version.ts')).version(flags, io)),
  );

const completion = (cli: Shared, io: Io) =>
  cli.command(
    'completion <shell>',
    'set up completion by Tab for kubectl, or print the script of a shell',
    (command) =>
      command
        .positional('shell', {
          choices: ['kubectl', 'bash', 'zsh', 'fish'] as const,
          demandOption: true,
          describe: 'kubectl: for `kubectl shadow …`, whatever the shell; else for kubectl-shadow called by that name',
        })
        .options({
          dir: {
            type: 'string',
            requiresArg: true,
            describe: "where kubectl's is put: a directory on the PATH (default: that of kubectl-shadow)",
          },
        }),
    async (flags) => ends((await import('./completion/command.ts')).completion(flags, io)),
  );

/** The whole command line. It throws: SHADOW_E_USAGE for a wrong one, else what the command throws. */
export const commandLine = (cli: Argv, io: Io): Argv => {
  const withShared = shared(cli);
  installation(withShared, io);
  migrations(withShared, io);
  checking(withShared, io);
  reports(withShared, io);
  version(withShared, io);
  completion(withShared, io);
  return withShared
    .scriptName('kubectl shadow')
    .usage('kubectl shadow: move a running pod to another node, with its memory, its name and its broker connection')
    .alias('h', 'help')
    .version(false)
    .strict()
    .demandCommand(1, 'a command is missing')
    .recommendCommands()
    .showHelpOnFail(false)
    .exitProcess(false)
    .parserConfiguration({ 'duplicate-arguments-array': false })
    .wrap(null)
    .fail((message: string | null, error?: Error) => {
      throw error ?? usage((message ?? '').replace(/\s*\n\s*/g, ' '));
    });
};
