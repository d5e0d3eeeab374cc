/** Files of the repository that the plugin reads when it runs: from beside its sources, or from inside of the single executable. */
import { readFileSync } from 'node:fs';
import { getAsset, isSea } from 'node:sea';

/** What scripts/release puts into the executable: files, and directories with all YAML files in them. */
export const ASSETS = ['package.json', 'manifests'] as const;

type Asset = (typeof ASSETS)[number];

/** The text of a file, by its path from the repository's root. */
export const readAsset = (path: Asset | `${Asset}/${string}`): string =>
  isSea() ? getAsset(path, 'utf8') : readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
