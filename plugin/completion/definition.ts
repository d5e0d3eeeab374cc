/** The command line as commands.ts tells it to yargs, as data. Yargs itself is not loaded. No I/O. */
import type { Argv } from 'yargs';
import { commandLine } from '../commands.ts';
import type { Io } from '../io.ts';

export interface Flag {
  /** Without dashes. */
  readonly name: string;
  readonly aliases: readonly string[];
  /** false: boolean, a word behind it is not its value. */
  readonly takesValue: boolean;
  /** May be given more than once. */
  readonly repeated: boolean;
  /** A boolean of which --no-NAME says something: it is on without it, or as the cluster has it. */
  readonly negated: boolean;
  readonly choices: readonly string[];
  readonly describe: string;
}

export interface Positional {
  readonly name: string;
  /** `<name..>` or `[name..]`: it takes all words that follow. */
  readonly rest: boolean;
  readonly choices: readonly string[];
}

export interface Command {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly describe: string;
  readonly flags: readonly Flag[];
  readonly positionals: readonly Positional[];
}

export interface Definition {
  readonly commands: readonly Command[];
  /** Of every command. */
  readonly flags: readonly Flag[];
}

/** What we use of yargs' option objects. */
interface Given {
  alias?: string | readonly string[];
  type?: string;
  array?: boolean;
  default?: unknown;
  choices?: readonly string[];
  describe?: string;
  hidden?: boolean;
}

type Builder = (command: Argv) => unknown;

const listed = <T>(one: T | readonly T[] | undefined): readonly T[] =>
  one === undefined ? [] : Array.isArray(one) ? one : [one as T];

const flagOf = (name: string, given: Given): Flag => ({
  name,
  aliases: listed(given.alias),
  takesValue: given.type !== 'boolean',
  repeated: given.array === true || given.type === 'array',
  negated: given.type === 'boolean' && given.default !== false,
  choices: given.choices ?? [],
  describe: given.describe ?? '',
});

/** Takes the place of a yargs: notes what is said to it. Every other method is passed over. */
const recorder = (on: Readonly<Record<string, (...args: never[]) => void>>): Argv => {
  const self: Argv = new Proxy({} as Argv, {
    get: (_, method) => {
      const note = typeof method === 'string' && Object.hasOwn(on, method) ? on[method] : undefined;
      return (...args: unknown[]) => {
        note?.(...(args as never[]));
        return self;
      };
    },
  });
  return self;
};

const taking = (flags: Flag[]) => {
  const option = (name: string, given: Given): void => {
    if (!given.hidden) flags.push(flagOf(name, given));
  };
  const options = (all: Readonly<Record<string, Given>>): void => {
    for (const [name, given] of Object.entries(all)) option(name, given);
  };
  return { option, options };
};

/** `migrate <pod>` → migrate and its positionals. */
const commandOf = (told: string | readonly string[], describe: string, build: Builder): Command => {
  const [first = '', ...aliases] = listed(told);
  const [name = '', ...words] = first.split(/\s+/);
  const flags: Flag[] = [];
  const choices = new Map<string, readonly string[]>();
  build(
    recorder({
      ...taking(flags),
      positional: (positional: string, given: Given) => choices.set(positional, given.choices ?? []),
    }),
  );
  const positionals = words.map((word) => {
    const positional = word.replace(/^[<[]|(\.\.)?[>\]]$/g, '');
    return { name: positional, rest: word.includes('..'), choices: choices.get(positional) ?? [] };
  });
  return { name, aliases, describe, flags, positionals };
};

const HELP: Flag = flagOf('help', { alias: 'h', type: 'boolean', default: false, describe: 'show help' });
const SILENT: Io = { out: () => undefined, err: () => undefined, live: false, color: false, unicode: false };

export const definition = (): Definition => {
  const flags: Flag[] = [];
  const commands: Command[] = [];
  const command = (told: string | readonly string[], describe: string | false, build: Builder): void => {
    if (describe !== false) commands.push(commandOf(told, describe, build));
  };
  commandLine(recorder({ ...taking(flags), command }), SILENT);
  return { commands, flags: [...flags, HELP] };
};
