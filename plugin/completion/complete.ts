/**
 * kubectl shadow __complete WORD… : what can stand in the place of the last, unfinished word. The output is that of a cobra
 * program, which kubectl (kubectl/pkg/cmd/plugin/plugin_completion.go) and our shell scripts read: a line each, the description
 * behind a tab; in the last line what the shell shall do besides.
 */
import type { Io } from '../io.ts';
import { definition } from './definition.ts';
import { type Candidate, type Source, type Wanted, wanted } from './words.ts';

/** A Tab that takes longer is worse than one without an answer. */
const LIMIT_MS = 1500;

/** cobra's ShellCompDirective: 0 completes files where there are no candidates, 16 directories, 4 nothing. */
const directiveOf = (source: Source | undefined): number =>
  source === 'files' ? 0 : source === 'directories' ? 16 : 4;

const lineOf = ({ value, describe }: Candidate): string =>
  describe ? `${value}\t${describe.replace(/\s+/g, ' ')}` : value;

/** Pure. */
export const printed = ({ typed, candidates, source }: Wanted, found: readonly Candidate[]): string =>
  [
    ...[...candidates, ...found].filter(({ value }) => value.startsWith(typed)).map(lineOf),
    `:${directiveOf(source)}`,
  ].join('\n');

const within = <T>(ms: number, work: Promise<T>, otherwise: T): Promise<T> =>
  Promise.race([
    work.catch(() => otherwise),
    new Promise<T>((resolve) => {
      setTimeout(resolve, ms, otherwise).unref();
    }),
  ]);

/** Never throws: whatever is wrong, a user who types sees no message for it. */
export const complete = async (words: readonly string[], io: Io, limitMs = LIMIT_MS): Promise<void> => {
  const asked = wanted(definition(), words);
  const ask = async (): Promise<Candidate[]> =>
    asked.source === undefined ? [] : (await import('./values.ts')).lookUp(asked, limitMs);
  io.out(printed(asked, await within(limitMs, ask(), [])));
};
