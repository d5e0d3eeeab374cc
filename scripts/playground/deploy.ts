/** Our own images and components into a running playground. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { V1Pod, V1PodList } from '@kubernetes/client-node';
import { ShadowError } from '../../webhook/api/errors.ts';
import { AGENT, CONTROLLER, NAMESPACE, WEBHOOK } from '../../webhook/api/names.ts';
import { bundle } from '../bundle.ts';
import { importEverywhere } from '../images/import.ts';
import { examplesImage, IMAGE, shadowImage } from '../images/ours.ts';
import type { Parts, Say } from './build/parts.ts';
import { apiGet } from './control.ts';
import { KUBECONFIG, RUN } from './layout.ts';
import { must, run } from './run.ts';

const PLUGIN = join(import.meta.dirname, '../../plugin/main.ts');

/** Bundles, builds and imports; all of it no work when nothing changed since. */
export const loadImages = async (parts: Parts, say: Say): Promise<void> => {
  const { missing, failed } = await bundle();
  for (const path of missing) say(`${path} is not there: left out of the images`);
  for (const line of failed) say(`does not bundle, left out of the images: ${line}`);
  for (const image of [await shadowImage(join(parts.criu, 'criu')), await examplesImage()])
    await importEverywhere(image);
  say('images are on both nodes');
};

/**
 * Pods of ours that run another build of our image than the nodes have: its name is the same for all builds. By which of its
 * names an image runs is said by the spec alone; the status may have another one.
 */
export const stalePods = (pods: readonly V1Pod[], image: string, id: string): string[] =>
  pods
    .filter(({ spec, status }) => {
      const ours = spec?.containers.filter((of) => of.image === image).map(({ name }) => name);
      return status?.containerStatuses?.some(({ name, imageID }) => ours?.includes(name) && imageID !== id) ?? false;
    })
    .map(({ metadata }) => metadata?.name ?? '');

const restartStale = async (say: Say): Promise<void> => {
  const pods = await apiGet(`/api/v1/namespaces/${NAMESPACE}/pods`);
  const { criu, kubernetes } = JSON.parse(readFileSync(join(RUN, 'parts.json'), 'utf8')) as Parts;
  const { name, id } = await shadowImage(join(criu, 'criu'));
  if (pods === undefined || stalePods((JSON.parse(pods) as V1PodList).items, name, id).length === 0) return;
  const kubectl = [join(kubernetes, 'kubectl'), `--kubeconfig=${KUBECONFIG}`, '-n', NAMESPACE];
  const ours = [`deployment/${WEBHOOK}`, `deployment/${CONTROLLER}`, `daemonset/${AGENT}`];
  await must([...kubectl, 'rollout', 'restart', ...ours]);
  for (const workload of ours) await must([...kubectl, 'rollout', 'status', workload, '--timeout=120s']);
  say('components restarted with the new image');
};

/** By the road a user takes: `kubectl shadow install`. */
export const install = async (say: Say): Promise<void> => {
  // Trees of any version come here, and migrations that a killed test left.
  const argv = [process.execPath, PLUGIN, 'install', '-n', NAMESPACE, '--force', '--wait', '--image', IMAGE.shadow];
  const { code, stdout, stderr } = await run(argv, { env: { KUBECONFIG } });
  if (code !== 0) throw new ShadowError('SHADOW_E_INTERNAL', `install: ${(stderr || stdout).trim()}`);
  await restartStale(say);
  say('kubectl-shadow is installed');
};
