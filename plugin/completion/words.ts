/** What can stand at the end of an unfinished command line. Pure. */
import type { Command, Definition, Flag } from './definition.ts';

/** What only the cluster, the kubeconfig or the file system knows. */
export type Source =
  | 'pods'
  | 'nodes'
  | 'namespaces'
  | 'migrations'
  | 'contexts'
  | 'clusters'
  | 'users'
  | 'files'
  | 'directories';

export interface Candidate {
  readonly value: string;
  readonly describe?: string | undefined;
}

export interface Wanted {
  /** What the user has typed of it. Candidates that do not begin so are of no use. */
  readonly typed: string;
  readonly candidates: readonly Candidate[];
  readonly source?: Source;
  /** The values of flags before it, by long name: which cluster, which namespace. */
  readonly given: Readonly<Record<string, string>>;
}

/** By the flag's long name, in whichever command. */
const FLAG_SOURCE: Readonly<Record<string, Source>> = {
  namespace: 'namespaces',
  to: 'nodes',
  'from-node': 'nodes',
  context: 'contexts',
  cluster: 'clusters',
  user: 'users',
  kubeconfig: 'files',
  filename: 'files',
  file: 'files',
  dir: 'directories',
};

const POSITIONAL_SOURCE: Readonly<Record<string, Source>> = {
  pod: 'pods',
  targets: 'pods',
  name: 'migrations',
  names: 'migrations',
  files: 'files',
};

const sourced = (source: Source | undefined) => (source === undefined ? {} : { source });
const plain = (values: readonly string[]): Candidate[] => values.map((value) => ({ value }));

const called = (flags: readonly Flag[], name: string): Flag | undefined =>
  flags.find((flag) => flag.name === name || flag.aliases.includes(name));

interface Read {
  readonly command: Command | undefined;
  readonly positionals: number;
  readonly given: Readonly<Record<string, string>>;
  /** The last word is a flag that has its value still to come. */
  readonly awaiting: Flag | undefined;
  /** Behind `--` nothing is a flag. */
  readonly ended: boolean;
}

const namedBy = (definition: Definition, word: string): Command | undefined =>
  definition.commands.find(({ name, aliases }) => name === word || aliases.includes(word));

const flagsFor = (definition: Definition, command: Command | undefined): readonly Flag[] => [
  ...(command?.flags ?? []),
  ...definition.flags,
];

/** `--name=value`, `--name`, `-n`. */
const FLAG = /^--?([^-=][^=]*)(?:=(.*))?$/s;

const flagIn = (flags: readonly Flag[], word: string): { flag?: Flag | undefined; value?: string | undefined } => {
  const [, name = '', value] = FLAG.exec(word) ?? [];
  return { flag: called(flags, name) ?? called(flags, name.replace(/^no-/, '')), value };
};

const after = (definition: Definition, read: Read, word: string): Read => {
  const { command, positionals, given, awaiting, ended } = read;
  if (awaiting) return { ...read, awaiting: undefined, given: { ...given, [awaiting.name]: word } };
  if (word === '--' && !ended) return { ...read, ended: true };
  if (ended || !FLAG.test(word))
    return command ? { ...read, positionals: positionals + 1 } : { ...read, command: namedBy(definition, word) };
  const { flag, value } = flagIn(flagsFor(definition, command), word);
  if (!flag) return read;
  if (flag.takesValue && value === undefined) return { ...read, awaiting: flag };
  return { ...read, given: { ...given, [flag.name]: value ?? 'true' } };
};

/** Reads the words that are complete. */
const readAll = (definition: Definition, words: readonly string[]): Read =>
  words.reduce((read: Read, word) => after(definition, read, word), {
    command: undefined,
    positionals: 0,
    given: {},
    awaiting: undefined,
    ended: false,
  });

const valuesOf = (flag: Flag): Pick<Wanted, 'candidates' | 'source'> => ({
  candidates: plain(flag.choices),
  ...sourced(flag.choices.length > 0 ? undefined : FLAG_SOURCE[flag.name]),
});

const spelled = ({ name, aliases, negated, describe }: Flag): Candidate[] => [
  { value: `--${name}`, describe },
  ...aliases.filter((alias) => alias.length === 1).map((alias) => ({ value: `-${alias}`, describe })),
  ...(negated ? [{ value: `--no-${name}`, describe: `not: ${describe}` }] : []),
];

const positionalOf = (command: Command, index: number): Pick<Wanted, 'candidates' | 'source'> => {
  const at = command.positionals[index] ?? command.positionals.findLast(({ rest }) => rest);
  if (!at) return { candidates: [] };
  return { candidates: plain(at.choices), ...sourced(at.choices.length > 0 ? undefined : POSITIONAL_SOURCE[at.name]) };
};

/** `words`: those behind `kubectl shadow`, the last one unfinished, or empty where it is still to begin. */
export const wanted = (definition: Definition, words: readonly string[]): Wanted => {
  const typed = words.at(-1) ?? '';
  const { command, positionals, given, awaiting, ended } = readAll(definition, words.slice(0, -1));
  const flags = flagsFor(definition, command);
  if (awaiting) return { typed, given, ...valuesOf(awaiting) };
  const { flag, value } = flagIn(flags, typed);
  // As cobra's: what stands behind the = alone is completed, and given back alone.
  if (!ended && value !== undefined) return { typed: value, given, ...(flag ? valuesOf(flag) : { candidates: [] }) };
  if (!ended && typed.startsWith('-')) {
    const left = flags.filter((flag) => flag.repeated || given[flag.name] === undefined);
    return { typed, given, candidates: left.flatMap(spelled) };
  }
  if (command) return { typed, given, ...positionalOf(command, positionals) };
  return { typed, given, candidates: definition.commands.map(({ name: value, describe }) => ({ value, describe })) };
};
