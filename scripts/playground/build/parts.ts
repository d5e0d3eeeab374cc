/** Obtains every part, from the cache or by building it, and says where its programs are. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir } from '../layout.ts';
import { entryName, obtain, type Recipe, sweep } from './cache.ts';
import { anyGo } from './go.ts';
import { recipes } from './recipes.ts';

/** Directories in the cache. */
export interface Parts {
  readonly kubernetes: string;
  readonly containerd: string;
  readonly coredns: string;
  readonly runc: string;
  readonly criu: string;
  readonly etcd: string;
  readonly pause: string;
}

export type Say = (line: string) => void;

/** The directory of one part in the cache; built, and told about, if it is not there. */
export const obtainPart = async (recipe: Recipe, say: Say): Promise<string> => {
  const cache = cacheDir();
  if (existsSync(join(cache, entryName(recipe)))) return obtain(cache, recipe, '');
  const log = join(cache, `${recipe.name}.log`);
  const since = performance.now();
  const seconds = () => Math.round((performance.now() - since) / 1000);
  say(`building ${recipe.name} ${recipe.version} (log ${log})`);
  const ticking = setInterval(() => say(`building ${recipe.name} ${recipe.version}: ${seconds()} s`), 30_000);
  try {
    const entry = await obtain(cache, recipe, log);
    say(`built ${recipe.name} ${recipe.version} in ${seconds()} s`);
    return entry;
  } finally {
    clearInterval(ticking);
  }
};

/** A Go that can fetch the toolchain all is built by. */
export const goProgram = (say: Say): Promise<string> => anyGo((recipe) => obtainPart(recipe, say), say);
/** One after the other: each of the long builds fills all cores by itself. */
export const obtainParts = async (say: Say): Promise<Parts> => {
  sweep(cacheDir());
  const found = new Map<string, string>();
  // Whether Go is there matters only when something is left to build.
  const allCached = recipes('go').every((recipe) => existsSync(join(cacheDir(), entryName(recipe))));
  const go = allCached ? 'go' : await goProgram(say);
  for (const recipe of recipes(go)) found.set(recipe.name, await obtainPart(recipe, say));
  const of = (name: keyof Parts): string => found.get(name) ?? '';
  return {
    kubernetes: of('kubernetes'),
    containerd: of('containerd'),
    coredns: of('coredns'),
    runc: of('runc'),
    criu: of('criu'),
    etcd: of('etcd'),
    pause: of('pause'),
  };
};
