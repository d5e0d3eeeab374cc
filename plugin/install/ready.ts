/** When an installed object is ready, and how far it is. Pure. */
import type { NodeReports } from '../../webhook/api/node-reports.ts';
import { type TellingNode, tellsOfHandler } from '../installation.ts';
import type { DaemonSet, Deployment, Meta, Pod, WebhookConfiguration } from '../kinds.ts';

/** `undefined`: ready. Else what is missing. */
export type Missing = string | undefined;

const seen = (metadata: Meta, observed: number | undefined): boolean => (observed ?? 0) >= (metadata.generation ?? 0);

/** As kubectl rollout status decides: the new pods are there and available, and no old one is left. */
export const deploymentMissing = ({ metadata, spec, status = {} }: Deployment): Missing => {
  const wanted = spec.replicas ?? 1;
  const { replicas = 0, updatedReplicas = 0, availableReplicas = 0 } = status;
  if (!seen(metadata, status.observedGeneration)) return 'waiting for its controller';
  if (updatedReplicas < wanted) return `${updatedReplicas} of ${wanted} pods updated`;
  if (replicas > updatedReplicas) return `${replicas - updatedReplicas} old pods left`;
  if (availableReplicas < wanted) return `${availableReplicas} of ${wanted} pods ready`;
  return undefined;
};

export const daemonSetMissing = ({ metadata, status = {} }: DaemonSet): Missing => {
  const {
    desiredNumberScheduled: wanted = 0,
    updatedNumberScheduled: updated = 0,
    numberAvailable: ready = 0,
  } = status;
  if (!seen(metadata, status.observedGeneration)) return 'waiting for its controller';
  if (wanted === 0) return 'no node takes it';
  if (updated < wanted) return `${updated} of ${wanted} nodes updated`;
  if (ready < wanted) return `${ready} of ${wanted} nodes ready`;
  return undefined;
};

/** The API server calls a webhook only once it has the CA that signed its certificate. */
export const webhookMissing = ({ webhooks = [] }: WebhookConfiguration): Missing => {
  const without = webhooks.filter((webhook) => !webhook.clientConfig.caBundle);
  return without.length > 0 ? `waiting for the CA of ${without.map((webhook) => webhook.name).join(', ')}` : undefined;
};

/** What the controller has heard of each node where an agent runs; `check` reads no other report. */
export const reportsMissing = (agents: readonly Pod[], reports: NodeReports | undefined): Missing => {
  if (reports === undefined) return 'the controller has not asked the nodes yet';
  const silent = agents.flatMap(({ spec: { nodeName = '' } }) => {
    const entry = reports.nodes.find(({ node }) => node === nodeName);
    return entry?.found ? [] : [`${nodeName}: ${entry?.error?.message ?? 'not asked yet'}`];
  });
  return silent.length > 0 ? silent.slice(0, 3).join('; ') : undefined;
};

/** Node set-up has ended where an agent runs; what containerd has loaded a kubelet says every ten seconds. */
export const handlersMissing = (agents: readonly Pod[], nodes: readonly TellingNode[]): Missing => {
  const silent = nodes.filter(
    (node) => agents.some(({ spec }) => spec.nodeName === node.metadata.name) && tellsOfHandler(node) === false,
  );
  const names = silent.map(({ metadata }) => metadata.name);
  return names.length > 0
    ? `no word of the runtime handler yet by the kubelet of ${names.slice(0, 3).join(', ')}`
    : undefined;
};
