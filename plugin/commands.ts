/** Every command, its flags, and which module does it. That module is imported only when its command is called. */
import type { Argv } from 'yargs';
import { DRIVERS, ON_DIVERGENCE, STRATEGIES, TRANSFER_MODES } from '../webhook/api/migration.ts';
import type { Io } from './io.ts';
import { COMMON, usage } from './options.ts';

const OBJECT_OUTPUTS = ['json', 'yaml', 'name'] as const;
const OUTPUTS = ['json', 'yaml', 'wide', 'name'] as const;

const flag = <const D extends boolean>(given: D, describe: string) =>
  ({ type: 'boolean', default: given, describe }) as const;
const output = <const C extends readonly string[]>(choices: C) =>
  ({ alias: 'o', choices, describe: 'how the result is printed' }) as const;
const timeout = (given: string, describe = 'longest wait (exit code 124 after it)') =>
  ({ type: 'string', default: given, requiresArg: true, describe }) as const;
const all = { alias: 'A', type: 'boolean', default: false, describe: 'all namespaces' } as const;

const EXIT_CODES =
  'Exit codes: 0 done; 1 failed, refused or aborted; 2 wrong usage; 124 timed out, it goes on; 130 Ctrl-C, it goes on.';

/** A command that returns a number says its exit code. */
const ends = async (running: Promise<unknown>): Promise<void> => {
  const code = await running;
  if (typeof code === 'number') process.exitCode = code;
};

const shared = (cli: Argv) => cli.options(COMMON);
type Shared = ReturnType<typeof shared>;

const dryRun = {
  choices: ['none', 'client', 'server'] as const,
  default: 'none' as const,
  describe: 'client: print what would be sent; server: have it checked, and kept nowhere',
} as const;

/** What `migrate` is asked for, and `check` about. */
const moving = (of = '') =>
  ({
    to: { type: 'string', requiresArg: true, describe: `${of}target node (default: the controller chooses)` },
    strategy: { choices: STRATEGIES, describe: `${of}how it is moved (default: Auto)` },
    driver: { choices: DRIVERS, describe: `${of}who makes the checkpoint (default: runc)` },
    transfer: { choices: TRANSFER_MODES, describe: `${of}by which way the checkpoint goes (default: Agent)` },
    repository: { type: 'string', requiresArg: true, describe: `${of}HOST/PATH of --transfer Registry` },
  }) as const;

/** What `install` and `upgrade` have in common. */
const bringing = {
  image: { type: 'string', requiresArg: true, describe: 'image of the components' },
  registry: { type: 'string', requiresArg: true, describe: 'HOST[/PATH] that the image is fetched from' },
  'image-pull-policy': { choices: ['Always', 'IfNotPresent', 'Never'] as const, describe: 'of the components' },
  'image-pull-secret': {
    type: 'string',
    array: true,
    requiresArg: true,
    describe: 'Secret in their namespace that the components are pulled with; may be repeated',
  },
  'node-setup': { type: 'boolean', describe: 'bring CRIU and the runtime handler to the nodes (docs/install.md)' },
  force: flag(false, 'even while migrations run, or to a version that does not follow the installed one'),
  'wait-for-migrations': flag(false, 'begin when no migration runs'),
  wait: flag(true, 'wait until all is ready'),
  timeout: timeout('5m'),
  'dry-run': dryRun,
  output: output(OBJECT_OUTPUTS),
} as const;

const installation = (cli: Shared, io: Io) =>
  cli
    .command(
      'install',
      'install kubectl-shadow in the cluster, or bring it up to date',
      (command) =>
        command.options(bringing).epilogue('-n, --namespace: where the components run (default: shadow-system).'),
      async (flags) => ends((await import('./install/install.ts')).install(flags, io)),
    )
    .command(
      'upgrade',
      "bring what is installed to the plugin's version, with the settings it has",
      (command) => command.options(bringing),
      async (flags) => ends((await import('./install/upgrade.ts')).upgrade(flags, io)),
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
      'migrate [targets..]',
      'move running pods to another node, one after another',
      (command) =>
        command
          .positional('targets', { type: 'string', array: true, describe: 'NAME, pod/NAME, sts/NAME or deploy/NAME' })
          .options({
            selector: { alias: 'l', type: 'string', requiresArg: true, describe: 'pods by label, e.g. app=x' },
            'from-node': { type: 'string', requiresArg: true, describe: 'only pods that run on this node' },
            ...moving(),
            'on-divergence': {
              choices: ON_DIVERGENCE,
              describe: "when the copy's app does otherwise than the source's (default: Abort)",
            },
            'dry-run': dryRun,
            wait: flag(true, 'wait for the end, and report'),
            timeout: timeout('5m', 'longest wait for each pod (exit code 124 after it)'),
            output: output(OUTPUTS),
          })
          .epilogue(EXIT_CODES),
      async (flags) => ends((await import('./migration/migrate.ts')).migrate(flags, io)),
    )
    .command(
      'status [names..]',
      'show migrations in detail',
      (command) =>
        command
          .positional('names', {
            type: 'string',
            array: true,
            describe: 'NAME of a migration, or pod/NAME for its newest (default: the newest of all)',
          })
          .options({ watch: { ...flag(false, 'follow it to its end'), alias: 'w' }, output: output(OUTPUTS) })
          .epilogue(EXIT_CODES),
      async (flags) => ends((await import('./migration/status.ts')).status(flags, io)),
    )
    .command(
      ['list', 'ls'],
      'list migrations',
      (command) =>
        command.options({
          'all-namespaces': all,
          watch: { ...flag(false, 'a row for each change, until Ctrl-C'), alias: 'w' },
          output: output(OUTPUTS),
        }),
      async (flags) => ends((await import('./migration/list.ts')).list(flags, io)),
    )
    .command(
      'abort [names..]',
      'abort migrations that are not committed',
      (command) =>
        command
          .positional('names', { type: 'string', array: true, describe: 'NAME of a migration, or pod/NAME' })
          .options({
            all: flag(false, 'all of the namespace that can be aborted'),
            wait: flag(false, 'wait until they are aborted'),
            timeout: timeout('2m'),
            output: output(OUTPUTS),
          })
          .epilogue(EXIT_CODES),
      async (flags) => ends((await import('./migration/abort.ts')).abort(flags, io)),
    );

const checking = (cli: Shared, io: Io) =>
  cli.command(
    'check [pod]',
    'say whether the cluster is fit, or whether a pod can be migrated',
    (command) =>
      command.positional('pod', { type: 'string', describe: 'pod/NAME (default: the cluster)' }).options({
        ...moving('of a pod: '),
        rehearse: flag(false, 'of a pod: run a copy beside it for a while, compare the two, and put all back'),
        for: {
          type: 'string',
          requiresArg: true,
          describe: 'of --rehearse: longest time the copy runs (default: 10s)',
        },
        wait: flag(false, 'look again until no check fails'),
        timeout: timeout('5m'),
        output: { ...output(['table', 'json', 'short'] as const), default: 'table' as const },
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

const manifests = (command: Shared) =>
  command.positional('files', { type: 'string', array: true, describe: 'as -f' }).options({
    filename: { alias: 'f', type: 'string', requiresArg: true, describe: 'manifests: a file, a directory, or -' },
    output: { ...output(['yaml', 'json'] as const), default: 'yaml' as const },
  });

const injection = (cli: Shared, io: Io) =>
  cli
    .command(
      'inject [files..]',
      'put the sidecar into the pod templates of manifests, as the webhook puts it into pods',
      (command) =>
        manifests(command).options({
          image: { type: 'string', requiresArg: true, describe: "the sidecar's image (default: the cluster's)" },
          'system-namespace': {
            type: 'string',
            requiresArg: true,
            describe: "where kubectl-shadow runs (default: as the cluster's; with --image shadow-system)",
          },
          ipv6: { type: 'boolean', describe: "pods may have IPv6 alone (default: as the cluster's Services)" },
          brokers: { type: 'string', requiresArg: true, describe: 'HOST[:PORT] where the manifest does not tell' },
          'broker-tls': {
            type: 'string',
            requiresArg: true,
            describe: 'SECRET or Public: what brokers are trusted by',
          },
        }),
      async (flags) => ends((await import('./inject/inject.ts')).injectManifests(flags, io)),
    )
    .command(
      'uninject [files..]',
      'take the sidecar out of the pod templates of manifests',
      (command) => manifests(command),
      async (flags) => ends((await import('./inject/inject.ts')).uninjectManifests(flags, io)),
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

/** What may be given again and again. */
const MANY: readonly string[] = [
  '_',
  'targets',
  'names',
  'files',
  'filename',
  'f',
  'as-group',
  'asGroup',
  'image-pull-secret',
  'imagePullSecret',
];

/** Of all else the last one counts, as with kubectl. */
const lastOfEach = (given: Record<string, unknown>): void => {
  for (const [key, value] of Object.entries(given)) {
    if (Array.isArray(value) && !MANY.includes(key)) given[key] = value.at(-1);
  }
};

/** The whole command line. It throws: SHADOW_E_USAGE for a wrong one, else what the command throws. */
export const commandLine = (cli: Argv, io: Io): Argv => {
  const withShared = shared(cli).middleware((given) => {
    lastOfEach(given);
    if (!given.color) io.color = false;
  });
  installation(withShared, io);
  migrations(withShared, io);
  checking(withShared, io);
  reports(withShared, io);
  injection(withShared, io);
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
    .wrap(null)
    .fail((message: string | null, error?: Error) => {
      // yargs's own is about the command line, too.
      if (error && error.name !== 'YError') throw error;
      throw usage((message ?? error?.message ?? '').replace(/\s*\n\s*/g, ' '));
    });
};
