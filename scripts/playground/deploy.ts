/** Our own images and components into a running playground. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ShadowError } from '../../webhook/api/errors.ts';
import { bundle } from '../bundle.ts';
import { importEverywhere } from '../images/import.ts';
import { examplesImage, IMAGE, shadowImage } from '../images/ours.ts';
import type { Say } from './build/parts.ts';
import { KUBECONFIG } from './layout.ts';
import { run } from './run.ts';

const PLUGIN = join(import.meta.dirname, '../../plugin/main.ts');

/** Bundles, builds and imports; all of it no work when nothing changed since. */
export const loadImages = async (say: Say): Promise<void> => {
  const { missing, failed } = await bundle();
  for (const path of missing) say(`${path} is not there: left out of the images`);
  for (const line of failed) say(`does not bundle, left out of the images: ${line}`);
  for (const image of [await shadowImage(), await examplesImage()]) await importEverywhere(image);
  say('images are on both nodes');
};

/** By the road a user takes: `kubectl shadow install`. */
export const install = async (say: Say): Promise<void> => {
  if (!existsSync(PLUGIN)) return;
  const argv = [process.execPath, PLUGIN, 'install', '--wait', '--image', IMAGE.shadow];
  const { code, stdout, stderr } = await run(argv, { env: { KUBECONFIG } });
  if (code !== 0) throw new ShadowError('SHADOW_E_INTERNAL', `install: ${(stderr || stdout).trim()}`);
  say('kubectl-shadow is installed');
};
