/** The Node.js binaries of other platforms: fetched from the npm registry once, kept in the cache whole or not at all. */
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { ShadowError } from '../../webhook/api/errors.ts';
import type { Recipe } from '../playground/build/cache.ts';
import { obtainPart, type Say } from '../playground/build/parts.ts';
import type { Platform } from './platforms.ts';

/** Inside of every such package. */
const binaryIn = ({ os }: Platform): string => `package/bin/node${os === 'windows' ? '.exe' : ''}`;

/** npm proves the package by the digest the registry gives for it. */
const nodeRecipe = (platform: Platform): Recipe => ({
  name: platform.package,
  version: platform.node,
  recipe: 'npm',
  build: async ({ work, out, step }) => {
    await step(['npm', 'pack', '--silent', `${platform.package}@${platform.node}`]);
    const archive = readdirSync(work).find((name) => name.endsWith('.tgz'));
    if (archive === undefined) throw new ShadowError('SHADOW_E_BUILD', `npm packed no ${platform.package}`);
    await step(['tar', '-xzf', archive, binaryIn(platform)]);
    renameSync(join(work, binaryIn(platform)), join(out, 'node'));
  },
});

/** Path of the binary. */
export const nodeBinary = async (platform: Platform, say: Say): Promise<string> =>
  join(await obtainPart(nodeRecipe(platform), say), 'node');
