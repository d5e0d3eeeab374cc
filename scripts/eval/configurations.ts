/** What is compared: how the pod is run, and the manifest that moves it. Pure. */
import type { MigrationSpec } from '../../webhook/api/migration.ts';
import { BROKER_URL, EXCHANGE, QUEUE } from './workload-names.ts';

export const CONFIGURATIONS = [
  'Sequential',
  'ShadowPod',
  'ExchangeFence',
  'Deployment',
  'ShadowPodSwap',
  'StopAndCopy',
] as const;
export type Configuration = (typeof CONFIGURATIONS)[number];

/** Those the paper has measured. */
export const PAPERS = ['Sequential', 'ShadowPod', 'ExchangeFence', 'Deployment'] as const satisfies Configuration[];
export type Papers = (typeof PAPERS)[number];

export const isPapers = (configuration: Configuration): configuration is Papers =>
  (PAPERS as readonly Configuration[]).includes(configuration);

interface Shape {
  /** For people. */
  readonly title: string;
  readonly owner: 'StatefulSet' | 'Deployment';
  readonly spec: Omit<MigrationSpec, 'sourcePod' | 'targetNode'>;
}

/** The fields of the reference's evaluation, its cutoff of 120 s included. The image repository is left out: checkpoints go from node to node. */
const REFERENCE: MigrationSpec = {
  replayCutoffSeconds: 120,
  messageQueueConfig: { queueName: QUEUE, brokerUrl: BROKER_URL, exchangeName: EXCHANGE },
};

export const SHAPE: Readonly<Record<Configuration, Shape>> = {
  Sequential: {
    title: 'Sequential',
    owner: 'StatefulSet',
    spec: { ...REFERENCE, migrationStrategy: 'Sequential' },
  },
  ShadowPod: {
    title: 'ShadowPod',
    owner: 'StatefulSet',
    spec: { ...REFERENCE, migrationStrategy: 'ShadowPod', replayMode: 'Cutoff', identitySwapMode: 'None' },
  },
  ExchangeFence: {
    title: 'ShadowPod + ExchangeFence',
    owner: 'StatefulSet',
    spec: { ...REFERENCE, migrationStrategy: 'ShadowPod', replayMode: 'Cutoff', identitySwapMode: 'ExchangeFence' },
  },
  Deployment: {
    title: 'Deployment',
    owner: 'Deployment',
    spec: { ...REFERENCE, migrationStrategy: 'ShadowPod', replayMode: 'Cutoff' },
  },
  ShadowPodSwap: { title: 'ShadowPodSwap', owner: 'StatefulSet', spec: { migrationStrategy: 'ShadowPodSwap' } },
  StopAndCopy: { title: 'StopAndCopy', owner: 'StatefulSet', spec: { migrationStrategy: 'StopAndCopy' } },
};

/** Ours have the sidecar; the paper's have none. */
export const isInjected = (configuration: Configuration): boolean => !isPapers(configuration);

export const specOf = (configuration: Configuration, sourcePod: string, targetNode: string): MigrationSpec => ({
  sourcePod,
  targetNode,
  ...SHAPE[configuration].spec,
});
