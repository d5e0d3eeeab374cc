/** The per-user cache of what the playground is made of. An entry is there whole or not at all. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ShadowError } from '../../../webhook/api/errors.ts';
import { must, type RunOptions, tail } from '../run.ts';

export interface Workshop {
  /** Empty scratch directory, gone afterwards. */
  readonly work: string;
  /** What is put here becomes the entry. */
  readonly out: string;
  /** Runs a step of the recipe, its output in the recipe's log. */
  readonly step: (argv: readonly string[], options?: Omit<RunOptions, 'log'>) => Promise<void>;
}

export interface Recipe {
  readonly name: string;
  readonly version: string;
  /** Whatever else shapes the result: patches, sources, flags. Another text, another entry. */
  readonly recipe: string;
  readonly build: (shop: Workshop) => Promise<void>;
}

/** Directory name of a recipe's entry. */
export const entryName = ({ name, version, recipe }: Pick<Recipe, 'name' | 'version' | 'recipe'>): string =>
  `${name}-${version}-${createHash('sha256').update(recipe).digest('hex').slice(0, 10)}`;

/**
 * Builds in a directory beside the entry and renames it: a build that is killed leaves no entry. Two at once both
 * build; the first rename wins and the other takes its result.
 */
export const obtain = async (cache: string, recipe: Recipe, log: string): Promise<string> => {
  const entry = join(cache, entryName(recipe));
  if (existsSync(entry)) return entry;
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, `.building-${process.pid}-`));
  const work = join(scratch, 'work');
  const out = join(scratch, 'out');
  mkdirSync(work);
  mkdirSync(out);
  try {
    await recipe.build({
      work,
      out,
      step: async (argv, options) => {
        await must(argv, { cwd: work, ...options, log });
      },
    });
    publish(out, entry);
  } catch (error) {
    const said = error instanceof ShadowError && error.code === 'SHADOW_E_INTERNAL' ? tail(log) : String(error);
    throw new ShadowError('SHADOW_E_BUILD', `${recipe.name} ${recipe.version}, log ${log}\n${said}`, { cause: error });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return entry;
};

const publish = (out: string, entry: string): void => {
  try {
    renameSync(out, entry);
  } catch (error) {
    if (!existsSync(entry)) throw error;
  }
};

/** Removes what killed builds left. */
export const sweep = (cache: string): void => {
  if (!existsSync(cache)) return;
  for (const name of readdirSync(cache)) {
    const pid = /^\.building-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(cache, name), { recursive: true, force: true });
  }
};
